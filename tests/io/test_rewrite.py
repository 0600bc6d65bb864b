"""The input written again without what was removed: every row that stays is the input's own, in its place."""

import gzip
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from beam_etl import schema
from beam_etl.io import manifest, staging
from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats.avro_blocks import CODECS
from beam_etl.io.formats.avro_copies import COMPRESS
from beam_etl.io.rewrite import RewriteDocuments
from beam_etl.io.write import WriteDataset
from beam_etl.pipelines import dedup
from beam_etl.transforms import slices
from tests.beam import run
from tests.stored import documents, json_lines, write

WANTED = Columns(needed=("id", "text"))
ROWS = documents(300)

Decide = Callable[[int], int | None]
"""From a document's position to its survivor's; the same keeps it, and None is no decision."""


def by_thirds(position: int) -> int | None:
    """Every third document is removed, every third only asked for."""
    return {0: position + 1, 1: position}.get(position % 3)


def decisions_of(batch: pa.RecordBatch, decide: Decide) -> pa.RecordBatch:
    pairs = []
    for address in batch.column("address").to_pylist():
        file, position = address >> schema.POSITION_BITS, address & schema.MAX_POSITION
        survivor = decide(position)
        if survivor is not None:
            pairs.append((address, file << schema.POSITION_BITS | survivor, f"of {position}"))
    names = {"node": pa.uint64(), "survivor": pa.uint64(), "note": pa.string()}
    return pa.record_batch(
        {name: pa.array([pair[place] for pair in pairs], names[name]) for place, name in enumerate(names)}
    )


def rewrite(
    pattern: Path | str,
    output: Path,
    decide: Decide = by_thirds,
    *,
    split_bytes: int = 1 << 30,
    columns: Columns = WANTED,
    format: str | None = None,
) -> manifest.Manifest:
    """Rewrites all that a pattern matches; documents, rejects of both reads, and what was found become tables."""
    pipeline = run("--direct_num_workers=2")
    source = FileSource(pipeline, str(pattern), columns, format)
    source.read.split_bytes = split_bytes
    found, name = source.documents(), staging.new_run()
    decisions = found.documents | "Decide" >> beam.Map(decisions_of, decide).with_output_types(pa.RecordBatch)
    again = decisions | RewriteDocuments(source=source, columns=columns, output=str(output), run=name)
    rejects = (found.rejects, again.rejects) | "All rejects" >> beam.Flatten()
    tables = {"documents": again.files, "found": again.found, "rejects": rejects}
    _ = tables | WriteDataset(output=str(output), run=name)
    pipeline.run().wait_until_finish()
    result = manifest.latest(str(output))
    assert result is not None
    return result


def parts(result: manifest.Manifest, output: Path) -> dict[int, list[Path]]:
    """Files of the documents by number of the input file, in the order of their names."""
    found: dict[int, list[Path]] = {}
    for file in result.table("documents"):
        number = int(Path(file.path).name.split("-")[1])
        found.setdefault(number, []).append(output / file.path)
    return found


def table(result: manifest.Manifest, output: Path, name: str) -> list[dict[str, Any]]:
    return [row for file in result.table(name) for row in pq.read_table(output / file.path).to_pylist()]


LINES = {
    "text": ("a.txt", b"first\n\nthird\r\n" + "fünfte Zeile\n".encode() * 2000 + b"no line end"),
    "text with a mark": ("a.txt", b"\xef\xbb\xbf" + b"".join(b"line %d\n" % n for n in range(2000))),
    "jsonl": ("a.jsonl", json_lines(ROWS)),
    "jsonl, Windows": ("a.jsonl", json_lines(ROWS).replace(b"\n", b"\r\n")),
    "jsonl with blanks": ("a.ndjson", json_lines(ROWS).replace(b"\n", b"\n \n", 40).rstrip(b"\n")),
    "jsonl.gz": ("a.jsonl.gz", json_lines(ROWS)),
    "json.zst": ("a.json.zst", json_lines(ROWS)),
}
PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


def lines_that_stay(content: bytes, decide: Decide, json: bool) -> bytes:
    stream, kept = io.BytesIO(content), []
    while True:
        position, line = stream.tell(), stream.readline()
        if not line:
            return b"".join(kept)
        if decide(position) in (None, position) and (line.strip() or not json):
            kept.append(line)


@pytest.mark.parametrize("split_bytes", [1 << 30, 6000], ids=["whole", "split"])
@pytest.mark.parametrize(("name", "content"), LINES.values(), ids=LINES.keys())
def test_lines_that_stay_are_the_bytes_of_the_input(
    name: str, content: bytes, split_bytes: int, tmp_path: Path
) -> None:
    packed = Path(name).suffix
    write(tmp_path, f"in/{name}", PACK.get(packed, bytes)(content))
    columns = Columns() if name.endswith(".txt") else WANTED
    result = rewrite(tmp_path / "in", tmp_path / "out", split_bytes=split_bytes, columns=columns)
    (files,) = parts(result, tmp_path / "out").values()
    assert {path.suffixes[-1] for path in files} == {packed.replace(".ndjson", ".jsonl")}
    assert b"".join(UNPACK.get(packed, bytes)(path.read_bytes()) for path in files) == lines_that_stay(
        content, by_thirds, json=not name.endswith(".txt")
    )
    assert (len(files) > 3) == (split_bytes == 6000 and packed not in PACK)
    assert sum(file.rows for file in result.table("documents")) == sum(
        UNPACK.get(packed, bytes)(path.read_bytes()).count(b"\n") for path in files
    ) + (not content.endswith(b"\n") and by_thirds(content.rfind(b"\n") + 1) != content.rfind(b"\n") + 2)


NESTED = pa.schema(
    [
        pa.field("id", pa.string(), metadata={b"note": b"kept"}),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("site", pa.dictionary(pa.int8(), pa.string())),
        pa.field("tags", pa.list_(pa.struct([("name", pa.string()), ("at", pa.timestamp("ns"))]))),
        pa.field("scores", pa.map_(pa.string(), pa.float32())),
        pa.field("price", pa.decimal128(12, 3)),
        pa.field("raw", pa.binary()),
        pa.field("view", pa.string_view()),
    ],
    metadata={b"owner": b"the user"},
)


def nested(start: int, stop: int) -> pa.Table:
    rows = [
        {
            "id": f"doc-{number}",
            "text": "some text " * (number % 50),
            "site": f"site-{number % 5}" if number % 4 else None,
            "tags": [{"name": f"tag {number}", "at": 1000 * number}] * (number % 3) if number % 7 else None,
            "scores": [("a", number / 8)] if number % 2 else [],
            "price": number,
            "raw": bytes([number % 256, 255]),
            "view": f"a text that is longer than a view holds, {number}" if number % 3 else None,
        }
        for number in range(start, stop)
    ]
    return pa.Table.from_pylist(rows, NESTED)


@pytest.mark.parametrize("split_bytes", [1 << 30, 1], ids=["whole", "split"])
def test_parquet_keeps_its_schema_and_order_file_by_file(split_bytes: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tables = [nested(0, 500), nested(500, 520), nested(520, 1100).drop_columns(["site", "raw"])]
    for number, rows in enumerate(tables):
        path = tmp_path / f"in/{number}.parquet"
        pq.write_table(rows, path, row_group_size=90, use_compliant_nested_type=number > 0)
    result = rewrite(tmp_path / "in", tmp_path / "out", split_bytes=split_bytes)
    found = parts(result, tmp_path / "out")
    assert [len(files) for files in found.values()] == ([1, 1, 1] if split_bytes > 1 else [6, 1, 7])
    for number, rows in enumerate(tables):
        read = [pq.read_table(path) for path in found[number]]
        given = pq.read_schema(tmp_path / f"in/{number}.parquet")
        assert all(part.schema.equals(given, check_metadata=True) for part in read)
        stay = [row for place, row in enumerate(rows.to_pylist()) if by_thirds(place) in (None, place)]
        assert [row for part in read for row in part.to_pylist()] == stay
    removed = [row for row in table(result, tmp_path / "out", "found") if row["node"] != row["survivor"]]
    assert result.rows("documents") + len(removed) == 1100


RICH_AVRO: dict[str, Any] = {
    "type": "record",
    "name": "Page",
    "namespace": "org.example",
    "doc": "A page.",
    "fields": [
        {"name": "id", "type": "string", "aliases": ["key"]},
        {"name": "text", "type": "string", "doc": "what it says"},
        {"name": "either", "type": ["null", "string", "long"], "default": None},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}},
        {"name": "counts", "type": {"type": "map", "values": "long"}},
    ],
}


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_avro_records_keep_all_that_their_schema_says(codec: str, tmp_path: Path) -> None:
    rows = [
        {
            "id": f"{n}",
            "text": f"text {n} " * (n % 60),
            "either": (None, "one", n)[n % 3],
            "kind": "ab"[n % 2],
            "counts": {f"{n}": n},
        }
        for n in range(1000)
    ]
    packed = io.BytesIO()
    fastavro.writer(packed, RICH_AVRO, rows, codec=codec, sync_interval=4000)
    write(tmp_path, "in/a.avro", packed.getvalue())
    result = rewrite(tmp_path / "in", tmp_path / "out", split_bytes=2000)
    files = parts(result, tmp_path / "out")[0]
    assert len(files) > 1
    read: list[Any] = []
    for path in files:
        reader = fastavro.reader(io.BytesIO(path.read_bytes()))
        assert (reader.codec, reader.writer_schema) == (
            codec,
            fastavro.reader(io.BytesIO(packed.getvalue())).writer_schema,
        )
        read += list(reader)
    assert read == [row for n, row in enumerate(rows) if by_thirds(n) in (None, n)]


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_of_avro_is_written_as_it_is_read(codec: str) -> None:
    content = b"some records " * 1000
    assert CODECS[codec](COMPRESS[codec](content)) == content


def test_files_of_text_become_parquet(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path, f"in/{number}", b"one\ntwo %d" % number)
    keep = {1: None}.get
    result = rewrite(tmp_path / "in", tmp_path / "out", keep, columns=Columns(), format="textfile")
    assert [row["text"] for row in table(result, tmp_path / "out", "documents")] == [
        f"one\ntwo {number}" for number in range(4)
    ]


def test_what_the_first_read_rejected_stays_out(tmp_path: Path) -> None:
    good = [b'{"id": "a%d", "text": "fine"}\n' % number for number in range(9)]
    bad = [b"no json\n", b'{"id": "b", "text": null}\n', b'{"id": "c", "text": "\xff"}\n', b"{}\n"]
    mixed = [line for pair in zip(good, [*bad, *bad, b"[]\n"], strict=True) for line in pair]
    write(tmp_path, "in/a.jsonl", b"".join(mixed))
    result = rewrite(tmp_path / "in", tmp_path / "out", lambda _: None)
    ((file,),) = parts(result, tmp_path / "out").values()
    assert file.read_bytes() == b"".join(good)
    assert (result.rows("documents"), result.rows("rejects"), result.rows("found")) == (9, 9, 0)


def test_what_is_wanted_of_documents_with_a_decision_is_found(tmp_path: Path) -> None:
    write(tmp_path, "in/a.jsonl", json_lines(ROWS[:150]))
    write(tmp_path, "in/b.jsonl", json_lines(ROWS[150:]))
    columns = Columns(needed=("id", "domain", "text"), carry=("score",))
    result = rewrite(tmp_path / "in", tmp_path / "out", columns=columns, split_bytes=9000)
    found = table(result, tmp_path / "out", "found")
    by_id = {row["id"]: row for row in ROWS}
    expected = []
    for file, rows in enumerate((ROWS[:150], ROWS[150:])):
        position = 0
        for row, line in zip(rows, json_lines(rows).splitlines(keepends=True), strict=False):
            survivor = by_thirds(position)
            if survivor is not None:
                nodes = [file << schema.POSITION_BITS | place for place in (position, survivor)]
                site = by_id[row["id"]]["url"].split("/")[2].removeprefix("www.")
                expected.append((*nodes, f"of {position}", row["id"], site, row["text"], row["score"]))
            position += len(line)
    columns_found = ("node", "survivor", "note", "id", "domain", "text", "score")
    assert [tuple(row) for row in found] == [columns_found] * len(found)
    assert sorted(tuple(row.values()) for row in found) == expected


def test_a_file_of_which_nothing_stays_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(nested(0, 50), tmp_path / "in/0.parquet")
    pq.write_table(nested(50, 51), tmp_path / "in/1.parquet")
    result = rewrite(tmp_path / "in", tmp_path / "out", lambda position: None if position == 49 else 49)
    assert list(parts(result, tmp_path / "out")) == [0]
    assert [row["id"] for row in table(result, tmp_path / "out", "documents")] == ["doc-49"]
    assert result.rows("found") == 50


def test_a_list_of_removals_larger_than_a_slice_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_BYTES", slices._IPC_OVERHEAD + (256 << 10))
    width, count = 10, 400_000
    write(tmp_path, "in/a.txt", b"".join(b"%09d\n" % number for number in range(count)))
    every_fourth = {place * width for place in range(0, count, 4)}
    result = rewrite(
        tmp_path / "in",
        tmp_path / "out",
        lambda position: None if position in every_fourth else 0,
        columns=Columns(),
    )
    ((file,),) = parts(result, tmp_path / "out").values()
    assert list(map(int, file.read_bytes().split())) == list(range(0, count, 4))
    assert result.rows("found") == 300_000


def test_a_document_whose_other_columns_are_damaged_is_rejected_and_told(tmp_path: Path) -> None:
    rows = pa.table(
        {"text": [f"text {n}" for n in range(300)], "other": [f"value {n}" * 9 for n in range(300)]}
    )
    sink = io.BytesIO()
    pq.write_table(
        rows, sink, row_group_size=100, use_dictionary=False, compression="none", write_page_checksum=True
    )
    content = sink.getvalue()
    assert content.count(b"value 150value 150") == 1 or b"value 150" in content
    write(tmp_path, "in/a.parquet", content.replace(b"value 150value 150", b"value 150VALUE 150", 1))
    result = rewrite(tmp_path / "in", tmp_path / "out", columns=Columns())
    rejects = table(result, tmp_path / "out", "rejects")
    assert {row["stage"] for row in rejects} == {"rewrite"}
    assert sorted(row["position"] for row in rejects) == list(range(100, 200))
    assert json.loads(rejects[0]["payload"])["text"].startswith("text 1")
    removed = sum(row["node"] != row["survivor"] for row in table(result, tmp_path / "out", "found"))
    assert result.rows("documents") + removed + len(rejects) == 300


def test_more_than_the_first_read_gave_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "in/a.jsonl", json_lines(ROWS))
    source = FileSource(run(), str(tmp_path / "in"), WANTED)
    for columns in (Columns(needed=("url",)), Columns(carry=("score",)), Columns(needed=("id",), id="url")):
        with pytest.raises(ValueError, match="no more than the first"):
            RewriteDocuments(source=source, columns=columns, output="out", run="0" * 12)


KILLED = """
import os, signal, sys
from beam_etl.io import data_files
from beam_etl.pipelines.dedup import run
closed, close = [], data_files.OpenFile.close
def close_or_die(self, rows):
    closed.extend([self] if self._path.startswith("documents/") else [])
    if len(closed) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return close(self, rows)
data_files.OpenFile.close = close_or_die
run(sys.argv[1:])
"""


def contents(output: Path) -> dict[str, str]:
    """Digests of the documents' files, by numbers of file and split."""
    result = manifest.latest(str(output))
    assert result is not None
    return {
        Path(file.path).name[: len("part-00000-00000")]: file.sha256 for file in result.table("documents")
    }


@pytest.mark.slow
def test_a_run_after_one_that_was_killed_in_its_second_read_gives_the_same_files(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path, f"in/{number}.jsonl", json_lines(ROWS[number * 30 : number * 30 + 40]))
    flags = [f"--input={tmp_path}/in", f"--output={tmp_path}/out"]
    command = [sys.executable, "-c", KILLED, *flags]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert manifest.latest(str(tmp_path / "out")) is None
    assert len(list((tmp_path / "out/_staging").rglob("documents/part-*"))) >= 4
    assert dedup.run(flags) == 0
    assert dedup.run([*flags[:1], f"--output={tmp_path}/undisturbed"]) == 0
    found = contents(tmp_path / "out")
    assert found == contents(tmp_path / "undisturbed")
    assert sorted(found) == [f"part-0000{number}-00000" for number in range(8)]
    result = manifest.latest(str(tmp_path / "out"))
    assert result is not None
    left = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("part-*")}
    assert left == {file.path for file in result.files}
    assert result.rows("removals") > 50
    assert not (tmp_path / "out/_staging").exists()
