"""Lines and their positions against a reference that reads the whole file."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.io.access import Stream
from beam_etl.io.formats.base import FileEntry, Limits
from beam_etl.io.formats.lines import Lines, LongLine, _Cutter, line_splits, split_lines

Line = tuple[int, bytes]


def reference(content: bytes) -> list[Line]:
    """Position and content of each line, one by one."""
    found, at = [], 0
    for line in content.split(b"\n"):
        shown = line.removesuffix(b"\r") if at + len(line) < len(content) or line.endswith(b"\r") else line
        found.append((at, shown.removeprefix(b"\xef\xbb\xbf") if at == 0 else shown))
        at += len(line) + 1
    return found if content and not content.endswith(b"\n") else found[:-1]


def read_lines(path: Path, split_bytes: int, block_bytes: int, limit: int) -> list[Line | LongLine]:
    found: list[Line | LongLine] = []
    for split in line_splits(FileEntry(0, str(path), path.stat().st_size), split_bytes):
        for some in split_lines(split, block_bytes, Limits(record_bytes=limit)):
            if isinstance(some, LongLine):
                found.append(some)
                continue
            for position, start, stop in zip(some.positions, some.starts, some.stops, strict=True):
                found.append((int(position), some.data[start:stop]))
    return found


PIECES = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b"a", b"bcdefg", b"\xef\xbb\xbf", b" ", "ż".encode(), b"x" * 40]
)


@given(
    pieces=st.lists(PIECES, max_size=40),
    split_bytes=st.integers(1, 60),
    block_bytes=st.integers(1, 60),
)
def test_splits_and_blocks_give_the_same_lines(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], split_bytes: int, block_bytes: int
) -> None:
    content = b"".join(pieces)
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(content)
    assert read_lines(path, split_bytes, block_bytes, 1000) == reference(content)


@given(
    pieces=st.lists(PIECES, max_size=30),
    limit=st.integers(1, 50),
    split_bytes=st.integers(1, 60),
    block_bytes=st.integers(1, 60),
)
def test_lines_over_the_limit_are_told_and_the_others_read(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[bytes],
    limit: int,
    split_bytes: int,
    block_bytes: int,
) -> None:
    content = b"".join(pieces)
    path = tmp_path_factory.getbasetemp() / "long.jsonl"
    path.write_bytes(content)
    expected: list[Line | LongLine] = []
    for position, line in reference(content):
        record = content[position:].split(b"\n")[0]
        if len(line) > limit:
            expected.append(LongLine(position, len(record), hashlib.sha256(record).digest(), record[:4096]))
        else:
            expected.append((position, line))
    assert read_lines(path, split_bytes, block_bytes, limit) == expected


def test_a_line_of_many_blocks_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    generator = np.random.default_rng(1)
    long = generator.integers(97, 122, 3_000_000, np.uint8).tobytes()
    path.write_bytes(b"a\n" + long + b"\nb\n")
    assert read_lines(path, 1 << 20, 1 << 16, 1 << 25) == [(0, b"a"), (2, long), (3_000_003, b"b")]


def test_a_file_of_one_line_is_read_about_once_by_all_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 1_000_000)
    sizes: list[int] = []
    read = Stream.read

    def counted(stream: Stream, size: int) -> bytes:
        piece = read(stream, size)
        sizes.append(len(piece))
        return piece

    monkeypatch.setattr(Stream, "read", counted)
    assert len(read_lines(path, 100_000, 1000, 1 << 20)) == 1
    assert sum(sizes) < 2_000_100


def test_a_held_line_is_not_copied_for_each_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 2_000_000)
    stream = Stream(str(path))
    cutter = _Cutter(stream, 0, 1 << 44, 1000, 1 << 30)
    held = cutter._held
    with stream:
        [lines] = cutter.lines()
    assert isinstance(lines, Lines)
    assert lines.record(0) == b"x" * 2_000_000
    assert len(held) == 2_000_000  # grown in place
