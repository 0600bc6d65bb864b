"""Writing Avro."""

import re
from typing import Any

import pyarrow as pa
from fastavro.write import Writer as FastWriter

from beam_etl.io.errors import InputError

CODEC = "deflate"
"""The one compression that every reader of Avro must have."""

BLOCK_BYTES = 256 << 10
"""Of records before compression: some 50 documents. A pre-pass over 10 GB of text reads 40,000 headers."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_SIMPLE: tuple[tuple[Any, Any], ...] = (
    (pa.types.is_null, "null"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_uint64, "long"),
    (pa.types.is_int64, "long"),
    (pa.types.is_uint32, "long"),
    (pa.types.is_integer, "int"),
    (pa.types.is_float64, "double"),
    (pa.types.is_floating, "float"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_binary, "bytes"),
    (pa.types.is_large_binary, "bytes"),
    (pa.types.is_fixed_size_binary, "bytes"),
    (pa.types.is_date32, {"type": "int", "logicalType": "date"}),
    (pa.types.is_date64, {"type": "int", "logicalType": "date"}),
)


class AvroWriter:
    """Batches as records of one Avro file: every field may be null.

    Raises:
      InputError: a column's name or type that Avro doesn't have.
    """

    def __init__(self, sink: Any, columns: pa.Schema) -> None:
        self._writer = FastWriter(sink, avro_schema(columns), codec=CODEC, sync_interval=BLOCK_BYTES)

    def write(self, batch: pa.RecordBatch) -> None:
        for record in batch.to_pylist():
            self._writer.write(record)

    def close(self) -> None:
        self._writer.flush()


def avro_schema(columns: pa.Schema) -> dict[str, Any]:
    """The Avro schema of a file that holds these columns.

    Raises:
      InputError: a name or a type that Avro doesn't have. The message names the column.
    """
    return _record(columns, "document", "")


def _record(fields: Any, name: str, inside: str) -> dict[str, Any]:
    described = []
    for field in fields:
        place = f"{inside}{field.name}"
        if not _NAME.fullmatch(field.name):
            raise InputError(f"column {place!r}: Avro has no such names; write parquet or jsonl")
        described.append({"name": field.name, "type": _nullable(field.type, place), "default": None})
    return {"type": "record", "name": name, "fields": described}


def _nullable(type_: pa.DataType, place: str) -> Any:
    avro = _avro(type_, place)
    return avro if avro == "null" else ["null", avro]


def _avro(type_: pa.DataType, place: str) -> Any:
    for matches, avro in _SIMPLE:
        if matches(type_):
            return avro
    if pa.types.is_timestamp(type_) and type_.unit in ("ms", "us"):
        local = "" if type_.tz else "local-"
        return {
            "type": "long",
            "logicalType": f"{local}timestamp-{'millis' if type_.unit == 'ms' else 'micros'}",
        }
    if pa.types.is_decimal128(type_):
        return {"type": "bytes", "logicalType": "decimal", "precision": type_.precision, "scale": type_.scale}
    if pa.types.is_dictionary(type_):
        return _avro(type_.value_type, place)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return {"type": "array", "items": _nullable(type_.value_type, f"{place}.item")}
    if pa.types.is_struct(type_):
        return _record(type_, place.replace(".", "_"), f"{place}.")
    raise InputError(f"column {place!r}: Avro has no type for {type_}; write parquet")
