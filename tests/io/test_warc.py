"""What archives give is what warcio says they hold, however they are packed, split or damaged."""

import gzip
import io
import runpy
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats.base import FileEntry, Limits, Rows, Split
from beam_etl.io.formats.warc import Warc
from beam_etl.io.read import ReadDocuments
from tests.archives import PACKED, by_warcio, offsets, records, response
from tests.beam import counters, run
from tests.stored import Read, read, write

REPOSITORY = Path(__file__).parents[2]
EVERYTHING = Columns(needed=(), carry=ALL)
MADE = records(40)

packed = pytest.mark.parametrize(("name", "pack"), PACKED.values(), ids=PACKED)


def positions(found: Read) -> list[int]:
    return [row["address"] & (1 << 44) - 1 for row in found.rows]


def test_the_page_says_what_each_file_gives_and_what_warcio_does(shared: Path) -> None:
    tool = runpy.run_path(str(REPOSITORY / "tools/make_warc_page.py"))
    page = (REPOSITORY / "docs/warc.md").read_text()
    made = tool["page"](page, shared / "data/warc")
    assert made == page, "run tools/make_warc_page.py"
    real = page.partition("<!-- real -->")[2].partition("<!-- /real -->")[0].strip().splitlines()[2:]
    assert len(real) == 8
    assert all(line.endswith("| 0 | the same |") for line in real)


@pytest.mark.parametrize("split_bytes", [1000, 1 << 30])
def test_documents_are_what_warcio_reads(shared: Path, split_bytes: int) -> None:
    for path in sorted((shared / "data/warc/real").iterdir()):
        found = read(path, EVERYTHING, format="warc", split_bytes=split_bytes)
        told = by_warcio(path)
        names = [name for name in told[0] if name != "position"]
        assert found.rejects == []
        assert [{name: row[name] for name in names} for row in found.rows] == [
            {name: row[name] for name in names} for row in told
        ]
        assert positions(found) == [row["position"] for row in told]


@pytest.mark.parametrize("split_bytes", [1, 700])
def test_splits_change_nothing_of_hostile_files(shared: Path, split_bytes: int) -> None:
    for path in sorted(path for path in (shared / "data/warc/hostile").rglob("*") if path.is_file()):
        whole, parts = (
            read(path, EVERYTHING, format="warc", split_bytes=size) for size in (1 << 30, split_bytes)
        )
        assert (parts.rows, parts.rejects) == (whole.rows, whole.rejects), path
        assert len(set(positions(whole))) == len(whole.rows), path


@packed
@pytest.mark.parametrize("split_bytes", [300, 1 << 30])
def test_packing_and_splits_change_no_document(
    name: str, pack: Any, split_bytes: int, tmp_path: Path
) -> None:
    plain = read(write(tmp_path, "plain.warc", b"".join(MADE)), EVERYTHING)
    found = read(write(tmp_path, name, pack(MADE)), EVERYTHING, split_bytes=split_bytes)
    assert found.rejects == []
    assert len(found.rows) == 40
    assert [{**row, "address": 0} for row in found.rows] == [{**row, "address": 0} for row in plain.rows]
    assert positions(found) == sorted(set(positions(found)))


def test_a_position_is_the_offset_of_the_record_as_stored(tmp_path: Path) -> None:
    for name, compress in (("a.warc", bytes), ("a.warc.gz", gzip.compress)):
        path = write(tmp_path, name, b"".join(map(compress, MADE)))
        assert positions(read(path, EVERYTHING, split_bytes=999)) == offsets(MADE, compress)[1::2]


def test_members_are_split(tmp_path: Path) -> None:
    file = write(tmp_path, "a.warc.gz", b"".join(map(gzip.compress, MADE)))
    source = ReadDocuments(patterns=str(file), columns=EVERYTHING, split_bytes=1000)
    splits = list(source.known.splits(source.files[0], 1000))
    assert len(splits) > 4
    assert {split.start for split in splits} <= set(offsets(MADE, gzip.compress))
    assert [split.start for split in splits[1:]] == [split.stop for split in splits[:-1]]


def test_an_estimate_decompresses_no_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.warc.gz", b"".join(map(gzip.compress, MADE)))
    source = FileSource(run(), str(path), EVERYTHING)
    source.read.split_bytes = 100

    def refuse(*_: Any) -> None:
        raise AssertionError("members were looked for")

    monkeypatch.setattr("beam_etl.io.formats.warc.record_places", refuse)
    assert source.expected_documents(1 << 20) == 40
    assert source.told_documents() is None


@pytest.mark.parametrize("split_bytes", [300, 1 << 30])
@pytest.mark.parametrize("broken", [1, 39, 79])
def test_behind_a_damaged_member_reading_goes_on(broken: int, split_bytes: int, tmp_path: Path) -> None:
    members = [gzip.compress(one) for one in MADE]
    start = sum(map(len, members[:broken]))
    members[broken] = members[broken][:-8] + b"\0" * 8  # another checksum
    found = read(write(tmp_path, "a.warc.gz", b"".join(members)), EVERYTHING, split_bytes=split_bytes)
    assert positions(found) == [at for at in offsets(MADE, gzip.compress)[1::2] if at != start]
    [reject] = found.rejects
    assert (reject.position, reject.bytes, reject.payload) == (
        start,
        len(members[broken]),
        members[broken][:4096],
    )
    assert "incorrect data check" in reject.reason


@pytest.mark.parametrize("split_bytes", [300, 1 << 30])
@pytest.mark.parametrize(
    ("length", "documents", "rejects"),
    [
        (b"99999", 39, [("a record of 99999 bytes, as it says: the next one begins inside", 1)]),
        (b"10", 40, [("no record, but other bytes", None)]),
        (b"x", 39, [("a record without length or type", 1)]),
        (b"9" * 30, 39, [("a record without length or type", 1)]),
        (b"9" * 12, 39, [("a record of 999999999999 bytes: over the limit of 67108864", 1)]),
    ],
    ids=["too long", "too short", "none", "no number", "over the limit"],
)
def test_a_wrong_length_costs_that_record_alone(
    length: bytes, documents: int, rejects: list[Any], split_bytes: int, tmp_path: Path
) -> None:
    head, _, rest = MADE[1].partition(b"Content-Length: ")
    wrong = head + b"Content-Length: " + length + rest[rest.index(b"\r\n") :]
    path = write(tmp_path, "a.warc", b"".join([MADE[0], wrong, *MADE[2:]]))
    found = read(path, EVERYTHING, split_bytes=split_bytes)
    assert len(found.rows) == documents
    assert [(reject.reason, reject.rows) for reject in found.rejects] == rejects
    assert found.column("url") == [f"https://example.com/{n}" for n in range(40 - documents, 40)]


BODIES: dict[str, tuple[bytes, list[tuple[str, str]], bytes, str | None]] = {
    "chunked": (b"5\r\nhello\r\n0\r\n\r\n", [("Transfer-Encoding", "chunked")], b"hello", None),
    "not chunked after all": (b"hello", [("Transfer-Encoding", "chunked")], b"hello", None),
    "gzip": (gzip.compress(b"hello" * 99), [("Content-Encoding", "gzip")], b"hello" * 99, None),
    "not gzip after all": (b"hello", [("Content-Encoding", "gzip")], b"hello", None),
    "cut off in a chunk": (
        b"5\r\nhello\r\n9\r\nabc",
        [("Transfer-Encoding", "chunked")],
        b"helloabc",
        "body",
    ),
    "empty": (b"", [], b"", None),
}


@pytest.mark.parametrize(("stored", "headers", "payload", "truncated"), BODIES.values(), ids=BODIES)
def test_a_payload_is_decoded_as_far_as_it_can_be(
    stored: bytes, headers: Any, payload: bytes, truncated: str | None, tmp_path: Path
) -> None:
    path = write(tmp_path, "a.warc.gz", gzip.compress(response("https://a.example/", stored, headers)))
    [row] = read(path, EVERYTHING).rows
    assert (row["payload"], row["truncated"]) == (payload, truncated)


def test_what_a_crawler_cut_off_is_marked(tmp_path: Path) -> None:
    path = write(tmp_path, "a.warc", response("https://a.example/", b"hello", WARC_Truncated="length"))
    assert read(path, EVERYTHING).column("truncated") == ["length"]


CYRILLIC = "Привет, мир. Это текст на русском языке, чтобы угадать кодировку."
CHARSETS = {
    "header": ("text/html; charset=KOI8-R", "<meta charset=windows-1251>", "koi8-r"),
    "meta": ("text/html", "<meta charset=windows-1251>", "cp1251"),
    "unknown header": ("text/html; charset=nonsense", "<meta charset=windows-1251>", "cp1251"),
    "detector": ("text/html", "", "cp1251"),
    "no text": ("image/png", "", None),
}


@pytest.mark.parametrize(("kind", "meta", "charset"), CHARSETS.values(), ids=CHARSETS)
def test_a_charset_is_told_by_the_header_then_the_page_then_its_bytes(
    kind: str, meta: str, charset: str | None, tmp_path: Path
) -> None:
    page = f"<html><head>{meta}</head><body>{CYRILLIC * 5}".encode(charset or "cp1251")
    [found] = read(
        write(tmp_path, "a.warc", response("https://a.example/", page, kind=kind)), EVERYTHING
    ).column("charset")
    assert found == charset


def test_what_is_over_the_limits_is_read_past(tmp_path: Path) -> None:
    small = Limits(record_bytes=5000)
    bomb = response("https://bomb.example/", gzip.compress(b"\0" * 100_000), [("Content-Encoding", "gzip")])
    made = [MADE[1], response("https://long.example/", b"x" * 9000), MADE[3], bomb, MADE[5]]
    path = write(tmp_path, "a.warc.gz", b"".join(map(gzip.compress, made)))
    found = read(path, Columns(needed=(), carry=ALL, limits=small))
    assert len(found.rows) == 3
    assert [(reject.position, reject.rows) for reject in found.rejects] == [
        (at, 1) for at in offsets(made, gzip.compress)[1::2]
    ]
    assert "a payload of over 5000 bytes" in found.rejects[1].reason


def test_what_is_held_is_bounded_as_it_is_decoded(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\0" * (3 << 20))
    made = [
        response(f"https://{number}.example/", bomb, [("Content-Encoding", "gzip")]) for number in range(4)
    ]
    path = write(tmp_path, "a.warc", b"".join([*made, *MADE]))
    reader = Warc().open(Split(FileEntry(0, str(path), path.stat().st_size), 0, path.stat().st_size), None)
    rows = [found for found in reader.rows(["payload"], complete=False) if isinstance(found, Rows)]
    assert [len(found.positions) for found in rows] == [1, 1, 1, 41]


def test_a_member_that_expands_without_end_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_etl.io.formats.base.MIN_EXPANDED_BYTES", 1 << 20)
    bomb = gzip.compress(b"WARC/1.0\r\n" + b"\0" * (8 << 20))
    path = write(tmp_path, "a.warc.gz", gzip.compress(MADE[1]) + bomb + gzip.compress(MADE[3]))
    found = read(path, EVERYTHING)
    assert len(found.rows) == 2
    assert [(reject.bytes, "expands" in reject.reason) for reject in found.rejects] == [(len(bomb), True)]


def test_records_without_an_offset_of_their_own_are_rejects(tmp_path: Path) -> None:
    tiny = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 0\r\n\r\n\r\n\r\n"
    dense = gzip.compress(tiny * 20_000)
    assert len(dense) < 20_000
    found = read(write(tmp_path, "a.warc.gz", dense + gzip.compress(MADE[1])), EVERYTHING)
    assert len(set(positions(found))) == len(found.rows)
    assert len(found.rows) + len(found.rejects) == 20_001
    assert {reject.reason.partition(":")[0] for reject in found.rejects} == {
        "a compressed member has more records than bytes"
    }


def test_texts_of_wet_files_are_documents(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/warc/real/whirlwind.warc.wet.gz"
    [told] = by_warcio(path)
    [row] = read(path, Columns(needed=("id", "url", "text"))).rows
    assert row == {
        "address": told["position"],
        **{name: told[name] for name in ("id", "url")},
        "text": told["payload"].decode(),
    }


def test_other_records_are_counted(shared: Path) -> None:
    pipeline = run()
    pipeline | "Read" >> ReadDocuments(
        patterns=str(shared / "data/warc/real/*.warc*"), columns=EVERYTHING, format="warc"
    )
    counted = counters(pipeline, "Read")
    kinds = {
        name.rpartition("_")[2]: count for name, count in counted.items() if name.startswith("records_passed")
    }
    assert kinds == {"warcinfo": 8, "request": 336, "metadata": 297, "resource": 6}
    assert counted["rows_read"] == 299 + 3 + 22 + 15 + 16 + 16 + 1 + 1


def test_another_file_is_refused_before_a_job_starts(tmp_path: Path) -> None:
    path = write(tmp_path, "a.warc.gz", gzip.compress(b"hello"))
    with pytest.raises(InputError, match="doesn't begin with a record of WARC or ARC"):
        ReadDocuments(patterns=str(path), columns=EVERYTHING)


def test_a_lookahead_of_any_size_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.warc.gz", gzip.compress(b"junk\r\n" + b"".join(MADE)))
    whole = read(path, EVERYTHING)
    for module in ("members.PIECE_BYTES", "members.STORED_BYTES", "bytes._SPENT_BYTES"):
        monkeypatch.setattr(f"beam_etl.io.formats.archives.{module}", 97)
    found = read(path, EVERYTHING)
    assert (found.rows, found.rejects) == (whole.rows, whole.rejects)
    assert io.BytesIO(found.rejects[0].payload).read() == b"junk\r\n"
