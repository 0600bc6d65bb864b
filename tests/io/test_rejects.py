"""What can't be read: each record is passed on or rejected, whatever is wrong and however it is split."""

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.formats.avro_blocks import read_header, scan_blocks
from beam_etl.io.formats.base import Limits
from beam_etl.io.formats.nested import check_codes
from beam_etl.io.rejects import Reject, reject_batches, reject_record
from tests.stored import Document, avro, documents, json_lines, line_offsets, parquet, read, write


@dataclass(frozen=True)
class Line:
    """A line of JSONL and what it is rejected for; None when it passes."""

    content: bytes
    reason: str | None


LINES = {
    "plain": Line(b'{"text": "a"}', None),
    "spaces around": Line(b' \t{"text": "a"} \r', None),
    "unknown field": Line(b'{"text": "a", "other": [1, {"b": null}]}', None),
    "escaped name": Line(b'{"te\\u0078t": "a"}', None),
    "a pair of surrogates": Line(b'{"text": "\\ud83c\\uddef"}', None),
    "bytes that are not UTF-8 in another field": Line(b'{"text": "a", "other": "\xff"}', None),
    "deep in another field": Line(b'{"text": "a", "other": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    "null text": Line(b'{"text": null}', "null text"),
    "no text": Line(b'{"other": "a"}', "null text"),
    "text that is a number": Line(b'{"text": 1}', "Column(/text) changed from string to number"),
    "text twice": Line(b'{"text": "a", "text": "b"}', "Column(/text) was specified twice"),
    "half a pair": Line(b'{"text": "\\ud800"}', "The surrogate pair in string is invalid."),
    "the other half": Line(b'{"text": "\\udc00"}', "The surrogate pair in string is invalid."),
    "half a pair in another field": Line(
        b'{"text": "a", "other": "\\ud800"}', "The surrogate pair in string is invalid."
    ),
    "bytes that are not UTF-8": Line(b'{"text": "a\xffb"}', "column 'text': not UTF-8"),
    "a surrogate in UTF-8": Line(b'{"text": "\xed\xa0\x80"}', "column 'text': not UTF-8"),
    "cut off": Line(b'{"text": "a', "not a JSON object"),
    "two objects": Line(b'{"text": "a"}{"text": "b"}', "more than one value on the line"),
    "an object and null": Line(b'{"text": "a"} null {"text": "b"}', "more than one value on the line"),
    "null": Line(b"null", "not a JSON object"),
    "list": Line(b'[{"text": "a"}]', "not a JSON object"),
    "number": Line(b"1", "not a JSON object"),
    "first half of an object": Line(b'{"text":', "not a JSON object"),
    "second half of an object": Line(b'"a"}', "not a JSON object"),
    "control character": Line(b'{"text": "\x01"}', "Invalid encoding in string."),
    "NUL between objects": Line(b'{"text": "a"}\x00}', "The document is empty."),
    "single quotes": Line(b"{'text': 'a'}", "Missing a name for object member."),
    "UTF-16": Line('{"text": "a"}'.encode("utf-16-le"), "not a JSON object"),
}


def good_line(number: int) -> bytes:
    return json.dumps({"text": f"good {number}"}).encode()


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("split_bytes", [9, 1 << 30])
def test_a_line_of_json_is_a_document_or_a_reject(line: Line, split_bytes: int, tmp_path: Path) -> None:
    content = b"\n".join([good_line(0), line.content, b"", good_line(1), b" ", good_line(2)])
    path = write(tmp_path, "a.jsonl", content)
    found = read(path, split_bytes=split_bytes if len(content) < 1000 else 1 << 30)
    texts = found.column("text")
    assert [text for text in texts if text.startswith("good")] == ["good 0", "good 1", "good 2"]
    if line.reason is None:
        assert (len(texts), found.rejects) == (4, [])
    else:
        position = len(good_line(0)) + 1
        digest = hashlib.sha256(line.content).digest()
        expected = Reject(
            str(path),
            position,
            line.reason,
            1,
            len(line.content),
            digest,
            line.content[: schema.PAYLOAD_BYTES],
        )
        assert (len(texts), found.rejects) == (3, [expected])


def test_all_bad_lines_of_a_block_are_found_and_only_those(tmp_path: Path) -> None:
    lines = [good_line(n) if n % 3 else list(LINES.values())[n % len(LINES)].content for n in range(600)]
    lines = [line for line in lines if len(line) < 1000]
    path = write(tmp_path, "a.jsonl", b"\r\n".join(lines))
    found = read(path)
    started = [line for line in lines if line.strip()]
    assert len(found.rows) + len(found.rejects) == len(started)
    expected = {line.content for line in LINES.values() if line.reason is not None}
    assert {line.payload.removesuffix(b"\r") for line in found.rejects} == {
        line for line in expected if line in lines
    }


def test_hostile_json_takes_nothing_else_along(shared: Path, tmp_path: Path) -> None:
    """Each file of JSONTestSuite as a line, between good ones: y_ is valid, n_ isn't, i_ may be either."""
    files = sorted((shared / "data/hostile/JSONTestSuite-test_parsing").glob("*.json"))
    contents = [(file.name, file.read_bytes()) for file in files]
    lines = [(name, content) for name, content in contents if b"\n" not in content and b"\r" not in content]
    assert len(lines) > 250
    at = len(good_line(0)) + 1
    for name, content in lines:
        path = write(tmp_path, "a.jsonl", b"\n".join([good_line(0), content, good_line(1)]))
        found = read(path, Columns(needed=()))
        passed = found.column("address") == [0, at, at + len(content) + 1]
        assert passed or found.column("address") == [0, at + len(content) + 1], name
        assert len(found.rejects) == (bool(content.strip()) and not passed), name
        if not name.startswith("i_"):
            assert passed == (name.startswith("y_") and content.strip().startswith(b"{")), name


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_a_record_over_the_limit_is_a_reject(name: str, tmp_path: Path) -> None:
    long = json.dumps({"text": "x" * 3_000_000}).encode()
    content = good_line(0) + b"\n" + long + b"\n" + good_line(1)
    pack = {"jsonl": bytes, "gz": gzip.compress, "zst": zstandard.compress}[name.rsplit(".", maxsplit=1)[-1]]
    path = write(tmp_path, name, pack(content))
    found = read(path, Columns(limits=Limits(record_bytes=100_000)), split_bytes=500_000)
    assert found.column("text") == ["good 0", "good 1"]
    [reject] = found.rejects
    assert (reject.position, reject.rows, reject.bytes) == (len(good_line(0)) + 1, 1, len(long))
    assert (reject.digest, reject.payload) == (hashlib.sha256(long).digest(), long[:4096])


@pytest.mark.parametrize(
    ("encode", "fits"),
    [(parquet, "ż" * 500), (avro, "ż" * 500), (json_lines, "x" * 900)],
    ids=["parquet", "avro", "jsonl"],
)
def test_a_text_over_the_limit_is_a_reject_in_every_format(
    encode: Callable[[list[Document]], bytes], fits: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows: list[Document] = [{"text": fits}, {"text": "x" * 1001}, {"text": "last"}]
    path = write(tmp_path, f"a.{request.node.callspec.id}", encode(rows))
    found = read(path, Columns(limits=Limits(record_bytes=1000)))
    assert found.column("text") == [fits, "last"]
    (reason,) = (reject.reason for reject in found.rejects)
    assert reason.endswith("bytes: over the limit of 1000")


def test_zeros_are_no_gzip(tmp_path: Path) -> None:
    found = read(write(tmp_path, "a.txt.gz", bytes(4096)))
    assert found.rows == []
    assert [(reject.position, reject.bytes) for reject in found.rejects] == [(0, 4096)]


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_truncated_stream_gives_its_lines_and_one_reject(name: str, kept: float, tmp_path: Path) -> None:
    rows = documents(3000)
    content = (gzip.compress if name.endswith("gz") else zstandard.compress)(json_lines(rows))
    content = content[: int(len(content) * kept)]
    path = write(tmp_path, name, content)
    found = read(path)
    whole = len(found.rows)
    assert found.column("text") == [row["text"] for row in rows[:whole]]
    if name.endswith("gz"):
        assert whole >= kept * 0.8 * len(rows)
    [reject] = found.rejects
    assert (reject.position, reject.rows) == (line_offsets(rows)[whole], None)
    assert reject.bytes > 0
    assert reject.digest == hashlib.sha256(content[-reject.bytes :]).digest()


def test_gzip_of_several_members_and_padding_is_one_stream(tmp_path: Path) -> None:
    rows = documents(50)
    halves = [gzip.compress(json_lines(rows[:20])), gzip.compress(b""), gzip.compress(json_lines(rows[20:]))]
    found = read(write(tmp_path, "a.jsonl.gz", b"".join(halves) + bytes(1000)))
    assert found.column("text") == [row["text"] for row in rows]
    assert found.rejects == []


def test_a_damaged_avro_block_takes_no_other_along(tmp_path: Path) -> None:
    rows = documents(300)
    path = write(tmp_path, "a.avro", avro(rows))
    with pa.OSFile(str(path)) as file:
        header = read_header(file)
        blocks = list(scan_blocks(file, header, header.length, path.stat().st_size))
    content = bytearray(path.read_bytes())
    bad = blocks[2]
    content[bad.data + bad.size // 2] ^= 0xFF
    write(tmp_path, "a.avro", bytes(content))
    first = sum(block.records for block in blocks[:2])
    for split_bytes in (1, 4000, 1 << 30):
        found = read(path, split_bytes=split_bytes)
        lost = sum(reject.rows or 0 for reject in found.rejects)
        assert {reject.position for reject in found.rejects} <= set(range(first, first + bad.records))
        assert 0 < lost <= bad.records
        assert len(found.rows) + lost == len(rows)
        texts = {row["address"]: row["text"] for row in found.rows}
        assert all(
            text == rows[address]["text"]
            for address, text in texts.items()
            if not first <= address < first + lost
        )


@pytest.mark.parametrize("encode", [parquet, avro], ids=["a.parquet", "a.avro"])
def test_a_truncated_file_is_rejected_to_its_last_byte(encode: object, tmp_path: Path) -> None:
    name = "a.parquet" if encode is parquet else "a.avro"
    rows = documents(300)
    content = (parquet if encode is parquet else avro)(rows)
    content = content[: len(content) * 2 // 3]
    path = write(tmp_path, name, content)
    found = read(path, split_bytes=2000)
    assert found.column("text") == [row["text"] for row in rows[: len(found.rows)]]
    [reject] = found.rejects
    assert (reject.rows, reject.position) == (None, len(found.rows))
    assert reject.digest == hashlib.sha256(content[-reject.bytes :]).digest()
    if name == "a.avro":
        assert len(found.rows) > 150
    else:
        assert reject.bytes == len(content)


def damaged_parquet(folder: Path, rows: int, at: float) -> Path:
    """Two row groups of three, the middle one with a flipped byte in its texts."""
    path = folder / "a.parquet"
    table = pa.table({"text": [f"{n} " + "lorem ipsum " * 40 for n in range(rows)], "n": range(rows)})
    pq.write_table(
        table,
        path,
        row_group_size=rows // 3,
        data_page_size=2000,
        use_dictionary=False,
        write_page_checksum=True,
    )
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + int(column.total_compressed_size * at)] ^= 0xFF
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("at", [0.2, 0.7])
def test_a_damaged_page_takes_the_rest_of_its_row_group_only(
    at: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged_parquet(tmp_path, 900, at)
    read_as = []
    for batch_bytes, split_bytes in ((1 << 23, 1 << 30), (1 << 23, 1), (1 << 15, 1 << 30)):
        monkeypatch.setattr("beam_etl.io.formats.parquet.MAX_BYTES", batch_bytes)
        found = read(path, split_bytes=split_bytes)
        read_as.append((found.rows, found.rejects))
        [reject] = found.rejects
        addresses = found.column("address")
        assert addresses == [*range(reject.position or 0), *range(600, 900)]
        assert reject.rows == 600 - (reject.position or 0)
        assert 300 <= (reject.position or 0) < 600
    assert read_as[0] == read_as[1] == read_as[2]


def test_rows_of_columnar_files_are_rejected_with_their_values(tmp_path: Path) -> None:
    texts = pa.array([b"good", b"a\xff", None, b"last"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts, "url": ["u", "v", "w", "x"]}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet", Columns(needed=("text", "url")))
    assert found.column("address") == [0, 3]
    records = [b'{"url": "v", "text": "a\\udcff"}', b'{"url": "w", "text": null}']
    path = str(tmp_path / "a.parquet")
    assert found.rejects == [
        reject_record(path, 1, "column 'text': not UTF-8", records[0]),
        reject_record(path, 2, "null text", records[1]),
    ]


def with_codes_out_of_range(folder: Path) -> Path:
    """Three values in a dictionary, and code 3 from row 24 of 32 on."""
    path = folder / "a.parquet"
    table = pa.table({"g": ["aaaa", "bbbb", "cccc", "aaaa"] * 8})
    pq.write_table(table, path, compression="none", write_page_checksum=False)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    end = column.dictionary_page_offset + column.total_compressed_size
    content = bytearray(path.read_bytes())
    content[end - 2 : end] = b"\xff\xff"  # codes of two bits
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("coded", [(), ("g",)], ids=["as texts", "as codes"])
def test_codes_that_stand_for_nothing_take_the_rest_of_their_row_group(
    coded: tuple[str, ...], tmp_path: Path
) -> None:
    found = read(with_codes_out_of_range(tmp_path), Columns(needed=(), carry=("g",), coded=coded))
    assert found.column("g") == ["aaaa", "bbbb", "cccc", "aaaa"] * 4
    assert [(reject.position, reject.rows) for reject in found.rejects] == [(16, 16)]


OUT_OF_RANGE = {
    "above": pa.array([0, 1, 2], pa.int32()),
    "below": pa.array([0, None, -1], pa.int8()),
    "of none": pa.array([0], pa.int32()),
}


@pytest.mark.parametrize(("name", "codes"), OUT_OF_RANGE.items(), ids=OUT_OF_RANGE)
def test_codes_are_in_their_dictionary(name: str, codes: pa.Array) -> None:
    texts = pa.array([] if name == "of none" else ["a", "b"], pa.string())
    check_codes(pa.DictionaryArray.from_arrays(pa.nulls(2, codes.type), texts))
    with pytest.raises(ValueError, match=rf"code -?\d in a dictionary of {len(texts)} values"):
        check_codes(pa.DictionaryArray.from_arrays(codes, texts, safe=False))


WRONG_CODES = pa.DictionaryArray.from_arrays(pa.array([0, 1, 7], pa.int32()), ["a", "b"], safe=False)
INSIDE = {
    "list": pa.ListArray.from_arrays([0, 2, 3], WRONG_CODES),
    "struct": pa.StructArray.from_arrays([WRONG_CODES], ["s"]),
    "map": pa.MapArray.from_arrays([0, 2, 3], ["k", "l", "m"], WRONG_CODES),
    "list of structs": pa.ListArray.from_arrays([0, 2, 3], pa.StructArray.from_arrays([WRONG_CODES], ["s"])),
}


@pytest.mark.parametrize("values", INSIDE.values(), ids=INSIDE)
def test_codes_are_in_their_dictionary_inside_columns(values: pa.Array) -> None:
    check_codes(values.slice(0, len(values) - 1))
    with pytest.raises(ValueError, match="code 7 in a dictionary of 2 values"):
        check_codes(values)


DAMAGED = pa.array([b"good", b"\xc3", b"fine"], pa.binary()).view(pa.string())
CODED = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), DAMAGED)


@pytest.mark.parametrize(
    "column",
    [
        DAMAGED,
        pa.StructArray.from_arrays([pa.ListArray.from_arrays([0, 1, 2, 3], DAMAGED)], ["tags"]),
        pa.MapArray.from_arrays([0, 1, 2, 3], ["k", "k", "k"], DAMAGED),
        CODED,
        pa.ListArray.from_arrays([0, 1, 2, 3], CODED),
    ],
    ids=lambda column: str(column.type),
)
def test_text_that_is_not_utf8_is_found_inside_carried_columns(column: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b", "c"], "meta": column}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet", Columns(carry=ALL))
    assert found.column("text") == ["a", "c"]
    assert [reject.reason for reject in found.rejects] == ["column 'meta': not UTF-8"]


def test_rejects_become_bounded_batches_of_their_schema() -> None:
    rejects = [reject_record("a", n, "\ud800" if n else "b", b"x" * 10_000) for n in range(2500)]
    batches = list(reject_batches(rejects))
    assert [batch.num_rows for batch in batches] == [1000, 1000, 500]
    assert all(batch.schema == schema.REJECT for batch in batches)
    assert batches[0].slice(0, 1).to_pylist() == [
        {
            "file": "a",
            "position": 0,
            "stage": "read",
            "reason": "b",
            "rows": 1,
            "bytes": 10_000,
            "digest": hashlib.sha256(b"x" * 10_000).digest(),
            "payload": b"x" * 4096,
        }
    ]
