"""Archives that begin with a dictionary of zstd are read with it; without one, it is told what is missing."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard

from beam_etl.io.columns import Columns
from beam_etl.io.formats.archives.zstd_dictionaries import MAX_BYTES
from beam_etl.schema import MAX_POSITION
from tests.archives import dictionary, frame_of, offsets, records, with_dictionary
from tests.stored import Read, read, write

MADE = records(12)
PACKED = [with_dictionary(one) for one in MADE]
URLS = [f"https://example.com/{number}" for number in range(12)]


def read_archive(folder: Path, packed: Sequence[bytes]) -> Read:
    path = write(folder, "a.warc.zst", b"".join(packed))
    return read(path, Columns(needed=("id", "url")), split_bytes=500)


BEGINNINGS = {
    "as it is": frame_of(dictionary()),
    "compressed": frame_of(zstandard.ZstdCompressor(write_checksum=True).compress(dictionary())),
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_splits_are_read_with_the_dictionary_of_the_file(beginning: bytes, tmp_path: Path) -> None:
    found = read_archive(tmp_path, [beginning, *PACKED])
    assert found.rejects == []
    assert found.column("url") == URLS
    positions = [address & MAX_POSITION for address in found.column("address")]
    assert positions == [len(beginning) + at for at in offsets(MADE, with_dictionary)[1::2]]


def test_members_without_it_may_stand_among_the_others(tmp_path: Path) -> None:
    mixed = [one if at % 3 else zstandard.compress(MADE[at]) for at, one in enumerate(PACKED)]
    found = read_archive(tmp_path, [frame_of(dictionary()), *mixed])
    assert (found.rejects, found.column("url")) == ([], URLS)


LARGE = zstandard.compress(b"\0" * (MAX_BYTES + 1))
WRONG = {
    "none": (b"", "it needs a zstd dictionary, which the file doesn't begin with"),
    "something else": (frame_of(b"abc"), "it needs a zstd dictionary, which the file doesn't begin with"),
    "another one": (
        frame_of(zstandard.train_dictionary(1024, records(90), dict_id=7).as_bytes()),
        "Dictionary mismatch",
    ),
    "damaged": (frame_of(LARGE[:4] + b"\xff" * 9), "a zstd dictionary that can't be"),
    "cut off": (frame_of(dictionary()[:40]), "a zstd dictionary that can't be used"),
    "too large": (frame_of(LARGE), f"a zstd dictionary of {MAX_BYTES + 1} bytes, more than {MAX_BYTES}"),
    "too large as stored": (
        frame_of(b"\0" * (MAX_BYTES + 1)),
        f"a zstd dictionary of {MAX_BYTES + 1} bytes, more than {MAX_BYTES}",
    ),
}


@pytest.mark.parametrize(("beginning", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_the_dictionary_is_told(beginning: bytes, told: str, tmp_path: Path) -> None:
    found = read_archive(tmp_path, [beginning, zstandard.compress(MADE[1]), *PACKED[:2]])
    assert found.column("url")[:1] == URLS[:1]
    assert found.rejects
    assert all(told in reject.reason for reject in found.rejects)


def test_a_file_that_ends_in_its_dictionary_is_a_reject(tmp_path: Path) -> None:
    found = read_archive(tmp_path, [frame_of(dictionary())[:100]])
    assert [reject.reason for reject in found.rejects] == ["the zstd data ends early"]
