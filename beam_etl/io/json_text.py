"""A row as one line of JSON: how JSONL is written, and how a reject shows a row of a columnar file."""

import base64
import datetime
import decimal
import json
import uuid
from typing import Any

import pyarrow as pa

from beam_etl.io.errors import CONTENT_ERRORS


def json_line(record: dict[str, Any]) -> bytes:
    """One object in UTF-8, without a line end.

    Times are ISO 8601, bytes base64, decimals text; infinity and not-a-number are null. Half a surrogate
    pair, which UTF-8 has no bytes for, is an escape.
    """
    try:
        text = json.dumps(record, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:  # only the slow way finds the numbers that JSON doesn't have
        text = json.dumps(_finite(record), ensure_ascii=False, default=_plain)
    return text.encode("utf-8", "backslashreplace")


def row_line(batch: pa.RecordBatch, row: int) -> bytes:
    """Row `row` of a batch as `json_line`; bytes that are not UTF-8 inside a string become escapes."""
    return json_line({name: _value(batch.column(name)[row]) for name in batch.schema.names})


def _value(scalar: Any) -> Any:
    if not scalar.is_valid:
        return None
    if isinstance(scalar, (pa.StringScalar, pa.LargeStringScalar)):
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
    if isinstance(scalar, pa.DictionaryScalar):
        return _value(scalar.value)
    if isinstance(scalar, pa.StructScalar):
        return {name: _value(scalar[place]) for place, name in enumerate(scalar.type.names)}
    if isinstance(scalar, (pa.ListScalar, pa.LargeListScalar)):
        return [_value(item) for item in scalar.values]
    return plain_value(scalar)


def plain_value(scalar: Any) -> Any:
    """The value in Python; where Python can't hold it (nanoseconds, far years, unknown zones), text for it."""
    try:
        return scalar.as_py()
    except CONTENT_ERRORS:
        if isinstance(scalar, pa.ExtensionScalar):
            return _value(scalar.value)
    try:
        return str(scalar.cast(pa.string()))
    except CONTENT_ERRORS:
        return repr(scalar.value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value
