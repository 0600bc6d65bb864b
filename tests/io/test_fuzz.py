"""Readers given valid files that were changed here and there: what they read or reject, never how they end.

FUZZ_EXECUTIONS=1000000 runs as many of each; `make fuzz` does.
"""

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import InputError, is_content_error
from beam_etl.io.files import match_files
from beam_etl.io.formats import format_named
from beam_etl.io.rejects import Reject, reject_batches
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.transforms.batches import RecordBatchCoder
from tests.stored import avro, documents, json_lines, parquet

EXECUTIONS = int(os.environ.get("FUZZ_EXECUTIONS", "150"))

ROWS = documents(12)
LINES = json_lines(ROWS)

SEEDS: dict[str, tuple[str, bytes]] = {
    "parquet": ("parquet", parquet(ROWS)),
    "avro": ("avro", avro(ROWS, "null")),
    "avro, deflated": ("avro", avro(ROWS)),
    "jsonl": ("jsonl", LINES),
    "jsonl.gz": ("jsonl", gzip.compress(LINES, mtime=0)),
    "jsonl.zst": ("jsonl", zstandard.compress(LINES)),
    "text": ("text", b"\xef\xbb\xbf" + LINES.replace(b'"', b"\r")),
    "textfile": ("textfile", LINES),
}
"""A format, and a valid file of it."""

COLUMNS = (Columns(), Columns(needed=(), carry=ALL))

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


def check_reading(path: Path, known_as: str, columns: Columns, split_bytes: int) -> None:
    """What is read is valid and bounded, and each record of a format of lines is a document or a reject."""
    known, size = format_named(known_as), path.stat().st_size
    file = match_files(str(path), known_as)[0]
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
            sent: pa.RecordBatch = RecordBatchCoder().decode(RecordBatchCoder().encode(batch))
            sent.validate(full=True)
    assert addresses == sorted(set(addresses))


@pytest.mark.parametrize("name", SEEDS)
def test_a_changed_file_is_read_or_rejected(name: str, tmp_path: Path) -> None:
    known_as, content = SEEDS[name]
    path = tmp_path / (f"a.{name}" if "jsonl" in name else "a")
    for execution in range(EXECUTIONS):
        chance = random.Random(f"{name} {execution}")
        path.write_bytes(mutated(content, chance))
        try:
            check_reading(path, known_as, chance.choice(COLUMNS), chance.choice((64, 1 << 20)))
        except Exception as error:
            raise AssertionError(f"execution {execution}, {path.read_bytes()!r}") from error


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5)


@pytest.mark.parametrize("encode", [parquet, avro, json_lines], ids=["parquet", "avro", "jsonl"])
def test_any_text_comes_back_as_it_was(
    encode: Callable[[list[dict[str, str]]], bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("texts")

    @settings(max_examples=min(EXECUTIONS, 1000))
    @given(TEXTS)
    def check(texts: list[str]) -> None:
        name = {parquet: "parquet", avro: "avro", json_lines: "jsonl"}[encode]
        path = folder / f"a.{name}"
        path.write_bytes(encode([{"text": text} for text in texts]))
        read: list[str] = []
        known = format_named(name)
        for split in plan_splits(match_files(str(path))[0], known, 1 << 20):
            for found in read_split(split, known, Columns()):
                assert not isinstance(found, Reject), found
                read += found.column("text").to_pylist()
        assert read == texts

    check()
