"""Compressed files as streams: zlib alone says what there is to give of a damaged one, and why not more."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_etl.io import access
from beam_etl.io.access import Stream
from beam_etl.io.errors import CONTENT_ERRORS
from beam_etl.io.inflate import inflater
from tests.stored import documents, json_lines, write

LINES = json_lines(documents(6000))
FIRST, SECOND = gzip.compress(LINES, mtime=0), gzip.compress(LINES[::-1], 1, mtime=0)


def flipped(content: bytes, share: float) -> bytes:
    at = int(len(content) * share)
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def with_odd_head(content: bytes) -> bytes:
    """With a checksum of its head that is wrong, which not all readers look at."""
    return content[:3] + b"\x02" + content[4:10] + b"\0\0" + content[10:]


DAMAGED = {
    "no gzip": b"no gzip",
    "zeros alone": bytes(4096),
    "cut in a head": FIRST[:7],
    "cut": FIRST[: len(FIRST) * 2 // 3],
    "cut before the last byte": FIRST[:-1],
    "a bit near the start": flipped(FIRST, 0.001),
    "a bit": flipped(FIRST, 0.7),
    "a checksum": flipped(FIRST, 1 - 6 / len(FIRST)),
    "a length": flipped(FIRST, 1 - 2 / len(FIRST)),
    "a head": with_odd_head(FIRST),
    "a hole": FIRST[: len(FIRST) // 2] + bytes(1000) + FIRST[len(FIRST) // 2 :],
    "the second member": FIRST + flipped(SECOND, 0.6),
    "the second member is cut, behind padding": FIRST + bytes(70_000) + SECOND[: len(SECOND) // 2],
    "garbage behind": FIRST + b"\x1f\x8b garbage",
    "garbage behind padding": FIRST + bytes(100) + b"garbage",
    "behind what expands much": gzip.compress(b"\n" * 20_000_000 + LINES)[:-2000],
}


def told(path: str) -> tuple[bytes, str, int]:
    """What a stream gives, what it raises, and where."""
    given = io.BytesIO()
    with Stream(path) as stream:
        try:
            while piece := stream.read(1 << 16):
                given.write(piece)
        except CONTENT_ERRORS as error:
            return given.getvalue(), f"{type(error).__name__}: {error}", stream.stored_position()
    raise AssertionError("the damage was not found")


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_told_as_zlib_tells_it(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write(tmp_path, "a.jsonl.gz", content))
    at_speed = told(path)
    monkeypatch.setattr(access, "quick_inflater", lambda head: inflater())
    assert at_speed == told(path)


WHOLE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "of an empty file": lambda: gzip.compress(b""),
    "a member": lambda: FIRST,
    "members": lambda: FIRST + gzip.compress(b"") + SECOND * 3,
    "padding": lambda: FIRST + bytes(200_000) + SECOND + bytes(10),
    "stored": lambda: gzip.compress(LINES, 0),
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_gzip_is_read_as_the_standard_library_reads_it(make: Callable[[], bytes], tmp_path: Path) -> None:
    content = make()
    with Stream(str(write(tmp_path, "a.txt.gz", content))) as stream:
        pieces = list(iter(lambda: stream.read(100_000), b""))
    assert b"".join(pieces) == gzip.decompress(content)
