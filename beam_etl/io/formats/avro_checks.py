"""Avro schemas that would end the process, or never end, whatever reads records of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_FIELDS = 100_000
"""Of a record, with those of records inside it: twenty records, each with the one before it twice, have more."""


class _Shape(NamedTuple):
    """What a value of a type takes."""

    fields: int
    """How many values are read for it, at least."""
    is_empty: bool
    """Whether it may take no bytes."""


def check_nesting(schema: Any, most: int) -> None:
    """Refuses a schema, as JSON, that nests deeper than `most`: fastavro follows it on the process's stack.

    Raises:
      ValueError: it does.
    """
    if most == 0:
        raise ValueError("an Avro schema that nests deeper than --max_nesting allows")
    if isinstance(schema, (dict, list)):
        for item in schema.values() if isinstance(schema, dict) else schema:
            check_nesting(item, most - 1)


def check_records(parsed: Any, named: Mapping[str, Any]) -> None:
    """Refuses a schema whose records can nest without end, or be endless without taking a byte.

    Args:
      parsed: as fastavro parsed it.
      named: its named types.

    Raises:
      ValueError: such a schema. The message names the type.
    """
    _Shapes(named).of(parsed)


class _Shapes:
    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._known: dict[str, _Shape | None] = {}
        """Named types; None while one is looked into."""

    def of(self, avro: Any) -> _Shape:
        if isinstance(avro, list):
            return _Shape(1 + max((self.of(branch).fields for branch in avro), default=0), False)
        if isinstance(avro, str):
            return self._of_name(avro, self._named.get(avro))
        kind = avro["type"]
        if kind in ("record", "error", "fixed", "enum"):
            return self._of_name(avro["name"], avro)
        if kind == "array":
            items = self.of(avro["items"])
            if items.is_empty:
                raise ValueError(
                    "an Avro array of items that take no bytes: few bytes could claim any number"
                )
            return _Shape(1, False)
        if kind == "map":
            self.of(avro["values"])
            return _Shape(1, False)
        return self.of(kind) if isinstance(kind, (dict, list)) else _Shape(1, kind == "null")

    def _of_name(self, name: str, avro: Any) -> _Shape:
        if avro is None:
            return _Shape(1, name == "null")
        if name in self._known:
            shape = self._known[name]
            if shape is None:
                raise ValueError(f"Avro type {name!r} contains itself")
            return shape
        self._known[name] = None
        shape = self._known[name] = self._of_definition(avro)
        return shape

    def _of_definition(self, avro: Any) -> _Shape:
        if avro["type"] == "enum":
            return _Shape(1, False)
        if avro["type"] == "fixed":
            return _Shape(1, avro["size"] == 0)
        shapes = [self.of(field["type"]) for field in avro["fields"]]
        fields = 1 + sum(shape.fields for shape in shapes)
        if fields > MAX_FIELDS:
            raise ValueError(
                f"Avro type {avro['name']!r} has over {MAX_FIELDS} fields, with those of its records"
            )
        return _Shape(fields, all(shape.is_empty for shape in shapes))
