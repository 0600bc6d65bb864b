"""Reading in a pipeline, and what a launcher is told before it."""

import errno
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

from beam_etl import schema
from beam_etl.io.changes import CHANGED
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import SAMPLED_ROWS, FileSource
from beam_etl.io.formats import FileEntry, format_named
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.read import ReadDocuments, _plan_splits, pack_files, unpack_files
from beam_etl.io.splits import read_split
from beam_etl.kernels.provenance import add_file
from tests.archives import response
from tests.beam import run
from tests.datasets import publish
from tests.stored import KEPT, STORED, Document, Stored, avro, documents, json_lines, keep, write

ROWS = documents(400)


def folder_of(stored: Stored, folder: Path) -> Path:
    """The documents in three files of one format, one of them damaged."""
    suffix = stored.name.removeprefix("a")
    for number, (start, stop) in enumerate([(0, 100), (100, 110), (110, 400)]):
        write(folder, f"part-{number}{suffix}", stored.encode(ROWS[start:stop]))
    content = stored.encode(ROWS[:50])
    write(folder, f"damaged{suffix}", content[: len(content) // 2])
    return folder


def read_all(read: ReadDocuments) -> tuple[list[Document], list[Document]]:
    """Rows and rejects, in an order of their own."""
    KEPT.clear()
    with run() as pipeline:
        found = pipeline | "Read" >> read
        assert {found.documents.element_type, found.rejects.element_type} == {pa.RecordBatch}
        _ = found.documents | "Keep rows" >> beam.Map(keep, "rows")
        _ = found.rejects | "Keep rejects" >> beam.Map(keep, "rejects")
    rows, rejects = (
        [row for batch in KEPT[name] for row in batch.to_pylist()] for name in ("rows", "rejects")
    )
    return sorted(rows, key=itemgetter("address")), sorted(rejects, key=itemgetter("file", "position"))


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored.name)
def test_a_pipeline_reads_the_same_however_it_splits(stored: Stored, tmp_path: Path) -> None:
    folder = folder_of(stored, tmp_path)
    wanted = Columns(needed=("id", "domain", "text"), carry=("score",))
    coarse = read_all(ReadDocuments(patterns=str(folder), columns=wanted))
    paths = [str(path) for path in sorted(folder.iterdir(), reverse=True)]
    fine = read_all(ReadDocuments(patterns=paths, columns=wanted, split_bytes=4000))
    assert fine == coarse
    rows, rejects = coarse
    parts = [row for row in rows if row["address"] >> schema.POSITION_BITS > 0]
    assert [(row["id"], row["text"], row["score"]) for row in parts] == [
        (row["id"], row["text"], row["score"]) for row in ROWS
    ]
    assert {row["domain"] for row in parts} == {f"site-{n}.co.uk" for n in range(7)}
    assert {Path(row["file"]).stem.split(".")[0] for row in rejects} == {"damaged"}


class Bucket(FileSystem):  # type: ignore[misc]
    """Files in memory, as Beam sees an object store."""

    files: dict[str, bytes]

    @classmethod
    def scheme(cls) -> str:
        return "bucket"

    def join(self, base: str, *paths: str) -> str:
        return "/".join([base, *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self) -> bool:
        return False

    def _list(self, prefix: str) -> Iterator[FileMetadata]:
        yield from (
            FileMetadata(path, len(self.files[path])) for path in self.files if path.startswith(prefix)
        )

    def exists(self, path: str) -> bool:
        return path in self.files

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(self.files[path]))

    def open(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> io.BytesIO:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return io.BytesIO(self.files[path])

    def mkdirs(self, path: str) -> None:
        raise NotImplementedError

    def create(self, path: str, mime_type: str = "", compression_type: str = "") -> None:
        raise NotImplementedError

    def copy(self, sources: list[str], targets: list[str]) -> None:
        raise NotImplementedError

    def rename(self, sources: list[str], targets: list[str]) -> None:
        raise NotImplementedError

    def size(self, path: str) -> int:
        return len(self.files[path])

    def last_updated(self, path: str) -> float:
        raise NotImplementedError

    def checksum(self, path: str) -> str:
        raise NotImplementedError

    def delete(self, paths: list[str]) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored.name)
def test_any_filesystem_of_beam_is_read(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"bucket://b/data/{stored.name}": stored.encode(ROWS), "bucket://b/data/_x.parquet": b""}
    monkeypatch.setattr(Bucket, "files", files, raising=False)
    read = ReadDocuments(patterns="bucket://b/data", columns=Columns(carry=ALL), split_bytes=5000)
    rows, rejects = read_all(read)
    assert ([row["text"] for row in rows], rejects) == ([row["text"] for row in ROWS], [])
    assert [file.path for file in read.files] == [f"bucket://b/data/{stored.name}"]
    with pytest.raises(
        InputError,
        match="no file matches 'bucket://b/data/none.*'; the nearest folder that exists is 'bucket://b/data'",
    ):
        ReadDocuments(patterns="bucket://b/data/none*")


def test_a_dataset_is_read_by_its_manifest(tmp_path: Path) -> None:
    for name, text in (("old", "a"), ("new", "b")):
        (tmp_path / "documents").mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": [text]}), tmp_path / f"documents/{name}.parquet")
    size = (tmp_path / "documents/new.parquet").stat().st_size
    file = DataFile("documents", "documents/new.parquet", 1, size, "0" * 64)
    assert publish(str(tmp_path), Manifest(1, "run", (file,), {"documents": {}, "counts": {}}))
    assert [row["text"] for row in read_all(ReadDocuments(patterns=str(tmp_path)))[0]] == ["b"]
    assert publish(str(tmp_path), Manifest(2, "run", (), {"counts": {}}))
    with pytest.raises(InputError, match="a dataset without documents; it has the tables counts"):
        ReadDocuments(patterns=str(tmp_path))
    assert publish(str(tmp_path), Manifest(3, "run", (), {"documents": {}}))
    with pytest.raises(InputError, match="whose table documents has no rows"):
        ReadDocuments(patterns=str(tmp_path))


def test_a_source_reads_again_and_tells_what_there_is(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path, f"{number:02d}.jsonl", json_lines(ROWS[number * 20 : number * 20 + 20]))
    KEPT.clear()
    with run() as pipeline:
        source = FileSource(pipeline, str(tmp_path), Columns(), label="Read it")
        for label in ("first", "second"):
            _ = source.documents().documents | label >> beam.Map(keep, label)
    for label in ("first", "second"):
        texts = [text for batch in KEPT[label] for text in batch.column("text").to_pylist()]
        assert sorted(texts) == sorted(row["text"] for row in ROWS)
    assert source.replayable
    assert source.input_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert len(source.files) == 20
    assert source.stored_schema.field("score").type == pa.float64()
    sample = [text for batch in source.sample(1).batches for text in batch.column("text").to_pylist()]
    assert len(sample) == 8 * 20
    assert set(sample) <= {row["text"] for row in ROWS}


def archive(rows: list[Document]) -> bytes:
    pages = (response(f"http://a.example/{row['id']}", row["text"].encode()) for row in rows)
    return b"".join(map(gzip.compress, pages))


RECORDS: dict[str, tuple[str, Callable[[list[Document]], bytes]]] = {
    "warc.gz": (".warc.gz", archive),
    "jsonl": (".jsonl", json_lines),
    "jsonl.gz": (".jsonl.gz", lambda rows: gzip.compress(json_lines(rows), 1)),
    "jsonl.zst": (".jsonl.zst", lambda rows: bytes(pa.compress(json_lines(rows), "zstd", asbytes=True))),
    "avro": (".avro", avro),
}
"""By name: the suffix of files that hold records one by one, and what writes some."""


@pytest.mark.parametrize("characters", [10, 600])
@pytest.mark.parametrize(("suffix", "stored"), RECORDS.values(), ids=RECORDS)
def test_a_sample_of_few_columns_reads_little_of_files_that_hold_records(
    suffix: str,
    stored: Callable[[list[Document]], bytes],
    characters: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, files = 2_500, 2
    monkeypatch.setattr("beam_etl.io.formats.line_format.BLOCK_BYTES", 100_000)
    monkeypatch.setattr("beam_etl.io.file_source.PASSED_BYTES", 50_000)
    words = random.Random(5)
    for number in range(files):
        texts = (words.randbytes(characters // 2).hex() for _ in range(rows))
        some = [{"id": f"{row}", "text": text} for row, text in enumerate(texts)]
        write(tmp_path, f"{number}{suffix}", stored(some))
    with run() as pipeline:
        source = FileSource(pipeline, str(tmp_path), Columns(needed=("id",), addressed=False))
        sample = source.sample(50_000)
        _ = source.documents()
    sampled = sum(batch.num_rows for batch in sample.batches)
    assert 0 < sampled <= files * SAMPLED_ROWS
    assert len(sample.batches) == files
    assert sample.batches[0].schema.names == ["id"]
    told = [add_file(batch).column(schema.FILE)[0].as_py() for batch in sample.batches]
    assert told == [file.path for file in source.files]
    assert files * rows / 3 < sampled * sample.scale < files * rows * 3


def test_a_sample_of_long_records_tells_how_many_there_are(tmp_path: Path) -> None:
    rows = [{"id": f"{row}", "text": "x" * 1_000_000} for row in range(30)]
    write(tmp_path, "0.jsonl", json_lines(rows))
    with run() as pipeline:
        source = FileSource(pipeline, str(tmp_path), Columns(needed=("text",)))
        assert source.expected_documents(2_000_000) == len(rows)
        _ = source.documents()


def test_the_launcher_is_told_of_a_file_that_lacks_the_column(tmp_path: Path) -> None:
    for number in range(5):
        pq.write_table(pa.table({"text": ["a"]}), tmp_path / f"{number}.parquet")
    pq.write_table(pa.table({"content": ["a"]}), tmp_path / "5.parquet")
    with pytest.raises(
        InputError, match=r"5.parquet: no column 'text'; it has 'content'. Use --text_column=content."
    ):
        ReadDocuments(patterns=str(tmp_path))


def test_the_launcher_is_told_of_carried_columns_that_do_not_agree(tmp_path: Path) -> None:
    write(tmp_path, "0.jsonl", b'{"text": "a", "n": 1, "x": 1}\n')
    write(tmp_path, "1.jsonl", b'{"text": "a", "n": 1.5, "x": "1"}\n')
    with pytest.raises(
        InputError, match=r"1.jsonl has string, .*0.jsonl has int64: column 'x' can't be carried along"
    ):
        ReadDocuments(patterns=str(tmp_path), columns=Columns(carry=ALL))
    rows, _ = read_all(ReadDocuments(patterns=str(tmp_path), columns=Columns(carry=("n",))))
    assert [row["n"] for row in rows] == [1.0, 1.5]


def test_a_field_that_was_not_seen_before_is_never_lost_in_silence(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "x" * 100_000, "n": n}) for n in range(20)] + ['{"text": "late", "late": 1}']
    write(tmp_path, "a.jsonl", "\n".join(lines).encode())
    rows, rejects = read_all(ReadDocuments(patterns=str(tmp_path), columns=Columns(carry=ALL)))
    assert ([row["n"] for row in rows], len(rejects)) == (list(range(20)), 1)
    assert rejects[0]["reason"] == "a field that no record had where the types were inferred"
    rows, rejects = read_all(ReadDocuments(patterns=str(tmp_path), columns=Columns(carry=("n",))))
    assert ([row["n"] for row in rows], rejects) == ([*range(20), None], [])


def test_files_without_a_good_record_are_rejected_and_no_error(tmp_path: Path) -> None:
    write(tmp_path, "0.jsonl", b"")
    write(tmp_path, "1.jsonl", b"not JSON\nnor this\n")
    write(tmp_path, "2.jsonl.gz", b"no gzip")
    write(tmp_path, "3.jsonl.gz", gzip.compress(b""))
    rows, rejects = read_all(ReadDocuments(patterns=str(tmp_path)))
    assert rows == []
    assert [(Path(row["file"]).name, row["position"], row["rows"], row["bytes"]) for row in rejects] == [
        ("1.jsonl", 0, None, 18),
        ("2.jsonl.gz", 0, None, 7),
    ]


OF_ANOTHER_FORMAT = {
    "avro": ("a.jsonl", b'{"text": "a"}\n', "avro"),
    "parquet": ("a.jsonl", b'{"text": "a"}\n', "parquet"),
    "a list in several lines": ("a.json", b'[\n  {\n    "text": "a"\n  }\n]\n', None),
    "a list in one line": ("a.json", b'[{"text": "a"}]', None),
    "gzip": ("a.txt.gz", b"no gzip", None),
}


@pytest.mark.parametrize(("name", "content", "format"), OF_ANOTHER_FORMAT.values(), ids=OF_ANOTHER_FORMAT)
def test_files_that_are_something_else_are_an_error(
    name: str, content: bytes, format: str | None, tmp_path: Path
) -> None:
    write(tmp_path, f"0{name}", content)
    write(tmp_path, f"1{name}", content)
    with pytest.raises(InputError, match=rf"0{name} can't be read as \w+ \(.+\), nor can 1 others"):
        ReadDocuments(patterns=str(tmp_path), format=format)


def test_what_the_system_refuses_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=rf"can't be read: .*{tmp_path}.*Check that the path is right"):
        ReadDocuments(patterns=f"@{tmp_path}")
    write(tmp_path, "a.jsonl", b'{"text": "a"}')

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    for place in ("beam_etl.io.access.pa.OSFile", "beam_etl.io.files.os.scandir"):
        with monkeypatch.context() as patch:
            patch.setattr(place, refuse)
            with pytest.raises(InputError, match=rf"Permission denied: '{tmp_path}.*you may read it"):
                ReadDocuments(patterns=str(tmp_path))


def test_files_of_json_whose_types_differ_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", b'{"text": "a", "id": "x"}')
    write(tmp_path, "b.jsonl", b'{"text": ["b"], "id": 1}')
    with pytest.raises(InputError, match=r"b.jsonl: column 'text' is list<item: string>; text is read from"):
        ReadDocuments(patterns=str(tmp_path))
    with pytest.raises(InputError, match=r"b.jsonl has int64, .*a.jsonl has string: column 'id' can't be"):
        ReadDocuments(patterns=str(tmp_path), columns=Columns(needed=("id",)))


@pytest.mark.parametrize("stored", [STORED[0], next(kind for kind in STORED if kind.name == "a.jsonl")])
def test_a_language_is_read_from_whichever_column_has_it(stored: Stored, tmp_path: Path) -> None:
    suffix = stored.name.removeprefix("a")
    write(tmp_path, f"0{suffix}", stored.encode([{"text": "a", "language": "en"}]))
    write(tmp_path, f"1{suffix}", stored.encode([{"text": "b", "lang": "de"}]))
    both = [
        {"text": "c", "language": None, "lang": "fr"},
        {"text": "d", "language": "it", "lang": "es"},
    ]
    write(tmp_path, f"2{suffix}", stored.encode(both))
    rows, _ = read_all(ReadDocuments(patterns=str(tmp_path), columns=Columns(needed=("text", "language"))))
    assert [row["language"] for row in rows] == ["en", "de", "fr", "it"]


@pytest.mark.parametrize("name", ["parquet", "avro"])
def test_a_column_of_a_single_file_is_carried(name: str, tmp_path: Path) -> None:
    for number in range(20):
        row = {"text": str(number)} | ({"more": "x"} if number == 1 else {})
        batch = pa.RecordBatch.from_pylist([row])
        with (tmp_path / f"{number:02d}.{name}").open("wb") as sink:
            writer = format_named(name).writer(sink, batch.schema)
            writer.write(batch)
            writer.close()
    rows, rejects = read_all(ReadDocuments(patterns=str(tmp_path), columns=Columns(carry=ALL)))
    assert rejects == []
    assert {row["text"]: row["more"] for row in rows} == {str(n): "x" if n == 1 else None for n in range(20)}


def test_a_million_files_are_a_small_job(tmp_path: Path) -> None:
    files = [FileEntry(n, f"gs://bucket/crawl/2026-02/part-{n:07d}.parquet", n * 1000) for n in range(1000)]
    packed = pack_files(files)
    assert unpack_files(packed) == files
    assert len(packed) * 1000 < 10 << 20  # bytes, for a million


@pytest.mark.parametrize("since", ["nothing", "rewritten", "gone"])
def test_splits_that_are_left_out_hide_no_change_of_their_file(since: str, tmp_path: Path) -> None:
    """Else what is left of it might be read by nobody, and nobody would know."""
    path = write(tmp_path, "a.jsonl", b'{"text": "words"}\n' * 30)
    [file] = ReadDocuments(patterns=str(path)).files
    splits = list(_plan_splits(file, format_named("jsonl"), 200, ()))
    assert len(splits) == 3
    skip = {split.name for split in splits[:2]}
    if since == "rewritten":
        path.write_bytes(b'{"text": "words"}\n' * 20)
    elif since == "gone":
        path.unlink()
    planned = list(_plan_splits(file, format_named("jsonl"), 200, skip))
    if since == "nothing":
        assert planned == splits[2:]
    else:
        rejects = [
            found for split in planned for found in read_split(split, format_named("jsonl"), Columns())
        ]
        assert CHANGED in str(rejects)


def test_a_split_of_no_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split_bytes must be at least 1, got 0"):
        ReadDocuments(patterns=str(tmp_path), split_bytes=0)
