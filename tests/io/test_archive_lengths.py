"""What the length of one record says costs no other record, however archives are packed."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.formats.base import Limits
from tests.archives import offsets, records, response
from tests.stored import read, write

EVERYTHING = Columns(needed=(), carry=ALL)
WARC = records(10)[1::2]
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


def arc(url: bytes, body: bytes) -> bytes:
    """A record of ARC, version 1."""
    return b"%s 1.2.3.4 20240501120000 text/html %d\n%s%s\n" % (url, len(HTTP + body), HTTP, body)


VERSION = b"1 0 Example\nURL IP-address Archive-date Content-type Archive-length\n"
ARC = [
    b"filedesc://a.arc 0.0.0.0 20240501120000 text/plain %d\n%s\n" % (len(VERSION), VERSION),
    *(arc(b"https://example.com/%d" % number, b"page %d" % number * 9) for number in range(1, 5)),
]

KINDS: dict[str, tuple[str, list[bytes], bytes]] = {
    "warc": ("a.warc", WARC, rb"(?<=Content-Length: )\d+"),
    "arc": ("a.arc", ARC, rb"(?<= text/html )\d+"),
}

PACKED: dict[str, tuple[str, Callable[[list[bytes]], bytes]]] = {
    "plain": ("", b"".join),
    "gzip by record": (".gz", lambda made: b"".join(map(gzip.compress, made))),
    "gzip as a whole": (".gz", lambda made: gzip.compress(b"".join(made))),
    "zstd as a whole": (".zst", lambda made: zstandard.compress(b"".join(made))),
}


@pytest.mark.parametrize("digits", [12, 14, 18, 19, 5000])
@pytest.mark.parametrize(("suffix", "pack"), PACKED.values(), ids=PACKED)
@pytest.mark.parametrize(("name", "made", "length"), KINDS.values(), ids=KINDS)
def test_a_length_beyond_every_file_costs_its_record_alone(
    name: str, made: list[bytes], length: bytes, suffix: str, pack: Any, digits: int, tmp_path: Path
) -> None:
    wrong = re.sub(length, b"9" * digits, made[2], count=1)
    found = read(write(tmp_path, name + suffix, pack([*made[:2], wrong, *made[3:]])), EVERYTHING)
    urls = read(write(tmp_path, f"whole-{name}", b"".join(made)), EVERYTHING).column("url")
    del urls[2 if made is WARC else 1]  # the first record of ARC is no document
    assert len(urls) == len(made) - (1 if made is WARC else 2)
    assert found.column("url") == urls
    [reject] = found.rejects
    assert reject.bytes == len(wrong)
    assert reject.payload == wrong[:4096]


WITHIN = b"text\r\n" * 500 + WARC[7] + b"text\r\n" * 500


@pytest.mark.parametrize("kind", ["gzip by record", "gzip as a whole", "zstd as a whole"])
def test_a_long_record_that_holds_records_is_one_reject(kind: str, tmp_path: Path) -> None:
    long = response("https://long.example/", WITHIN)
    suffix, pack = PACKED[kind]
    path = write(tmp_path, "a.warc" + suffix, pack([*WARC[:2], long, *WARC[2:]]))
    found = read(path, Columns(needed=(), carry=ALL, limits=Limits(record_bytes=5000)))
    assert found.column("url") == [f"https://example.com/{number}" for number in range(10)]
    assert [(reject.rows, reject.bytes) for reject in found.rejects] == [(1, len(long) - 4)]


@pytest.mark.parametrize("size", [97, 1 << 20])
def test_positions_behind_a_wrong_length_are_as_without_it(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("members.PIECE_BYTES", "members.STORED_BYTES", "bytes._SPENT_BYTES"):
        monkeypatch.setattr(f"beam_etl.io.formats.archives.{module}", size)
    wrong = [re.sub(KINDS["warc"][2], b"9" * 15, one, count=1) for one in WARC]
    sent = [*WARC[:2], wrong[2], WARC[3], wrong[4], *WARC[5:]]
    data = b"junk\r\n" + b"".join(sent)
    members = [data[at : at + 700] for at in range(0, len(data), 700)]
    found = read(write(tmp_path, "a.warc.gz", b"".join(map(gzip.compress, members))), EVERYTHING)
    assert found.column("url") == [f"https://example.com/{number}" for number in (0, 1, 3, 5, 6, 7, 8, 9)]
    assert [reject.bytes for reject in found.rejects] == [6, len(wrong[2]), len(wrong[4])]
    starts = offsets(members, gzip.compress)
    places = [6 + at for at in offsets(sent, bytes)]
    told = {row["address"] & (1 << 44) - 1 for row in found.rows} | {
        reject.position for reject in found.rejects
    }
    owners = [max(n for n, _ in enumerate(members) if n * 700 <= at) for at in [0, *places]]
    assert told == {starts[owner] + owners[:n].count(owner) for n, owner in enumerate(owners)}


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_members_without_content_are_no_end_of_a_record(compress: Any, tmp_path: Path) -> None:
    suffix = ".gz" if compress is gzip.compress else ".zst"
    data = b"".join(WARC)
    pieces = [data[:700], b"", b"", data[700:1400], b"", data[1400:], b""]
    found = read(write(tmp_path, "a.warc" + suffix, b"".join(map(compress, pieces))), EVERYTHING)
    assert found.column("url") == [f"https://example.com/{number}" for number in range(10)]
    assert found.rejects == []
