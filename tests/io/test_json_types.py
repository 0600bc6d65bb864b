"""Types inferred from JSON: what is carried is what the standard library reads."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.formats.json_types import infer_schema
from tests.stored import read, write

VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "bool": (pa.bool_(), [True, None, False]),
    "int": (pa.int64(), [1, -(2**63), 2**63 - 1]),
    "large int": (pa.uint64(), [2**64 - 1, 2**63]),
    "double": (pa.float64(), [0.1, -0.0, 1e300]),
    "int and double": (pa.float64(), [1, 0.5]),
    "text": (pa.string(), ["a", "", "ż\u2028"]),
    "text that looks like a time": (pa.string(), ["2026-02-03T04:05:06Z", "2026-02-03"]),
    "null": (pa.string(), [None, None]),
    "list": (pa.list_(pa.int64()), [[1, None], [], None]),
    "empty lists": (pa.list_(pa.string()), [[], [None]]),
    "lists of lists": (pa.list_(pa.list_(pa.float64())), [[[1]], [[], [0.5]]]),
    "object": (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        [{"a": 1, "b": None}, {"a": None, "b": "x"}, None],
    ),
    "objects in lists": (pa.list_(pa.struct([("a", pa.bool_())])), [[{"a": True}, None], []]),
}


@pytest.mark.parametrize(("type_", "values"), VALUES.values(), ids=VALUES)
def test_values_are_carried_in_a_type_that_holds_them(
    type_: pa.DataType, values: list[Any], tmp_path: Path
) -> None:
    lines = [json.dumps({"value": value}) for value in values]
    path = write(tmp_path, "a.jsonl", "\n".join(lines).encode())
    found = read(path, Columns(needed=(), carry=ALL))
    assert found.batches[0].schema.field("value").type == type_
    assert found.column("value") == [json.loads(line)["value"] for line in lines]
    assert found.rejects == []


def test_the_first_of_two_types_stays(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", b'{"value": "a"}\n{"value": 1}\n{"value": {"b": 1}}\n{"value": "c"}')
    found = read(path, Columns(needed=(), carry=ALL))
    assert found.column("value") == ["a", "c"]
    assert [(reject.position, reject.reason) for reject in found.rejects] == [
        (15, "Column(/value) changed from string to number"),
        (28, "Column(/value) changed from string to object"),
    ]


def test_lines_that_tell_nothing_are_passed_over() -> None:
    deep = b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    lines = [b"", b"null", b"[1]", b"{", b"\xff", deep, b'{"\\ud800": 1}', b'{"a": "\xff"}', b'{"b": 1}']
    assert infer_schema(lines) == pa.schema([("a", pa.string()), ("b", pa.int64())])


def test_objects_whose_keys_are_data_cost_no_more_than_their_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    class Counted:
        def __getattr__(self, name: str) -> Any:
            return getattr(pa, name)

        def struct(self, fields: list[Any]) -> pa.DataType:
            nonlocal made
            made += len(fields)
            return pa.struct(fields)

    monkeypatch.setattr("beam_etl.io.formats.json_types.pa", Counted())
    lines = [json.dumps({"counts": {f"k{n}": 1, f"l{n}": 0.5}}).encode() for n in range(500)]
    [counts] = infer_schema(lines)
    assert counts.type.num_fields == made == 1000


def test_lines_of_something_else_are_an_error() -> None:
    assert infer_schema([b"", b" "]) == pa.schema([])
    with pytest.raises(ValueError, match="no line is a JSON object"):
        infer_schema([b"", b"[", b'"a"'])
