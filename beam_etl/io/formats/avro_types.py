"""Avro types as Arrow types, both ways."""

from collections.abc import Callable, Mapping
from typing import Any

import fastavro
import pyarrow as pa

from beam_etl.io.errors import InputError
from beam_etl.io.formats.avro_checks import check_nesting, check_records
from beam_etl.io.formats.base import NO_ARROW_TYPE

Convert = Callable[[Any], Any]

_PRIMITIVES = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}

_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("string", "uuid"): pa.string(),
    ("fixed", "uuid"): pa.string(),
}


class AvroTypes:
    """A writer's schema, checked and parsed, with the Arrow type of each field.

    Args:
      writer: the schema, as JSON.
      nesting: how deep it may nest.

    Raises:
      ValueError: not a schema of records, or one that `avro_checks` refuses.
    """

    def __init__(self, writer: Any, nesting: int) -> None:
        check_nesting(writer, nesting)
        self._named: dict[str, Any] = {}
        try:
            self.parsed = fastavro.parse_schema(writer, named_schemas=self._named, _write_hint=False)
        except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
            raise ValueError(f"not an Avro schema: {error}") from error
        if not isinstance(self.parsed, dict) or self.parsed.get("type") not in ("record", "error"):
            raise ValueError("an Avro file whose records have no fields with names")
        check_records(self.parsed, self._named)
        fields, self._converts = [], {}
        for field in self.parsed["fields"]:
            try:
                type_, convert = self._arrow(field["type"])
                fields.append(pa.field(field["name"], type_))
            except InputError as error:
                convert = None
                fields.append(pa.field(field["name"], pa.null(), metadata={NO_ARROW_TYPE: str(error)}))
            self._converts[field["name"]] = convert
        self.schema = pa.schema(fields)

    def array(self, name: str, records: list[dict[str, Any]]) -> pa.Array:
        """One field of some records.

        Raises:
          Exception: one of CONTENT_ERRORS, when a value doesn't fit its type.
        """
        convert, type_ = self._converts[name], self.schema.field(name).type
        if convert is None:
            return pa.array([record[name] for record in records], type_)
        return pa.array(
            [None if record[name] is None else convert(record[name]) for record in records], type_
        )

    def _arrow(self, avro: Any) -> tuple[pa.DataType, Convert | None]:
        """Arrow type, and what to do with a value that is not null before Arrow takes it."""
        if isinstance(avro, list):
            others = [branch for branch in avro if branch != "null"]
            if len(others) != 1:
                raise InputError(f"a union of {len(others)} types")
            return self._arrow(others[0])
        if isinstance(avro, str):
            if avro in _PRIMITIVES:
                return _PRIMITIVES[avro], None
            avro = self._named[avro]
        kind = avro["type"]
        logical = (kind, avro.get("logicalType"))
        if logical in _LOGICAL:
            return _LOGICAL[logical], str if logical[1] == "uuid" else None
        if logical in (("bytes", "decimal"), ("fixed", "decimal")):
            return _decimal(avro), None
        if kind in _NESTED:
            return _NESTED[kind](self, avro)
        return self._arrow(kind)

    def _list(self, avro: Any) -> tuple[pa.DataType, Convert | None]:
        item, convert = self._arrow(avro["items"])
        return pa.list_(item), _each(convert)

    def _map(self, avro: Any) -> tuple[pa.DataType, Convert | None]:
        item, convert = self._arrow(avro["values"])
        return pa.map_(pa.string(), item), lambda value: [(key, _apply(convert, value[key])) for key in value]

    def _record(self, avro: Any) -> tuple[pa.DataType, Convert | None]:
        found = {field["name"]: self._arrow(field["type"]) for field in avro["fields"]}
        converts = {name: convert for name, (_, convert) in found.items() if convert is not None}
        type_ = pa.struct([(name, type_) for name, (type_, _) in found.items()])
        if not converts:
            return type_, None
        return type_, lambda value: {
            **value,
            **{name: _apply(converts[name], value[name]) for name in converts},
        }

    def _enum(self, avro: Any) -> tuple[pa.DataType, Convert | None]:
        return pa.string(), None

    def _fixed(self, avro: Any) -> tuple[pa.DataType, Convert | None]:
        return pa.binary(avro["size"]), None


_NESTED: dict[str, Any] = {
    "array": AvroTypes._list,
    "map": AvroTypes._map,
    "record": AvroTypes._record,
    "error": AvroTypes._record,
    "enum": AvroTypes._enum,
    "fixed": AvroTypes._fixed,
}


def _apply(convert: Convert | None, value: Any) -> Any:
    return value if value is None or convert is None else convert(value)


def _each(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda values: [_apply(convert, value) for value in values]


def _decimal(avro: Mapping[str, Any]) -> pa.DataType:
    precision, scale = avro["precision"], avro.get("scale", 0)
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
