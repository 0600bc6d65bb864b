import datetime
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels.keeping import NAMED, Keep, ranks

TOP = 2**64 - 1
INF, NAN = math.inf, math.nan
DAY = datetime.date
MOMENT = datetime.datetime

ASCENDING = {
    "signed": (pa.int64(), [-(2**63), -(2**63) + 1, -1, 0, 1, 2**62, 2**63 - 2]),
    "small": (pa.int8(), [-128, -1, 0, 1, 127]),
    "unsigned": (pa.uint64(), [0, 1, 2, 2**63 - 1, 2**63, 2**63 + 1, TOP - 1]),
    "unsigned and short": (pa.uint32(), [0, 1, 2**32 - 1]),
    "doubles": (pa.float64(), [-INF, -1e308, -1.5, -5e-324, 0.0, 5e-324, 1.0, 1e308, INF]),
    "floats": (pa.float32(), [-INF, -1.5, 0.0, 0.25, INF]),
    "half floats": (pa.float16(), [np.float16(-1.5), np.float16(0), np.float16(3)]),
    "booleans": (pa.bool_(), [False, True]),
    "dates": (pa.date32(), [DAY(1, 1, 1), DAY(1969, 12, 31), DAY(1970, 1, 1), DAY(2026, 5, 4)]),
    "long dates": (pa.date64(), [DAY(1969, 12, 31), DAY(2026, 5, 4)]),
    "moments": (
        pa.timestamp("us", tz="UTC"),
        [MOMENT(1969, 1, 1), MOMENT(1970, 1, 1), MOMENT(2026, 1, 1, 0, 0, 1)],
    ),
    "local moments": (pa.timestamp("ns"), [MOMENT(1969, 1, 1), MOMENT(2026, 1, 1)]),
    "times of day": (pa.time32("s"), [datetime.time(0), datetime.time(23, 59)]),
    "durations": (pa.duration("ms"), [datetime.timedelta(-1), datetime.timedelta(0), datetime.timedelta(1)]),
}


def ranked(values: list[Any], kind: pa.DataType, rule: str) -> list[int]:
    found: list[int] = ranks(pa.record_batch({"c": pa.array(values, kind)}), Keep.parse(rule)).tolist()
    return found


@pytest.mark.parametrize(("kind", "values"), ASCENDING.values(), ids=ASCENDING)
def test_ranks_order_as_the_values_do(kind: pa.DataType, values: list[Any]) -> None:
    for rule, expected in (("min:c", values), ("max:c", values[::-1])):
        found = ranked([*values, None, values[0]], kind, rule)
        by_rank = sorted(range(len(values)), key=lambda row: found[row])
        assert [values[row] for row in by_rank] == expected
        assert len({*found}) == len(values) + 1, "distinct values have distinct ranks"
        assert found[-1] == found[0], "equal values have equal ranks"
        assert found[-2] > max(found[:-2] + found[-1:]), "a null loses"


def test_what_has_no_place_loses() -> None:
    for rule in ("min:c", "max:c"):
        nan, null, low, high = ranked([NAN, None, -INF, INF], pa.float64(), rule)
        assert nan == null > max(low, high)


def test_zeros_are_equal() -> None:
    assert len(set(ranked([0.0, -0.0], pa.float64(), "min:c"))) == 1


def test_null_loses_against_the_largest_of_all() -> None:
    for kind, value in (
        (pa.uint64(), TOP),
        (pa.int64(), 2**63 - 1),
        (pa.uint64(), 0),
        (pa.int64(), -(2**63)),
    ):
        for rule in ("min:c", "max:c"):
            known, null = ranked([value, None], kind, rule)
            assert known < null


@pytest.mark.parametrize(
    ("rule", "expected"), [("longest", [1, 3, 0, 2]), ("shortest", [0, 2, 3, 1])], ids=["longest", "shortest"]
)
def test_texts_are_measured_in_characters(rule: str, expected: list[int]) -> None:
    """Row 3 has more bytes than row 1, and fewer characters."""
    batch = pa.record_batch(
        {"text": pa.array(["ab", "abcd", "ab", "\U0001d518\U0001d518é"], pa.large_string())}
    )
    found = ranks(batch, Keep.parse(rule))
    assert sorted(range(4), key=lambda row: (found[row], row)) == expected
    assert found[0] == found[2]


def test_a_document_without_text_loses() -> None:
    batch = pa.record_batch({"text": pa.array([None, "", "ab"], pa.large_string())})
    for rule in ("longest", "shortest"):
        found = ranks(batch, Keep.parse(rule))
        assert found[0] > max(found[1], found[2])


def test_the_first_needs_no_column() -> None:
    assert ranks(pa.record_batch({"c": ["x", "y"]}), Keep.parse("first")).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("rule", "column", "largest"),
    [
        ("first", None, False),
        ("longest", "text", True),
        ("shortest", "text", False),
        ("newest", "time", True),
        ("oldest", "time", False),
        ("max:a:b", "a:b", True),
        ("min:first", "first", False),
    ],
)
def test_rules_are_read(rule: str, column: str | None, largest: bool) -> None:
    assert Keep.parse(rule) == Keep(column, largest)


@pytest.mark.parametrize("rule", ["", "max:", "max", "largest:c", "First", "min :c"])
def test_another_rule_is_told(rule: str) -> None:
    with pytest.raises(ValueError, match=f"{', '.join(NAMED)}, max:COLUMN or min:COLUMN; got '{rule}'"):
        Keep.parse(rule)


UNORDERED = {
    "text": pa.array(["a"]),
    "decimals": pa.array([1], pa.decimal128(5, 2)),
    "lists": pa.array([[1]]),
    "dictionaries": pa.array([1]).dictionary_encode(),
}


@pytest.mark.parametrize("values", UNORDERED.values(), ids=UNORDERED)
def test_a_column_without_an_order_is_told(values: pa.Array) -> None:
    with pytest.raises(TypeError, match=r"column 'c' is .*: documents are kept by numbers, dates and times"):
        ranks(pa.record_batch({"c": values}), Keep("c"))
