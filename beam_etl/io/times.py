"""Dates and times in the forms that data has them, as the shared types."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.io.isolate import failures

_DATE_ONLY = r"^\d{4}-\d{2}-\d{2}$"
_WITH_ZONE = r"\d[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"
_MORE_THAN_MICROSECONDS = r"(\.\d{6})\d+"


def read_times(values: pa.Array) -> tuple[pa.Array, list[int]]:
    """Times in UTC, and the rows that hold something else.

    Args:
      values: timestamps, where a naive one is UTC; or ISO 8601 text of a date, which means its midnight in
        UTC, or of a date and a time, with or without a zone. Digits below the microsecond are cut off. Null
        stays null, and empty is null.

    Returns:
      timestamp[us, UTC][rows], null in the rows of the second; and those rows.
    """
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
