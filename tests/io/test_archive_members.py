"""Members that are a record each are read at once: that changes nothing, whatever is in the others."""

import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isal import isal_zlib

from beam_etl.io import inflate
from beam_etl.io.access import open_file
from beam_etl.io.errors import CONTENT_ERRORS
from beam_etl.io.formats import FileEntry
from beam_etl.io.formats.archives import records as reading
from beam_etl.io.formats.archives.heads import Record
from beam_etl.io.formats.archives.values import PAGE_COLUMNS, TEXT_COLUMNS, values_of
from beam_etl.io.formats.base import LIMITS, Limits, Split
from beam_etl.io.rejects import Reject
from tests.archives import PACKED, records, response
from tests.io.fuzzing import mutated
from tests.stored import write

MADE = records(3)
ODD = (b"", b"\r\n", b"garbage\n", b"\nWARC/1.0\r\n", MADE[0] + MADE[1])
"""Members that aren't a record, or more than one."""

ALONE = {
    *("gzip by record", "gzip with padding"),
    *("zstd by record", "zstd with skippable frames", "zstd with a dictionary"),
}


def found(path: Path, limits: Limits) -> list[Any]:
    """Records with what they say, and rejects."""
    size = os.path.getsize(path)
    with open_file(str(path)) as file:
        read = list(reading.read_records(file, Split(FileEntry(0, str(path), size), 0, size), limits))
    return [one if isinstance(one, Reject) else (one._replace(fields=None), said(one)) for one in read]


def said(record: Record) -> Any:
    names = frozenset((*PAGE_COLUMNS.names, *TEXT_COLUMNS.names))
    try:
        values = values_of(record, names, LIMITS.record_bytes)
    except CONTENT_ERRORS as error:
        return str(error)
    return {name: as_bytes(values.get(name)) for name in names}


def as_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def damaged(pack: Callable[[list[bytes]], bytes], chance: random.Random) -> bytes:
    """An archive that is changed here and there, outside of its members or in them."""
    if chance.random() < 0.5:
        return mutated(pack(MADE), chance)
    made = [mutated(one, chance) if chance.random() < 0.3 else one for one in MADE]
    chance.shuffle(made)
    made.insert(chance.randrange(len(made)), chance.choice(ODD))
    return pack(made)


@pytest.mark.parametrize("count", [30, pytest.param(5000, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", PACKED)
def test_records_and_rejects_are_those_of_the_careful_reader(
    how: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, pack = PACKED[how]
    quick: list[int] = []
    alone = reading.records_alone

    def counted(*arguments: Any) -> Any:
        records = alone(*arguments)
        while True:
            try:
                record = next(records)
            except StopIteration as end:
                return end.value
            quick.append(record.position)
            yield record

    for number in range(count):
        chance = random.Random(f"{how} {number}")
        path = write(tmp_path, name, damaged(pack, chance))
        limits = chance.choice((LIMITS, LIMITS._replace(record_bytes=500)))
        monkeypatch.setattr(reading, "records_alone", counted)
        at_once = found(path, limits)
        monkeypatch.setattr(reading, "records_alone", lambda *_: iter(()))
        assert at_once == found(path, limits), f"file {number}"
    assert bool(quick) == (how in ALONE)


ARC = b"filedesc://a 0.0.0.0 20240501120000 text/plain 4\n1 0\n\n"

SHARED = {
    "several records a member": [one + other for one, other in zip(MADE[::2], MADE[1::2], strict=True)],
    "several records in megabytes": [MADE[1] * 3000, MADE[1] * 3000],
    "an ARC file": [ARC, ARC, ARC],
    "a damaged member": [MADE[0], b"garbage\n", MADE[1], MADE[2]],
    "a record that is too long": [MADE[0], MADE[5], MADE[0]],
}
"""Members, of which some aren't a record alone."""

TRIES = {"a damaged member": 2, "a record that is too long": 2}
"""How often it is tried to read members at once; else once."""


@pytest.mark.parametrize("made", SHARED.values(), ids=SHARED)
def test_members_that_hold_several_records_are_not_read_twice(
    made: list[bytes], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, pack = PACKED["gzip by record"]
    path = write(tmp_path, name, pack(made))
    tries: list[int] = []
    alone = reading.records_alone

    def counted(members: Any, *arguments: Any) -> Any:
        tries.append(members.start)
        return alone(members, *arguments)

    monkeypatch.setattr(reading, "records_alone", counted)
    assert found(path, LIMITS._replace(record_bytes=500))
    assert len(tries) == TRIES.get(request.node.callspec.id, 1)


ID = "WARC-Record-ID: <urn:uuid:0>"
HEADS = {
    "as most are": [
        ID,
        "WARC-Target-URI: https://a.example/",
        "WARC-Payload-Digest: sha1:A",
        "WARC-IP-Address: ::1",
    ],
    "two spaces": ["WARC-Record-ID:  <urn:uuid:0>  ", "WARC-Target-URI: https://a.example/a  b"],
    "no space": ["WARC-Record-ID:<urn:uuid:0>", "WARC-Target-URI:https://a.example/"],
    "a space before the colon": ["WARC-Record-ID : <urn:uuid:0>", "WARC-Truncated : length"],
    "other letters": ["warc-record-id: <urn:uuid:0>", "WARC-TARGET-URI: <https://a.example/>"],
    "twice": [ID, "WARC-Record-ID: <urn:uuid:1>", "WARC-Truncated: time", "WARC-Truncated: length"],
    "folded": [ID, "WARC-Target-URI: https://a.example/\r\n  b", "WARC-Truncated: time"],
    "no ASCII": [ID, "WARC-Target-URI: https://ä.example/ü"],
    "empty": [
        ID,
        "WARC-Target-URI: ",
        "WARC-Truncated: ",
        "WARC-Payload-Digest:",
        "WARC-Block-Digest: sha1:B",
    ],
    "no names": [ID, "garbage", ": a", ""],
    "line feeds": [ID + "\nWARC-Truncated: time", "WARC-Block-Digest: sha1:B\r"],
}
"""Lines of heads, as some write them."""

TYPE = "Content-Type: Text/HTML; charset=utf-8"
HTTP = {
    "as most are": ["HTTP/1.1 200 OK", TYPE, "Vary: Accept-Encoding", "X-Crawl-Content-Encoding: gzip"],
    "no reason": ["HTTP/1.0 404", TYPE],
    "no status": ["HTTP/1.1 OK", TYPE],
    "another version": ["HTTP/2 200", TYPE],
    "a long status": ["HTTP/1.1 2000 OK", TYPE],
    "no type": ["HTTP/1.1 200 OK", "Server: a"],
    "two types": ["HTTP/1.1 200 OK", TYPE, "content-type: text/plain; charset=latin1"],
    "an empty type": ["HTTP/1.1 200 OK", "Content-Type: "],
    "no space": ["HTTP/1.1 200 OK", "content-type:text/plain"],
    "a space before the colon": ["HTTP/1.1 200 OK", "Content-Type : text/plain"],
    "a tab before the colon": ["HTTP/1.1 200 OK", "Content-Type\t: text/plain", "Server: a"],
    "a space before that of an encoding": ["HTTP/1.1 200 OK", "Content-Encoding : gzip", TYPE],
    "no colon": ["HTTP/1.1 200 OK", "Content-Type text/plain", "Server: a"],
    "no colon in another line": ["HTTP/1.1 200 OK", "Server", TYPE, "a"],
    "folded": ["HTTP/1.1 200 OK", "Content-Type: text/html;\r\n charset=latin1"],
    "encoded": ["HTTP/1.1 200 OK", "Content-Encoding: gzip", "Transfer-Encoding: chunked", TYPE],
    "a shorter length": ["HTTP/1.1 200 OK", "Content-Length: 2", TYPE],
    "no ASCII": ["HTTP/1.1 200 Fällt", "Content-Type: text/ä", "Server: ö"],
    "line feeds": ["HTTP/1.1 200 OK\nContent-Type: text/plain", "Server: a\rb"],
}
"""Lines of heads of HTTP, as some write them."""


@pytest.mark.parametrize("kind", ["application/http; msgtype=response", "text/plain", "Text/É", None])
def test_heads_say_what_they_say_to_the_careful_reader(
    kind: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for lines in HEADS.values():
        for http in HTTP.values():
            block = ("\r\n".join(http) + "\r\n\r\n<p>äö</p>").encode()
            told = [f"Content-Type: {kind}"] if kind else []
            head = ["WARC/1.0", "WARC-Type: response", *lines, *told, f"Content-Length: {len(block)}"]
            made.append("\r\n".join(head).encode() + b"\r\n\r\n" + block + b"\r\n\r\n")
    name, pack = PACKED["gzip by record"]
    path = write(tmp_path, name, pack(made))
    at_once = found(path, LIMITS)
    monkeypatch.setattr(reading, "records_alone", lambda *_: iter(()))
    assert at_once == found(path, LIMITS)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_head_that_is_too_long_is_a_reject_wherever_it_stands(place: int, tmp_path: Path) -> None:
    """A regular head of the same names in front of it, or none: it is one in either case."""
    made = [response(f"https://a.example/{number}", b"<p>") for number in range(2)]
    made.insert(place, response("https://a.example/" + "a" * 600_000, b"<p>"))
    name, pack = PACKED["gzip by record"]
    read = found(write(tmp_path, name, pack(made)), LIMITS)
    assert [isinstance(one, Reject) for one in read] == [at == place for at in range(3)]


@pytest.mark.parametrize("length", [10_000, 30_000], ids=["read at once", "read with care"])
def test_long_headers_are_not_held(length: int) -> None:
    blocks = [
        f"HTTP/1.1 200 OK\r\nContent-Type: text/{number}; charset=a{number}{'b' * length}\r\n\r\n".encode()
        for number in range(200)
    ]
    told = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n"
    fields = {b"Content-Type": b"application/http"}
    tracemalloc.start()
    try:
        for block in blocks:
            said(Record(0, "response", told % len(block), block, fields))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10 * length


def test_isal_decompresses_where_tests_run() -> None:
    """Without it there is zlib, which the careful reader has: comparing both would tell nothing."""
    assert inflate.quick_zlib is isal_zlib
