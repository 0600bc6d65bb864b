"""What could not be read, as rows of schema.REJECT: nothing is left out in silence."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.access import open_file
from beam_etl.io.errors import is_content_error

STAGE = "read"
"""What rejects of reading have in the column `stage`."""

_HASH_BYTES = 4 << 20
"""Read at once to hash a rest of a file."""


Bytes: TypeAlias = bytes


class Reject(NamedTuple):
    """One row of schema.REJECT, but for the stage."""

    file: str
    position: int | None
    """As in addresses; None where it can't be known."""
    reason: str
    rows: int | None
    """1 for a record; for a rest, its records where the file tells their number, else None."""
    bytes: int
    digest: Bytes
    payload: Bytes


def reject_record(path: str, position: int, reason: str, record: bytes) -> Reject:
    """The reject of one record, given all of its bytes."""
    return Reject(
        file=path,
        position=position,
        reason=reason,
        rows=1,
        bytes=len(record),
        digest=hashlib.sha256(record).digest(),
        payload=record[: schema.PAYLOAD_BYTES],
    )


def reject_rest(
    path: str, start: int, stop: int, reason: str, position: int | None = None, rows: int | None = None
) -> Reject:
    """The reject of the stored bytes `start` to `stop` of a file, which are read once more to be hashed."""
    digest, payload, size = hashlib.sha256(), b"", 0
    try:
        with open_file(path) as file:
            file.seek(start)
            while piece := file.read(min(_HASH_BYTES, stop - start - size)):
                digest.update(piece)
                payload += piece[: schema.PAYLOAD_BYTES - len(payload)]
                size += len(piece)
    except Exception as error:
        if not is_content_error(error):
            raise
    return Reject(path, position, reason, rows, stop - start, digest.digest(), payload)


def reject_batches(
    rejects: Iterable[Reject], stage: str = STAGE, rows: int = 1000
) -> Iterator[pa.RecordBatch]:
    """Batches of schema.REJECT, of at most `rows` rows: some 4 MiB with full payloads."""
    held: list[Reject] = []
    for reject in rejects:
        held.append(reject)
        if len(held) == rows:
            yield _batch(held, stage)
            held = []
    if held:
        yield _batch(held, stage)


def _batch(rejects: list[Reject], stage: str) -> pa.RecordBatch:
    columns: dict[str, Sequence[Any]] = dict(zip(Reject._fields, zip(*rejects, strict=True), strict=True))
    columns["reason"] = [reason.encode("utf-8", "backslashreplace").decode() for reason in columns["reason"]]
    columns["stage"] = [stage] * len(rejects)
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[field.name], field.type) for field in schema.REJECT], schema=schema.REJECT
    )
