"""Valid files that are changed here and there, and what readers may make of them: `python -m tests.io.fuzzing COUNT`.

So many files of each kind are read, or those from FIRST on with `FIRST:STOP`; further arguments name some of KINDS. A
file is made from its kind and its number alone, and both are told with the first that isn't read or rejected.
"""

import gzip
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

from beam_etl import schema
from beam_etl.io import splits
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import InputError, is_content_error
from beam_etl.io.formats import FileEntry, format_named
from beam_etl.io.rejects import Reject, reject_batches
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.transforms.batches import RecordBatchCoder
from tests.archives import records
from tests.stored import avro, documents, json_lines, parquet

ROWS = documents(12)
LINES = json_lines(ROWS)
PAGES = records(4)
TEXTS = [
    b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: %d\r\n\r\n%b\r\n\r\n" % (len(text), text)
    for text in (str(row["text"]).encode() for row in ROWS)
]

KINDS: dict[str, tuple[str, bytes]] = {
    "parquet": ("parquet", parquet(ROWS)),
    "avro": ("avro", avro(ROWS, "null")),
    "avro, deflated": ("avro", avro(ROWS)),
    "jsonl": ("jsonl", LINES),
    "jsonl.gz": ("jsonl", gzip.compress(LINES, mtime=0)),
    "jsonl.zst": ("jsonl", zstandard.compress(LINES)),
    "text": ("text", b"\xef\xbb\xbf" + LINES.replace(b'"', b"\r")),
    "textfile": ("textfile", LINES),
    "warc": ("warc", b"".join(PAGES)),
    "warc.gz": ("warc", b"".join(gzip.compress(page, mtime=0) for page in PAGES)),
    "wet": ("wet", b"".join(TEXTS)),
    "wet.gz": ("wet", b"".join(gzip.compress(text, mtime=0) for text in TEXTS)),
}
"""A format, and a valid file of it."""

COLUMNS = (Columns(), Columns(needed=(), carry=ALL))

SENT = 8
"""Of so many files, the batches of one cross the coder as well: it takes a third of an execution."""

TOLD = 10_000
"""Files after which it is told how far reading is."""

INTERESTING = (
    *(
        b"\x00",
        b"\xff",
        b"\x7f",
        b"\x80",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"\n",
        b'"',
        b"{",
        b"}",
        b"[" * 200,
        b"null",
    ),
    *(
        bytes(8),
        b"\xff" * 8,
        b"\xfe\xff\xff\xff\x0f",
        b"\x01" + bytes(7),
        b"Obj\x01",
        b"PAR1",
        b"\xef\xbb\xbf",
    ),
)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with up to five changes: bits, bytes, pieces that are lost, doubled, moved or put in."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 5)):
        at, size = (
            chance.randrange(len(changed) + 1),
            min(chance.choice((1, 1, 2, 4, 16, 200)), 1 + len(changed)),
        )
        kind = chance.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = changed[at : at + size]
        elif kind == 4:
            changed[at:at] = chance.choice(INTERESTING)
        else:
            piece = chance.choice(INTERESTING)
            changed[at : at + len(piece)] = piece
    return bytes(changed)


def check_reading(path: Path, known_as: str, columns: Columns, split_bytes: int, sent: bool = True) -> None:
    """What is read is valid and bounded, and addresses ascend. `sent`: what a worker sends on is, too."""
    known, size = format_named(known_as), path.stat().st_size
    file = FileEntry(0, str(path), size)
    try:
        stored = known.schema(str(path)) if known.inferred and size else None
    except InputError:
        return
    except Exception as error:
        if not is_content_error(error):
            raise
        stored = None
    addresses: list[int] = []
    for split in plan_splits(file, known, split_bytes):
        assert 0 <= split.start <= split.stop <= size
        for found in read_split(split, known, columns, stored):
            if isinstance(found, Reject):
                assert len(found.payload) <= schema.PAYLOAD_BYTES
                assert "the file changed" not in found.reason
                [batch] = reject_batches([found])
            else:
                addresses += found.column(schema.ADDRESS).to_pylist()
                batch = found
            batch.validate(full=True)
            if sent:
                again: pa.RecordBatch = RecordBatchCoder().decode(RecordBatchCoder().encode(batch))
                again.validate(full=True)
    assert addresses == sorted(set(addresses))


def read_changed(kind: str, numbers: Iterable[int], folder: Path) -> None:
    """Reads these files of a kind.

    Raises:
      AssertionError: one is neither read nor rejected; the message has its number and its content.
    """
    known_as, content = KINDS[kind]
    path = folder / (f"a.{kind}" if "jsonl" in kind else "a")
    for number in numbers:
        chance = random.Random(f"{kind} {number}")
        path.write_bytes(mutated(content, chance))
        try:
            check_reading(
                path,
                known_as,
                chance.choice(COLUMNS[known_as == "warc" :]),  # which has no text, but pages
                chance.choice((1 + len(content) // 5, 1 << 20)),
                number % SENT == 0,
            )
        except Exception as error:
            raise AssertionError(f"{kind}, file {number}, {path.read_bytes()!r}") from error


def _here(_: object, __: int, make: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    return make()


def main(numbers: str, *kinds: str) -> None:
    """Reads files in this thread, which saves handing over what it reads, and tells how many."""
    first, _, stop = numbers.rpartition(":")
    vars(splits)["carefully"] = _here
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        for kind in kinds or KINDS:
            for begin in range(int(first or 0), int(stop), TOLD):
                end, start = min(begin + TOLD, int(stop)), time.process_time()
                read_changed(kind, range(begin, end), Path(folder))
                each = (time.process_time() - start) / (end - begin) * 1e6
                sys.stdout.write(f"{kind}: {begin}:{end} read or rejected, {each:.0f} us each\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
