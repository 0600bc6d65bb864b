"""An index of an archive chooses records by their offsets, and what it names in vain is told."""

import gzip
import json
from pathlib import Path

import pytest

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats.archives.cdx import read_cdx
from beam_etl.io.formats.base import FileEntry
from beam_etl.io.formats.warc import Warc, with_only
from beam_etl.io.read import read_split
from beam_etl.io.rejects import Reject
from tests.archives import offsets, records
from tests.beam import run
from tests.stored import Read, write

MADE = records(12)
MEMBERS = [MADE[at : at + 6] for at in range(0, len(MADE), 6)]
"""Three documents in each."""


def pack(made: list[bytes]) -> bytes:
    return gzip.compress(b"".join(made))


STARTS = offsets(MEMBERS, pack)  # type: ignore[arg-type]


def chosen(path: Path, *entries: str) -> Read:
    """What an index with these entries, "offset, length", gives of a file."""
    lines = "".join(f'x 2024 {{"filename": "{path.name}", {entry}}}\n' for entry in entries)
    index = write(path.parent, "a.cdxj", lines.encode())
    file = FileEntry(0, str(path), path.stat().st_size)
    known = with_only(Warc(), read_cdx([str(index)], [file]))
    given = Read([], [])
    for split in known.splits(file, 1 << 20):
        for item in read_split(split, known, Columns(needed=(), carry=ALL)):
            (given.rejects if isinstance(item, Reject) else given.batches).append(item)  # type: ignore[arg-type]
    return given


@pytest.mark.parametrize("length", ["", ', "length": 0', ', "length": 1', ', "length": {}'], ids=str)
def test_all_documents_of_a_member_are_chosen_with_it(length: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a.warc.gz", b"".join(map(pack, MEMBERS)))
    found = chosen(
        path, *(f'"offset": {STARTS[at]}' + length.format(len(pack(MEMBERS[at]))) for at in (1, 3))
    )
    assert found.rejects == []
    assert found.column("url") == [f"https://example.com/{number}" for number in (3, 4, 5, 9, 10, 11)]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("times", [1, 3, 10**9])
def test_a_length_that_is_too_large_gives_no_record_twice(times: int, packed: bool, tmp_path: Path) -> None:
    stored = list(map(gzip.compress, MADE)) if packed else MADE
    path = write(tmp_path, "a.warc", b"".join(stored))
    starts = offsets(stored, bytes)
    entries = [
        f'"offset": {at}, "length": {times * len(one)}' for at, one in zip(starts, stored, strict=True)
    ]
    found = chosen(path, *entries[2:])
    assert found.column("url") == [f"https://example.com/{number}" for number in range(1, 12)]
    assert found.rejects == []


@pytest.mark.parametrize("behind", [0, 5, 10**20])
@pytest.mark.parametrize("size", [0, None], ids=["empty", "whole"])
def test_places_behind_the_end_of_a_file_are_a_reject(behind: int, size: int | None, tmp_path: Path) -> None:
    path = write(tmp_path, "a.warc", b"".join(MADE)[:size])
    end = path.stat().st_size
    first = f'"offset": {len(MADE[0])}, "length": {len(MADE[1])}'
    entries = [f'"offset": {end + behind}', f'"offset": {end + behind + 7}']
    found = chosen(path, *([first] if end else []), *entries)
    assert found.column("url") == (["https://example.com/0"] if end else [])
    [reject] = found.rejects
    assert reject.reason == (f"the index names 2 records at or behind its end, the first at {end + behind}")
    assert (reject.position, reject.bytes) == (end, 0)


@pytest.mark.parametrize("length", ["", ', "length": {}'], ids=["untold", "told"])
@pytest.mark.parametrize("chosen", [range(60), range(1, 60, 2)], ids=["neighbours, and requests", "apart"])
def test_documents_that_are_chosen_of_some_files_are_estimated(
    length: str, chosen: range, tmp_path: Path
) -> None:
    members = [gzip.compress(one) for one in records(30)]
    starts = offsets(members, bytes)
    for number in range(100):
        write(tmp_path, f"{number:03}.warc.gz", b"".join(members))
    lines = [
        f'x 2024 {{"filename": "{number:03}.warc.gz", "offset": {starts[at]}{length.format(len(members[at]))}}}\n'
        for number in (41, 77)
        for at in chosen
    ]
    index = write(tmp_path, "a.cdxj", "".join(lines).encode())
    source = FileSource(run(), f"{tmp_path}/*.warc.gz", Columns(needed=(), carry=ALL))
    places = read_cdx([str(index)], source.files)
    source.narrow(with_only(source.read.known, places), places)
    for sampled in (1 << 20, 1000):
        assert 30 <= source.expected_documents(sampled) <= 120


LEGENDS = {
    "CDX": " CDX N b a S V g\ncom,example)/ 2024 https://x 5 7 crawl/a.warc.gz\n",
    "CDX without a delimiter before": "CDX N b a S V g\r\ncom,example)/ 2024 https://x 5 7 crawl/a.warc.gz\r\n",
    "CDX by tabs": "\tCDX\tN\tb\ta\tS\tV\tg\r\ncom,example)/\t2024\thttps://x y\t5\t7\tcrawl/a.warc.gz\r\n",
    "CDX by commas": ",CDX,N,S,V,g\ncom:example)/,5,7,crawl/a b.warc.gz\n",
    "CDXJ": 'com,example)/ 2024 {"filename": "a.warc.gz", "offset": "7", "length": "5"}\n',
    "OpenWayback's": "!OpenWayback-CDXJ 1.0\n!OpenWayback-CDXJ 1.1\n(com,example,)/ 2024-05-01T12:00:00Z response "
    '{"uri": "https://example.com/", "ref": "warcfile:a.warc.gz#7", "rle": 5}\n',
    "OpenWayback's, with a name": '!OpenWayback-CDXJ 1.0\nx 2024 {"filename": "a.warc.gz", "offset": 7, "length": 5}',
}


@pytest.mark.parametrize("told", LEGENDS.values(), ids=LEGENDS)
def test_indexes_of_each_kind_tell_the_same(told: str, tmp_path: Path) -> None:
    index = write(tmp_path, "a.cdx", told.encode())
    name = "a b.warc.gz" if "a b" in told else "a.warc.gz"
    assert read_cdx([str(index)], named(name)) == {name: [(7, 5)]}


def named(*names: str) -> list[FileEntry]:
    return [FileEntry(number, f"/crawl/{name}", 1 << 30) for number, name in enumerate(names)]


def entry(name: str, offset: int, **more: int) -> str:
    return f"x 2024 {json.dumps({'filename': name, 'offset': offset, **more})}\n"


def test_of_indexes_only_what_is_in_the_input_is_held(tmp_path: Path) -> None:
    others = "".join(entry(f"{number}.warc", number) for number in range(1000))
    index = write(tmp_path, "a.cdxj", others.encode())
    assert read_cdx([str(index)], named("7.warc", "a.warc")) == {"7.warc": [(7, 1)]}
    with pytest.raises(InputError, match=r"none of the input's files; it has 0.warc, 1.warc, 2.warc\."):
        read_cdx([str(index)], named("a.warc"))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_of_several_indexes_one_that_tells_a_length_is_believed(
    order: tuple[int, int], tmp_path: Path
) -> None:
    told = (entry("a.warc", 7, length=5), entry("a.warc", 7))
    indexes = [str(write(tmp_path, f"{at}.cdxj", told[which].encode())) for at, which in enumerate(order)]
    assert read_cdx(indexes, named("a.warc")) == {"a.warc": [(7, 5)]}


INDEX = b'x 2024 {"filename": "a.warc", "offset": 7}\n' * 99
DAMAGED = {
    "cut off": gzip.compress(INDEX)[:-12],
    "checksum": gzip.compress(INDEX)[:-8] + b"\0" * 8,
    "offset": gzip.compress(b'x 2024 {"filename": "a.warc", "offset": -7}\n'),
    "endless": gzip.compress(b'x 2024 {"filename": "a.warc", "offset": Infinity}\n'),
    "place": gzip.compress(b'!OpenWayback-CDXJ 1.0\nx 2024 {"ref": "warcfile:a.warc"}\n'),
    "other place": gzip.compress(b'!OpenWayback-CDXJ 1.0\nx 2024 {"ref": "https://a.example/"}\n'),
    "columns": gzip.compress(b"\tCDX\tV\tg\n7\ta.warc\t8\n"),
    "file": gzip.compress(b'x 2024 {"filename": 7, "offset": 7}\n'),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_index_is_told(content: bytes, tmp_path: Path) -> None:
    index = write(tmp_path, "a.cdxj.gz", content)
    with pytest.raises(InputError, match="a.cdxj.gz"):
        read_cdx([str(index)], named("a.warc"))
