"""How many documents a sample tells, beside how many there are."""

import base64
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource, Sample
from beam_etl.kernels.where_text import parse_where
from tests.archives import response
from tests.beam import run
from tests.stored import write

FILE_ROWS = 3_000

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are as much of these files as they are else of files of some hundred MB."""
    monkeypatch.setattr("beam_etl.io.formats.line_format.BLOCK_BYTES", 50_000)
    monkeypatch.setattr("beam_etl.io.file_source.PASSED_BYTES", 150_000)
    monkeypatch.setattr("beam_etl.io.file_source.SAMPLED_ROWS", 64)


def made(text: Callable[[random.Random], str], first: int = 0) -> list[Row]:
    """Rows with texts; `n` counts them, `any` is one of 50 in no order."""
    drawn = random.Random(first)
    return [
        {"id": f"{n}", "n": n, "any": drawn.randrange(50), "text": text(drawn)}
        for n in range(first, first + FILE_ROWS)
    ]


def poor(drawn: random.Random) -> str:
    """Letters that were drawn of 64."""
    return base64.b64encode(drawn.randbytes(150)).decode()


def common(drawn: random.Random) -> str:
    """Some letters, again and again."""
    return drawn.randbytes(23).hex() * 6


def alike(drawn: random.Random) -> str:
    """Lines of a log."""
    return f"GET /{drawn.randbytes(10).hex()} HTTP/1.1 200 {'Mozilla/5.0 (X11; Linux x86_64) ' * 30}"


def json_lines(rows: list[Row]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def avro(rows: list[Row]) -> bytes:
    kinds = {"id": "string", "n": "long", "any": "long", "text": "string"}
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "row", "fields": fields}, rows, "deflate")
    return sink.getvalue()


def parquet(rows: list[Row]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=1_000)
    return sink.getvalue()


STORED: dict[str, Callable[[list[Row]], bytes]] = {
    ".jsonl": json_lines,
    ".jsonl.gz": lambda rows: gzip.compress(json_lines(rows), 6),
    ".jsonl.zst": lambda rows: bytes(pa.compress(json_lines(rows), "zstd", asbytes=True)),
    ".txt.gz": lambda rows: gzip.compress("".join(f"{row['text']}\n" for row in rows).encode()),
    ".avro": avro,
    ".parquet": parquet,
}


def sampled(folder: Path, max_bytes: int, **columns: Any) -> Sample:
    with run() as pipeline:
        source = FileSource(pipeline, str(folder), Columns(**columns))
        sample = source.sample(max_bytes)
        _ = source.documents()
    return sample


def expected(folder: Path, max_bytes: int, **columns: Any) -> float:
    return sampled(folder, max_bytes, **columns).expected(None)[0]


@pytest.mark.parametrize(
    ("text", "suffix", "times"),
    [
        (poor, ".jsonl.gz", 1.4),
        (poor, ".jsonl.zst", 1.4),
        (poor, ".txt.gz", 1.3),
        (common, ".jsonl.gz", 7),
        (alike, ".jsonl.gz", 30),
        (alike, ".jsonl.zst", 40),
    ],
)
def test_a_sample_tells_how_many_rows_compressed_files_have_however_they_pack(
    text: Callable[[random.Random], str], suffix: str, times: float, tmp_path: Path
) -> None:
    rows = made(text)
    stored = write(tmp_path, f"0{suffix}", STORED[suffix](rows)).stat().st_size
    plain = len(json_lines(rows)) if "json" in suffix else sum(len(row["text"]) + 1 for row in rows)
    assert times * 0.8 < plain / stored < times * 2
    needed = ("id",) if "json" in suffix else ("text",)
    assert len(rows) / 1.3 < expected(tmp_path, 1 << 20, needed=needed) < len(rows) * 1.3


HALF = "n >= 1500"
RANGE = "n >= 1500 and n < 1800"
CONDITIONS: dict[str, Callable[[Row], bool]] = {
    "n >= 0": lambda row: True,
    HALF: lambda row: bool(row["n"] >= 1500),
    "n < 300": lambda row: bool(row["n"] < 300),
    RANGE: lambda row: bool(1500 <= row["n"] < 1800),
    "any = 7": lambda row: bool(row["any"] == 7),
    "n > 99999": lambda row: False,
}


@pytest.mark.parametrize(
    ("suffix", "condition"),
    [
        *((".jsonl.gz", condition) for condition in CONDITIONS),
        *(
            (suffix, condition)
            for suffix in (".jsonl", ".avro", ".parquet")
            for condition in (HALF, "any = 7")
        ),
    ],
)
def test_a_sample_tells_how_many_rows_of_a_sorted_file_fulfil_a_condition(
    suffix: str, condition: str, tmp_path: Path
) -> None:
    rows = made(common)
    write(tmp_path, f"0{suffix}", STORED[suffix](rows))
    true = sum(map(CONDITIONS[condition], rows))
    found = expected(tmp_path, 50_000, needed=("id",), where=parse_where(condition))
    assert true / 2 <= found <= true * 2


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".avro"])
def test_few_rows_that_fulfil_a_condition_are_sampled_without_reading_all(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_etl.io.file_source.SAMPLED_ROWS", 1024)
    monkeypatch.setattr("beam_etl.io.file_source.PASSED_BYTES", 50_000)
    monkeypatch.setattr("beam_etl.io.formats.avro.BATCH_BYTES", 50_000)
    rows = made(common)
    write(tmp_path, f"0{suffix}", STORED[suffix](rows))
    sample = sampled(tmp_path, 1_000, needed=("id",), where=parse_where("any = 7"))
    true = sum(row["any"] == 7 for row in rows)
    assert 0 < sum(batch.num_rows for batch in sample.batches) < true * 0.6
    assert true / 2 < sample.expected(None)[0] < true * 2


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".parquet"])
def test_a_file_in_eight_that_fulfils_a_condition_is_an_eighth(suffix: str, tmp_path: Path) -> None:
    rows = made(common)
    for number in range(8):
        write(tmp_path, f"{number}{suffix}", STORED[suffix](rows[number * 375 :][:375]))
    found = expected(tmp_path, 50_000, needed=("id",), where=parse_where("n >= 1500 and n < 1875"))
    assert 375 / 2 < found < 375 * 2


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("condition", [None, "url = 'http://7.example/'"])
@pytest.mark.parametrize("packed", [".warc", ".warc.gz"])
def test_a_sample_tells_how_many_records_archives_have(
    packed: str, condition: str | None, times: int, tmp_path: Path
) -> None:
    """Whether others, which are no documents, are between them or not."""
    drawn = random.Random(3)
    urls = [f"http://{drawn.randrange(20)}.example/" for _ in range(1_500)]
    found = [response(url, common(drawn).encode()) for url in urls]
    other = b"WARC/1.0\r\nWARC-Type: request\r\nContent-Length: 4\r\n\r\nGET \r\n\r\n"
    records = [record for one in found for record in (one, other)[:times]]
    stored = {
        ".warc": lambda: b"".join(records),
        ".warc.gz": lambda: b"".join(gzip.compress(record, 1) for record in records),
    }
    write(tmp_path, f"0{packed}", stored[packed]())
    true = len(urls) if condition is None else urls.count("http://7.example/")
    told = expected(
        tmp_path, 50_000, needed=("url",), where=None if condition is None else parse_where(condition)
    )
    assert true / 2 < told < true * 2


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_a_file_that_ends_early_behind_the_sample_is_taken_to_pack_as_texts_do(
    suffix: str, tmp_path: Path
) -> None:
    rows = made(poor)
    stored = STORED[suffix](rows)
    write(tmp_path, f"0{suffix}", stored[: len(stored) * 3 // 4])
    sample = sampled(tmp_path, 50_000, needed=("id",))
    assert 0 < sum(batch.num_rows for batch in sample.batches) < len(rows) / 2
    assert len(rows) < sample.expected(None)[0] < len(rows) * 4
