"""Dates and times in the forms that data has them, as the shared types."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.io.isolate import failures

UNITS = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
"""Of numbers that tell a time, in nanoseconds."""

_MOST = (1 << 63) - 1
_DATE_ONLY = r"^\d{4}-\d{2}-\d{2}$"
_WITH_ZONE = r"\d[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"
_MORE_THAN_MICROSECONDS = r"(\.\d{6})\d+"


def read_times(values: pa.Array, unit: str | None = None) -> tuple[pa.Array, list[int]]:
    """Times in UTC, and the rows that hold something else.

    Args:
      values: timestamps, where a naive one is UTC; dates, which mean their midnight in UTC; ISO 8601 text of a date, or
        of a date and a time, with or without a zone; or numbers. Digits below the microsecond are cut off. Null stays
        null, and empty is null.
      unit: what numbers count since 1970 in UTC, of UNITS.

    Returns:
      timestamp[us, UTC][rows], null in the rows of the second; and those rows.
    """
    if is_number(values.type):
        assert unit is not None, "columns.resolve asks for the unit of numbers"
        return _since_1970(values, UNITS[unit])
    if pa.types.is_date(values.type):
        return _cast(values.cast(pa.date32()).cast(pa.timestamp("s", tz="UTC")), exact=True)
    if pa.types.is_timestamp(values.type):
        exact = values.type.unit != "ns"  # which always fits, and is cut off
        return _cast(values, exact)
    text = pc.utf8_upper(pc.utf8_trim_whitespace(values.cast(pa.string())))
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    text = pc.replace_substring_regex(text, _MORE_THAN_MICROSECONDS, r"\1")
    text = pc.replace_substring_regex(text, r" ([+-])", r"\1")
    missing = pc.if_else(
        pc.match_substring_regex(text, _DATE_ONLY),
        "T00:00:00Z",
        pc.if_else(pc.match_substring_regex(text, _WITH_ZONE), "", "Z"),
    )
    return _cast(pc.binary_join_element_wise(text, missing, ""), exact=True)


def is_number(type_: pa.DataType) -> bool:
    """Whole numbers, or floats."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def _since_1970(values: pa.Array, nanoseconds: int) -> tuple[pa.Array, list[int]]:
    """Numbers of `nanoseconds` each as times. NaN, infinities and what no time has are the rows of the second."""
    missing = np.asarray(values.is_null())
    if pa.types.is_floating(values.type):
        scaled = np.floor(np.asarray(values.cast(pa.float64()).fill_null(0)) * (nanoseconds / 1000))
        fits = np.abs(scaled) < 2.0**63  # never true for NaN
        micros = np.where(fits, scaled, 0).astype(np.int64)
    else:
        whole, factor = np.asarray(values.fill_null(0)), max(1, nanoseconds // 1000)
        fits = (whole <= _MOST // factor) & (whole >= -(_MOST // factor))
        kept = np.where(fits, whole, 0).astype(np.int64)
        micros = kept * factor if nanoseconds >= 1000 else kept // 1000
    times = pa.array(micros, mask=missing | ~fits).cast(schema.UTC_TIME)
    return times, np.flatnonzero(~fits & ~missing).tolist()


def read_dates(values: pa.Array) -> tuple[pa.Array, list[int]]:
    """Dates in UTC, and the rows that hold something else.

    Args:
      values: dates, or what `read_times` takes: the day in UTC.

    Returns:
      date32[rows], null in the rows of the second; and those rows.
    """
    if pa.types.is_date(values.type):
        return values.cast(pa.date32()), []
    times, bad = read_times(values)
    return times.cast(pa.date32(), safe=False), bad


def _cast(values: pa.Array, exact: bool) -> tuple[pa.Array, list[int]]:
    try:
        return values.cast(schema.UTC_TIME, safe=exact), []
    except pa.ArrowInvalid:
        pass
    bad = [
        row for row, _ in failures(lambda i, j: values.slice(i, j - i).cast(schema.UTC_TIME), 0, len(values))
    ]
    mask = np.zeros(len(values), bool)
    mask[bad] = True
    return pc.if_else(pa.array(mask), pa.scalar(None, values.type), values).cast(
        schema.UTC_TIME, safe=exact
    ), bad
