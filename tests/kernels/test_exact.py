import hashlib
import random
from collections import defaultdict
from typing import Any

import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.exact import (
    EXACT_ROW,
    ExactRule,
    choose_exact,
    exact_in_order,
    exact_rows,
    key_hashes,
    stack_equal,
)
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.ordering import number_documents
from beam_etl.kernels.text import words
from tests.duplicates import clusters_of
from tests.streams import documents as in_time

NEW = 1 << 63


def documents(**columns: Any) -> pa.RecordBatch:
    arrays = {
        name: pa.array(values, pa.large_string() if name == "text" else None)
        for name, values in columns.items()
    }
    count = len(next(iter(arrays.values())))
    return pa.record_batch({"address": pa.array(range(count), pa.uint64()), **arrays})


def clusters(batch: pa.RecordBatch, **rule: Any) -> list[list[int]]:
    rows = exact_rows(batch, ExactRule(**rule), Keep())
    found = clusters_of(choose_exact([stack_equal(rows)])) if rows.num_rows else {}
    return sorted(sorted(nodes) for nodes in {id(nodes): nodes for nodes in found.values()}.values())


NAN = float("nan")

CASES = {
    "bytes": (documents(text=["a", "a ", "A", "a", "é", "e\u0301"]), {}, [[0, 3]]),
    "empty and missing": (documents(text=["", "", None, None, "a"]), {}, []),
    "words": (
        documents(text=["One, two!", "one two", "ONE  TWO", "onetwo", "é", "E\u0301"]),
        {"normalised": True},
        [[0, 1, 2], [4, 5]],
    ),
    "no words": (documents(text=["!", "?", "..."]), {"normalised": True}, []),
    "another column": (
        documents(text=["a", "b", "c", "d"], url=["u", "v", "u", None]),
        {"key": ("url",)},
        [[0, 2]],
    ),
    "missing keys": (documents(text=["a", "a"], url=[None, None]), {"key": ("url",)}, []),
    "empty keys": (documents(text=["a", "a"], url=["", ""]), {"key": ("url",)}, []),
    "two columns": (
        documents(text=["x"] * 4, one=["a", "ab", "a", "a"], two=["bc", "c", "bc", None]),
        {"key": ("one", "two")},
        [[0, 2]],
    ),
    "two columns, one of them empty": (
        documents(text=["x"] * 4, one=["", "", "a", ""], two=["a", "a", "", ""]),
        {"key": ("one", "two")},
        [[0, 1]],
    ),
    "the order of columns": (
        documents(text=["x"] * 3, one=["a", "b", "a"], two=["b", "a", "b"]),
        {"key": ("two", "one")},
        [[0, 2]],
    ),
    "numbers": (documents(text=["x"] * 5, n=[0, 1, 0, None, None]), {"key": ("n",)}, [[0, 2]]),
    "doubles": (documents(text=["x"] * 4, n=[0.0, -0.0, NAN, NAN]), {"key": ("n",)}, [[0, 1], [2, 3]]),
    "within": (
        documents(text=["a"] * 6, domain=["x", "y", "x", None, None, ""]),
        {"within": "domain"},
        [[0, 2], [3, 4]],
    ),
    "within, of another column": (
        documents(text=["a", "b", "c"], url=["u", "u", "u"], domain=["x", "x", "y"]),
        {"key": ("url",), "within": "domain"},
        [[0, 1]],
    ),
}


@pytest.mark.parametrize(("batch", "rule", "expected"), CASES.values(), ids=CASES)
def test_equal_keys_are_duplicates(batch: pa.RecordBatch, rule: Any, expected: list[list[int]]) -> None:
    assert clusters(batch, **rule) == expected


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())],
    ids=str,
)
def test_empty_keys_are_nobodys_duplicates_in_any_form(kind: pa.DataType) -> None:
    urls = pa.array(["", "u", "", None, "u"])
    urls = urls.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else urls.cast(kind)
    batch = documents(text=["a"] * 5).append_column("url", urls)
    assert clusters(batch, key=("url",)) == [[1, 4]]


@pytest.mark.parametrize("normalised", [False, True], ids=["bytes", "words"])
def test_real_documents_are_grouped_as_by_a_dict(normalised: bool, webtext: list[dict[str, Any]]) -> None:
    texts = [row["text"] for row in webtext]
    keys: list[Any] = texts
    if normalised:
        keys = [" ".join(found) for found in words(pa.array(texts, pa.large_string())).to_pylist()]
    groups = defaultdict(list)
    for number, key in enumerate(keys):
        if key:
            groups[key].append(number)
    expected = [nodes for nodes in groups.values() if len(nodes) > 1]
    assert len(expected) > 10
    assert clusters(documents(text=texts), normalised=normalised) == sorted(expected)


def test_the_hash_is_blake2b_of_128_bits() -> None:
    hashes = key_hashes(documents(text=["zażółć", "", None]), ExactRule())
    assert hashes.type == pa.binary(16)
    assert hashes.to_pylist() == [hashlib.blake2b("zażółć".encode(), digest_size=16).digest(), None, None]


def rows_of(hashes: list[bytes], nodes: list[int], ranks: list[int]) -> pa.RecordBatch:
    arrays = [pa.array(hashes, pa.binary(16)), pa.array(nodes, pa.uint64()), pa.array(ranks, pa.uint64())]
    return pa.RecordBatch.from_arrays(arrays, schema=EXACT_ROW)


def test_all_128_bits_count() -> None:
    hashes = [bytes(16), bytes(15) + b"\1", b"\1" + bytes(15), bytes(7) + b"\1" + bytes(8), bytes(16)]
    (found,) = choose_exact([stack_equal(rows_of(hashes, list(range(5)), [0] * 5))])
    assert found["node"].to_pylist() == [0, 4]


def test_the_smallest_rank_stays_then_the_smallest_node() -> None:
    one, two = b"1" * 16, b"2" * 16
    nodes = [2**63, 9, 4, 7, 5, 2]
    batch = rows_of([one, one, one, two, two, two], nodes, [2**64 - 1, 1, 1, 0, 2**63, 2**64 - 2])
    for cut in (1, 2, 6):
        (found,) = choose_exact([stack_equal(batch.slice(at, cut)) for at in range(0, 6, cut)])
        assert found.schema == schema.DECISION
        assert [tuple(row.values()) for row in found.to_pylist()] == [
            (2, 2, 3, schema.NO_BAND, 7, None),
            (5, 2, 3, schema.NO_BAND, 7, None),
            (7, 2, 3, schema.NO_BAND, 7, None),
            (4, 4, 3, schema.NO_BAND, 4, None),
            (9, 4, 3, schema.NO_BAND, 4, None),
            (2**63, 4, 3, schema.NO_BAND, 4, None),
        ]


@pytest.mark.parametrize("cut", [1, 7, 400, 2000])
def test_what_stays_does_not_depend_on_what_was_stacked_with_what(cut: int) -> None:
    source = random.Random(cut)
    contents = [bytes([source.randrange(3)] * 8 + [source.randrange(2)] * 8) for _ in range(300)]
    hashes = [source.choice([*contents, bytes(16), bytes(16)]) for _ in range(2000)]
    nodes = [source.getrandbits(64) for _ in range(2000)]
    ranks = [source.choice([0, 1, 2**64 - 1]) for _ in nodes]
    groups = defaultdict(list)
    for content, rank, node in zip(hashes, ranks, nodes, strict=True):
        groups[content].append((rank, node))
    expected = [
        (node, min(node for _, node in some), len(some), min(some)[1])
        for some in groups.values()
        if len(some) > 1
        for _, node in some
    ]
    batch = rows_of(hashes, nodes, ranks)
    pieces = [stack_equal(batch.slice(at, cut)) for at in range(0, 2000, cut)]
    assert (cut > 1) == (sum(piece.num_rows for piece in pieces) < 2000)
    (found,) = choose_exact(source.sample(pieces, len(pieces)))
    told = found.select(["node", "cluster", "cluster_size", "survivor"]).to_pylist()
    assert sorted(tuple(row.values()) for row in told) == sorted(expected)


@pytest.mark.parametrize("cut", [1, 2, 5])
@pytest.mark.parametrize("arrival", [[0, 1, 2, 3, 4], [4, 1, 3, 0, 2], [1, 0, 4, 3, 2]], ids=str)
def test_one_id_and_time_with_two_texts_and_what_comes_again(arrival: list[int], cut: int) -> None:
    """The smallest number stays, in any order of arrival, and a document counts once however often it comes."""
    batch = number_documents(
        in_time([1, 1, 2, 2, 1], id=list("aabba"), text=list("xyzzx"), url=["u"] * 5), "id"
    )
    x, y, z = (address + NEW for address in batch["address"].to_pylist()[:3])
    rows = exact_in_order(batch, ExactRule(key=("url",)), Keep(), "id").take(pa.array(arrival))
    (found,) = choose_exact([stack_equal(rows.slice(at, cut)) for at in range(0, 5, cut)])
    told = found.select(["node", "cluster_size", "survivor"]).to_pylist()
    expected = [(node, 3, min(x, y)) for node in sorted((x, y, z))]
    assert [tuple(row.values()) for row in told] == expected


@pytest.mark.parametrize("key", [(), ("url", "url")], ids=["none", "twice"])
def test_a_key_has_columns(key: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least one column, and each once"):
        ExactRule(key=key)


def test_a_column_that_cannot_be_hashed_is_told() -> None:
    with pytest.raises(TypeError, match="list"):
        exact_rows(documents(text=["a"], tags=[["x"]]), ExactRule(key=("tags",)), Keep())


def test_a_rule_tells_the_columns_it_needs() -> None:
    assert ExactRule(key=("url", "text"), within="url").columns == ("url", "text")
    assert ExactRule(within="domain").columns == ("text", "domain")
