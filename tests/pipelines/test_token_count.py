import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import Columns, CountTokens, MapBatches, ReadDocuments, WriteDataset
from beam_etl.io import manifest
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import FileEntry
from beam_etl.kernels.token_totals import expected_crossing
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.token_count import Config, run
from beam_etl.transforms.batches import split_batch
from tests.beam import counters
from tests.beam import run as beam_run

Counts = dict[Any, tuple[int, ...]]
COLUMNS = ("documents", "bytes", "characters", "tokens")


def counted(output: Path, by: str, table: str = "counts") -> Counts:
    """What a run wrote, read by pyarrow alone."""
    rows = pq.read_table(output / table).to_pylist()
    return {row[by]: tuple(row[name] for name in COLUMNS) for row in rows}


def oracle(documents: list[dict[str, Any]], by: str, count: Any) -> Counts:
    """The same in plain Python."""
    sums: dict[Any, list[int]] = defaultdict(lambda: [0] * len(COLUMNS))
    for row in documents:
        text = row["text"]
        for place, value in enumerate((1, len(text.encode()), len(text), count(text))):
            sums[row[by]][place] += value
    return {key: tuple(values) for key, values in sums.items()}


@pytest.fixture(scope="module")
def ranks(shared: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "data/tokens/tiktoken_cache"))
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "column"), [("language", "lang"), ("domain", "domain")], ids=["language", "domain"]
)
def test_counts_of_real_documents_equal_tiktoken_itself(
    by: str, column: str, shared: Path, webtext: list[dict[str, Any]], ranks: None, tmp_path: Path
) -> None:
    import tiktoken

    source = shared / "data/webtext/debdocs_sample_1pct.jsonl.gz"
    flags = [
        f"--input={source}",
        f"--output={tmp_path}/out",
        f"--by={by}",
        "--tokenizer=tiktoken:cl100k_base",
    ]
    assert run(flags) == 0
    encoding = tiktoken.get_encoding("cl100k_base")
    expected = oracle(webtext, column, lambda text: len(encoding.encode_ordinary(text)))
    found = counted(tmp_path / "out", by)
    assert found == expected
    totals = pq.read_table(tmp_path / "out/totals").to_pylist()[0]
    assert tuple(totals[name] for name in COLUMNS) == tuple(map(sum, zip(*expected.values(), strict=True)))


WORDS = ["crawl", "the", "web", "Grüße", "naïve", "日本", "42", "x_y"]


def made_documents(count: int) -> list[dict[str, Any]]:
    chosen = random.Random(7)
    return [
        {
            "id": f"d{i}",
            "lang": chosen.choice(["en", "de", None, "ja"]),
            "site": f"site{chosen.randrange(40)}",
            "tags": ["a", "b"],
            "text": " ".join(chosen.choices(WORDS, k=chosen.randrange(60))),
        }
        for i in range(count)
    ]


def count_words(text: str) -> int:
    return sum(2 if word == "日本" else 1 for word in text.split())


DOCUMENTS = made_documents(3000)


def write_jsonl(folder: Path, parts: list[list[dict[str, Any]]]) -> Path:
    folder.mkdir()
    for number, part in enumerate(parts):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (folder / f"{number:02d}.jsonl").write_text("".join(lines))
    return folder


@dataclass(frozen=True)
class Sharding:
    """How the same documents are cut and spread."""

    parts: int = 1
    reverse: bool = False
    split_bytes: int = 1 << 24
    rows: int = 1 << 14
    workers: int = 2
    partitions: int | None = None


SHARDINGS = {
    "one file": Sharding(),
    "small splits": Sharding(split_bytes=10_000),
    "small batches": Sharding(rows=50),
    "one worker": Sharding(workers=1, split_bytes=10_000),
    "four workers": Sharding(workers=4, split_bytes=10_000),
    "many files": Sharding(parts=17),
    "files in another order": Sharding(parts=17, reverse=True),
    "many partitions": Sharding(partitions=9),
    "all at once": Sharding(5, True, 5000, 20, 3, 13),
}


@pytest.mark.parametrize("sharding", SHARDINGS.values(), ids=SHARDINGS.keys())
def test_rows_do_not_depend_on_sharding(sharding: Sharding, tmp_path: Path) -> None:
    parts = [DOCUMENTS[i :: sharding.parts] for i in range(sharding.parts)]
    source = write_jsonl(tmp_path / "in", parts[::-1] if sharding.reverse else parts)
    columns = Columns(needed=("text",), carry=("site",))
    pipeline = beam_run(f"--direct_num_workers={sharding.workers}")
    read = ReadDocuments(patterns=str(source), columns=columns, split_bytes=sharding.split_bytes)
    documents = pipeline | read
    smaller = documents.documents | "Cut" >> MapBatches(partial(split_batch, rows=sharding.rows))
    sizes = smaller | "Size" >> beam.Map(lambda batch: batch.num_rows <= sharding.rows) | beam.Distinct()
    assert_that(sizes, equal_to([True]))
    found = smaller | "Count" >> CountTokens(by=("site",), partitions=sharding.partitions)
    {"counts": found.counts} | WriteDataset(output=str(tmp_path / "out"))
    slices = counters(pipeline, "Count")["elements_out"]
    assert counted(tmp_path / "out", "site") == oracle(DOCUMENTS, "site", count_words)
    splits = [split for file in read.files for split in read.known.splits(file, sharding.split_bytes)]
    assert len(splits) >= max(sharding.parts, 200_000 // sharding.split_bytes)
    assert slices >= (sharding.partitions or 40) / 2


def test_nulls_are_a_group_and_several_columns_group_together(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS[:500]])
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--by=language,site"]) == 0
    rows = pq.read_table(tmp_path / "out/counts").to_pylist()
    found = {(row["language"], row["site"]): row["documents"] for row in rows}
    expected: dict[tuple[str | None, str], int] = defaultdict(int)
    for row in DOCUMENTS[:500]:
        expected[row["lang"], row["site"]] += 1
    assert found == expected


def test_documents_can_be_grouped_by_their_file(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS[:100], DOCUMENTS[100:350]])
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--by=file"]) == 0
    found = {os.path.basename(path): row[0] for path, row in counted(tmp_path / "out", "file").items()}
    assert found == {"00.jsonl": 100, "01.jsonl": 250}


def test_documents_can_be_written_with_their_counts_and_all_their_columns(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS[:200]])
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--by=language", "--documents=true"]) == 0
    rows = sorted(pq.read_table(tmp_path / "out/documents").to_pylist(), key=lambda row: int(row["id"][1:]))
    assert [row["token_count"] for row in rows] == [count_words(row["text"]) for row in DOCUMENTS[:200]]
    assert [row["site"] for row in rows] == [row["site"] for row in DOCUMENTS[:200]]


def test_a_record_that_cannot_be_read_is_a_reject_and_the_others_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS[:10], DOCUMENTS[10:30]])
    bad = '{"lang": "en", "text": "cut off\n{"lang": "en", "text": null}\n'
    with (source / "01.jsonl").open("a") as file:
        file.write(bad)
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--by=site", "--max_reject_fraction=0.1"]
    assert run(flags) == 0
    assert counted(tmp_path / "out", "site") == oracle(DOCUMENTS[:30], "site", count_words)
    rejects = pq.read_table(tmp_path / "out/rejects").to_pylist()
    assert [os.path.basename(row["file"]) for row in rejects] == ["01.jsonl"] * 2
    assert sum(row["rows"] for row in rejects) == 2
    assert "rejects 2" in capsys.readouterr().out


def test_an_empty_input_gives_an_empty_dataset(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in", [[]])
    assert run([f"--input={source}", f"--output={tmp_path}/out"]) == 0
    found = manifest.latest(str(tmp_path / "out"))
    assert found is not None
    assert (found.rows("counts"), found.rows("totals")) == (0, 0)


USAGE = {
    "nothing there": (["--input={tmp}/nowhere/*.parquet"], "nowhere"),
    "no column text": (["--input={tmp}/in", "--text_column=txet"], "txet.*id.*lang.*site.*text"),
    "an unknown column": (["--input={tmp}/in", "--by=planet"], "planet"),
    "an unknown vocabulary": (["--input={tmp}/in", "--tokenizer=tiktoken:gpt9"], "gpt9.*cl100k_base"),
    "a missing flag": ([], "--input"),
    "an unknown flag": (["--input={tmp}/in", "--output_fromat=avro"], "Did you mean --output_format"),
    "a column that can't be grouped by": (["--input={tmp}/in", "--by=tags"], "tags.*list"),
    "a column of the result": (["--input={tmp}/in", "--by=is_total"], "is_total"),
    "no size": (["--input={tmp}/in", "--file_bytes=inf"], "'inf' is no size"),
    "no project": (["--input={tmp}/in", "--runner=dataflow"], "project"),
    "no group": (["--input={tmp}/in", "--by="], "--by needs at least one column"),
}


@pytest.mark.parametrize(("flags", "message"), USAGE.values(), ids=USAGE.keys())
def test_what_cannot_run_is_told_before_the_job_starts(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "in", [DOCUMENTS[:10]])
    assert run([*(flag.format(tmp=tmp_path) for flag in flags), f"--output={tmp_path}/out"]) == 2
    errors = capsys.readouterr().err
    assert re.search(message, errors.replace("\n", " ")), errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_a_plan_runs_nothing_and_shows_one_shuffle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS])
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--by=site", "--plan=json"]
    assert run([*flags, "--cluster=nodes=4,nic=10Gbps"]) == 0
    drawn = json.loads(capsys.readouterr().out)
    (shuffle,) = drawn["shuffles"]
    assert shuffle["by"] == ["site", "is_total"]
    assert shuffle["hops"] == 1
    assert shuffle["network_seconds"] > 0
    assert not (tmp_path / "out").exists()


def test_a_plan_of_many_files_tells_their_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "in/0.parquet"
    first.parent.mkdir()
    pq.write_table(pa.table({"text": ["a text"], "language": ["en"]}), first)
    names = [str(first), *(str(tmp_path / f"in/{number}.parquet") for number in range(1, 3000))]
    for name in names[1:]:
        os.link(first, name)
    (tmp_path / "list.txt").write_text("\n".join(names))
    (tmp_path / "out").mkdir()
    for files in (tmp_path / "in", f"@{tmp_path}/list.txt"):
        assert run([f"--input={files}", f"--output={tmp_path}/out", "--plan"]) == 0
        size = format_bytes(3000 * first.stat().st_size)
        assert capsys.readouterr().out.startswith(f"input: 3,000 files, {size}\n1 shuffle")


def test_the_plan_expects_about_the_bytes_that_cross(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS])
    pipeline = beam_run("--direct_num_workers=1")
    files = FileSource(pipeline, str(source), Columns(carry=("site",)))
    sample = files.sample(1 << 20)
    half = sample._replace(batches=[sample.batches[0].slice(0, 1500)], scale=2.0)
    expected = [expected_crossing(part.batches, ("site",), part.scale, 1) for part in (sample, half)]
    files.documents().documents | "Count" >> CountTokens(by=("site",))
    crossed = counters(pipeline, "Count/Sum/Shuffle")["bytes_out"]
    assert crossed / 2 < expected[0] < crossed * 2
    assert crossed / 3 < expected[1] < crossed * 3


@pytest.mark.parametrize(
    ("flags", "options", "bundles"),
    [
        ("direct", "--direct_num_workers=3", 3),
        ("direct", "--direct_num_workers=64", 8),
        ("flink", "--parallelism=2", 2),
        ("flink", "--parallelism=64", 8),
        ("flink", "", 8),
        ("spark", "", 8),
    ],
)
def test_bundles_are_tasks_where_those_are_known_and_splits_elsewhere(
    flags: str, options: str, bundles: int
) -> None:
    config = Config(input=("in",), output="out", runner=flags)
    files = [FileEntry(number, f"{number}", 32 << 20) for number in range(4)]
    assert config.bundles(files, PipelineOptions(options.split())) == bundles


WRITING = """
import sys
from beam_etl.io import write
opened = write._WriteFiles._open
def tell(self, columns):
    opened(self, columns)
    sys.stdout.write("writing\\n"); sys.stdout.flush()
write._WriteFiles._open = tell
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.token_count import run
sys.exit(run(sys.argv[1:]))
"""
COMMITTING = """
import sys, time
from beam_etl.io import publishing
published = publishing.publish
def slowly(*arguments):
    print("committing", flush=True)
    time.sleep(0.5)
    return published(*arguments)
publishing.publish = slowly
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.token_count import run
sys.exit(run(sys.argv[1:]))
"""


def interrupt(code: str, ready: str, number: int, flags: list[str]) -> tuple[int, str]:
    """Runs a job, sends it a signal when it says that it is ready; its exit code and what it said."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{ready}\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_job_that_is_interrupted_while_it_writes_leaves_no_output(number: int, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS[i::40] * 20 for i in range(40)])
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--documents=true", "--file_bytes=2000"]
    code, errors = interrupt(WRITING, "writing", number, flags)
    assert code == 128 + number
    assert "removing what was written" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_commit_that_has_begun_is_finished(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS])
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--by=site"]
    assert run([*flags, "--documents=true"]) == 0
    interrupt(COMMITTING, "committing", signal.SIGINT, [*flags, "--overwrite=true"])
    found = manifest.latest(str(tmp_path / "out"))
    assert found is not None
    assert found.number == 2
    on_disk = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("*/part-*")}
    assert on_disk == {file.path for file in found.files}
    assert counted(tmp_path / "out", "site") == oracle(DOCUMENTS, "site", count_words)


def test_the_input_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS[:50]])
    flags = [f"--output={tmp_path}/out", "--documents=true", "--overwrite=true"]
    assert run([f"--input={source}", *flags]) == 0
    assert run([f"--input={tmp_path}/out", *flags]) == 2
    assert "lies in the output" in capsys.readouterr().err
    assert len(pq.read_table(tmp_path / "out/documents")) == 50


OVERLAPS = {"a link to a file": "documents/{name}", "a link to a folder": "documents"}


@pytest.mark.parametrize("linked", OVERLAPS.values(), ids=OVERLAPS)
def test_the_input_is_not_overwritten_through_a_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], linked: str
) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS[:50]])
    flags = [f"--output={tmp_path}/out", "--documents=true", "--overwrite=true"]
    assert run([f"--input={source}", *flags]) == 0
    (file,) = (tmp_path / "out/documents").iterdir()
    link = tmp_path / "link.parquet"
    link.symlink_to(tmp_path / "out" / linked.format(name=file.name))
    assert run([f"--input={link}", *flags]) == 2
    assert "lies in the output" in capsys.readouterr().err


def test_an_interrupted_overwrite_leaves_the_old_dataset(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in", [DOCUMENTS[:100]])
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--by=site"]) == 0
    before = counted(tmp_path / "out", "site")
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps({"site": "x", "text": "y"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beam_etl.transforms.token_count.partial_counts_with_totals", fail)
        assert run([f"--input={broken}", f"--output={tmp_path}/out", "--by=site", "--overwrite=true"]) == 1
    assert counted(tmp_path / "out", "site") == before
    assert not (tmp_path / "out/_staging").exists()


def fail(batch: pa.RecordBatch, by: tuple[str, ...]) -> pa.RecordBatch:
    raise ArithmeticError("no")
