"""Values of messages, JSON or Avro, as documents: by the readers of those formats."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from beam_etl.io.access import open_file
from beam_etl.io.columns import Columns
from beam_etl.io.errors import InputError, is_content_error, one_line
from beam_etl.io.formats.avro import Record, decode_record, record_rows
from beam_etl.io.formats.avro_types import AvroTypes
from beam_etl.io.formats.base import FileEntry, Limits, Rows, SplitReader
from beam_etl.io.formats.json_types import infer_schema
from beam_etl.io.formats.jsonl import parse_options, read_lines
from beam_etl.io.formats.lines import Lines
from beam_etl.io.rejects import Reject, reject_record
from beam_etl.io.splits import choose, read_rows
from beam_etl.io.stored_types import widest

PREFIX_BYTES = 5
"""Before a value in the wire format of schema registries: a zero, and the schema's number, 4 bytes, big end first."""

NO_NUMBER = -1
"""Instead of a schema's number, where values don't begin with one."""


class Message(NamedTuple):
    """A message's place in its partition, and its value."""

    position: int
    value: bytes


class Values(Protocol):
    """How values are written. Picklable."""

    def stored(self, sample: Iterable[bytes]) -> pa.Schema:
        """The columns that values have, as they tell themselves or as a sample does; none where neither does."""

    def readers(
        self, path: str, messages: Sequence[Message], stored: pa.Schema, limits: Limits
    ) -> Iterator[SplitReader | Reject]:
        """Readers of the messages, in order, and what none of them can read."""


def read_values(
    values: Values, messages: Sequence[Message], columns: Columns, stored: pa.Schema, file: FileEntry
) -> Iterator[pa.RecordBatch | Reject]:
    """Messages of one partition as documents, in their order, and what is rejected.

    Args:
      values: how they are written.
      messages: some of them.
      columns: what is wanted.
      stored: the columns of the whole topic.
      file: stands for the partition. Positions are the messages'.
    """
    good: list[Message] = []
    for message in messages:
        if len(message.value) > columns.limits.record_bytes:
            reason = (
                f"a record of {len(message.value)} bytes: over the limit of {columns.limits.record_bytes}"
            )
            yield reject_record(file.path, message.position, reason, message.value)
        else:
            good.append(message)
    for found in values.readers(file.path, good, stored, columns.limits):
        if isinstance(found, Reject):
            yield found
        else:
            yield from read_rows(*choose(found, columns, file.path, stored), file)


@dataclass(frozen=True)
class JsonValues:
    """A JSON object a message, on one line or on several."""

    def stored(self, sample: Iterable[bytes]) -> pa.Schema:
        return infer_schema(sample)

    def readers(
        self, path: str, messages: Sequence[Message], stored: pa.Schema, limits: Limits
    ) -> Iterator[SplitReader | Reject]:
        del limits
        for message in messages:
            if not message.value.strip():
                yield reject_record(path, message.position, "an empty value", message.value)
        filled = [message for message in messages if message.value.strip()]
        if filled:
            yield _JsonReader(path, filled, stored)


class _JsonReader:
    """Messages as lines of one block."""

    def __init__(self, path: str, messages: Sequence[Message], stored: pa.Schema) -> None:
        self.schema = stored
        self._path = path
        self._positions = np.array([message.position for message in messages], np.int64)
        lengths = np.array([len(message.value) for message in messages], np.int64)
        ends = np.cumsum(lengths + 1) - 1
        begins = ends - lengths
        data = b"\n".join([message.value for message in messages])
        self._lines = Lines(data, 0, begins, begins, ends, ends)

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        for found in read_lines(self._path, self._lines, parse_options(self.schema, names, complete)):
            if isinstance(found, Reject):
                assert found.position is not None
                yield found._replace(position=int(self._place(np.array(found.position))))
            else:
                yield found._replace(positions=self._place(found.positions))

    def _place(self, begins: np.ndarray) -> np.ndarray:
        """The messages' positions, of where they begin in the block."""
        return self._positions[np.searchsorted(self._lines.begins, begins)]


@dataclass(frozen=True)
class AvroValues:
    """An Avro record a message, without the header of a file.

    Args:
      schemas: the writers', as JSON text, by their numbers in a registry; or one under NO_NUMBER, where values don't
        begin with a number.
    """

    schemas: tuple[tuple[int, str], ...]

    def stored(self, sample: Iterable[bytes]) -> pa.Schema:
        del sample
        fields: dict[str, pa.Field] = {}
        for number, types in self._types(Limits()).items():
            for field in types.schema:
                known = fields.setdefault(field.name, field)
                type_ = widest(known.type, field.type)
                if type_ is None:
                    raise InputError(
                        f"schema {number}: {field.name!r} is {field.type}, in another {known.type}"
                    )
                fields[field.name] = known if type_ == known.type else known.with_type(type_)
        return pa.schema(list(fields.values()))

    def readers(
        self, path: str, messages: Sequence[Message], stored: pa.Schema, limits: Limits
    ) -> Iterator[SplitReader | Reject]:
        del stored
        known = self._types(limits)
        for number, run in groupby(messages, self._number):
            if number is not None and number in known:
                yield _AvroReader(path, list(run), known[number], 0 if number == NO_NUMBER else PREFIX_BYTES)
                continue
            numbers = ", ".join(map(str, known))
            reason = (
                "no schema's number before the value"
                if number is None
                else f"written with schema {number}, which isn't among those given: {numbers}"
            )
            for message in run:
                yield reject_record(path, message.position, reason, message.value)

    def _number(self, message: Message) -> int | None:
        if self.schemas[0][0] == NO_NUMBER:
            return NO_NUMBER
        value = message.value
        framed = len(value) >= PREFIX_BYTES and not value[0]
        return int.from_bytes(value[1:PREFIX_BYTES], "big") if framed else None

    def _types(self, limits: Limits) -> Mapping[int, AvroTypes]:
        return {number: _avro_types(text, limits.nesting) for number, text in self.schemas}


@cache
def _avro_types(text: str, nesting: int) -> AvroTypes:
    return AvroTypes(json.loads(text), nesting)


class _AvroReader:
    def __init__(self, path: str, messages: Sequence[Message], types: AvroTypes, skipped: int) -> None:
        self.schema = types.schema
        self._path = path
        self._messages = messages
        self._types = types
        self._skipped = skipped

    def rows(self, names: Sequence[str], complete: bool) -> Iterator[Rows | Reject]:
        del complete
        records: list[Record] = []
        for message in self._messages:
            stream = io.BytesIO(message.value)
            stream.seek(self._skipped)
            try:
                values = decode_record(stream, self._types)
                if stream.tell() != len(message.value):
                    raise ValueError("bytes behind the record")
            except Exception as error:
                if not is_content_error(error):
                    raise
                yield reject_record(self._path, message.position, one_line(error), message.value)
            else:
                records.append(Record(values, message.position, message.value, 0, len(message.value)))
        yield from record_rows(self._path, records, self._types, names)


def avro_values(files: Sequence[str]) -> AvroValues:
    """Values by the schemas in these files: one, or several `NUMBER:FILE` with their numbers in a registry.

    Raises:
      InputError: a file is no schema of records, or files without numbers stand beside others.
    """
    schemas = []
    for named in files:
        number, colon, path = named.partition(":")
        numbered = bool(colon) and number.isdecimal()
        path = path if numbered else named
        try:
            with open_file(path) as file:
                text = file.read().decode()
            AvroTypes(json.loads(text), Limits().nesting)
        except Exception as error:
            if isinstance(error, OSError) or is_content_error(error):
                raise InputError(f"{path}: no Avro schema ({one_line(error)})") from error
            raise
        schemas.append((int(number) if numbered else NO_NUMBER, text))
    numbers = [number for number, _ in schemas]
    if len(set(numbers)) < len(numbers) or (NO_NUMBER in numbers and len(numbers) > 1):
        raise InputError(f"several Avro schemas need a number each: NUMBER:FILE, got {', '.join(files)}")
    return AvroValues(tuple(schemas))
