"""Repartitioned documents beside DuckDB and Polars, which read the folders as Hive's; and what later jobs do."""

import datetime as dt
import json
import os
import random
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.read import ReadDocuments
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.partition_paths import NULL_PARTITION
from beam_etl.kernels.partitioning import Partitioning
from beam_etl.kernels.where_text import parse_where
from beam_etl.pipelines import dedup, domain_score, repartition, token_count
from beam_etl.schema import MAX_POSITION, POSITION_BITS
from tests.runs import kill_at_its_first_file

Row = dict[str, Any]
RANDOM = random.Random(8)
DAY = dt.date(2026, 1, 1)
ROWS: list[Row] = [
    {
        "url": f"http://{number % 40}.example/{number}",
        "domain": f"{number % 40}.example",
        "lang": RANDOM.choice(["de", "en", None, "zh-Hant"]),
        "date": None if number % 31 == 3 else DAY + dt.timedelta(days=number % 3),
        "words": RANDOM.choice([None, 5, *range(200)]),
        "text": f"Some words of text number {number % 360}, which is not long. " * 3,
    }
    for number in range(700)
]
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("url", "domain", "lang")]
    + [("date", pa.date32()), ("words", pa.int64()), ("text", pa.string())]
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    table = pa.Table.from_pylist(ROWS, SCHEMA)
    pq.write_table(table.slice(0, 450), folder / "0.parquet", row_group_size=150)
    pq.write_table(table.slice(450), folder / "1.parquet")
    return folder


def partition(source: Path, output: Path, by: str, *flags: str) -> manifest.Manifest:
    assert repartition.run([f"--input={source}", f"--output={output}", f"--partition={by}", *flags]) == 0
    found = manifest.latest(str(output))
    assert found is not None
    return found


def in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=repr)


def hive(output: Path) -> list[Row]:
    """What DuckDB reads: the columns of the folders instead of those in the files."""
    reading = (
        f"read_parquet('{output}/documents/**/*.parquet', hive_partitioning=true, hive_types_autocast=false)"
    )
    return duckdb.sql(f"select * from {reading}").to_arrow_table().to_pylist()


def text(value: Any) -> str | None:
    return None if value is None else str(value)


def bucket(value: Any, of: int) -> str:
    return f"{int(hash_values(pa.array([value], pa.string()))[0]) % of:05d}"


GRID: dict[str, tuple[str, dict[str, Callable[[Row], str | None]]]] = {
    "hash": ("hash:url:4", {"url_bucket": lambda row: bucket(row["url"], 4)}),
    "day and hash": (
        "time:date:day,hash:domain:3",
        {"date": lambda row: text(row["date"]), "domain_bucket": lambda row: bucket(row["domain"], 3)},
    ),
    "value and month": (
        "value:lang,time:date:month",
        {"lang": lambda row: row["lang"], "date_month": lambda row: row["date"] and f"{row['date']:%Y-%m}"},
    ),
}


@pytest.mark.parametrize(("by", "levels"), GRID.values(), ids=GRID)
def test_every_row_is_once_where_its_values_say_and_each_file_is_in_order(
    by: str, levels: dict[str, Callable[[Row], str | None]], source: Path, tmp_path: Path
) -> None:
    found = partition(source, tmp_path / "out", by, "--order=words,url")
    read = hive(tmp_path / "out")
    expected = [{**row, **{name: level(row) for name, level in levels.items()}} for row in ROWS]
    assert in_order(read) == in_order(expected)

    record = Partitioning.from_json(found.partitioning["documents"])
    assert record.names == tuple(levels)
    assert record.order == ("words", "url")
    partitions = found.partitions("documents")
    sizes = Counter(tuple(level(row) for level in levels.values()) for row in ROWS)
    assert {values: sum(file.rows for file in files) for values, files in partitions.items()} == sizes
    assert {len(files) for files in partitions.values()} == {1}
    for file in found.table("documents"):
        rows = pq.read_table(tmp_path / "out" / file.path, partitioning=None).to_pylist()
        assert rows == sorted(rows, key=lambda row: (row["words"] is None, row["words"] or 0, row["url"]))


def test_ranges_come_from_the_data_and_have_the_rows_between_their_bounds(
    source: Path, tmp_path: Path
) -> None:
    found = partition(source, tmp_path / "out", "range:words:4")
    record = found.partitioned("documents")
    assert record is not None
    bounds = record.by[0].bounds
    assert bounds is not None
    edges = [float("-inf"), *bounds, float("inf")]
    seen = 0
    for (number,), files in found.partitions("documents").items():
        words = [
            word
            for file in files
            for word in pq.read_table(tmp_path / "out" / file.path)["words"].to_pylist()
        ]
        seen += len(words)
        if number is None:
            assert set(words) == {None}
            continue
        assert all(edges[int(number)] <= word < edges[int(number) + 1] for word in words)
        assert len(words) < 1.5 * len(ROWS) / 4
    assert seen == len(ROWS)
    assert len(bounds) == 3


@pytest.fixture(scope="module")
def hostile(shared: Path) -> list[str]:
    """60 of the naughty strings: all that look like paths, escapes or nulls, and others."""
    lines = (shared / "data/hostile/blns.txt").read_text(encoding="utf-8").split("\n")
    names = [line for line in dict.fromkeys(lines) if line and not line.startswith("#")]
    fit = [name for name in names if len(urllib.parse.quote(name, safe="")) < 200]
    marked = [
        name
        for name in fit
        if any(mark in name for mark in ("../", "%", "\\", "=", "..")) or name[0] in "./~"
    ]
    own = [
        "..",
        ".",
        "",
        " ",
        NULL_PARTITION,
        "../../../etc/passwd",
        "a=b/c",
        "\x00\n",
        "CON",
        "%2F",
    ]
    return list(dict.fromkeys([*own, *marked, *fit[:: len(fit) // 60]]))[:60]


def test_hostile_names_make_folders_of_the_dataset_and_are_read_back_by_all(
    hostile: list[str], tmp_path: Path
) -> None:
    rows = [{"name": name, "number": number} for number, name in enumerate([*hostile, None])]
    (tmp_path / "in").mkdir()
    pq.write_table(
        pa.Table.from_pylist(rows, pa.schema([("name", pa.string()), ("number", pa.int64())])),
        tmp_path / "in/0.parquet",
    )
    found = partition(tmp_path / "in", tmp_path / "up/out", "value:name")
    assert len(hostile) == 60
    assert {path.name for path in tmp_path.iterdir()} == {"in", "up"}
    assert {path.name for path in (tmp_path / "up").iterdir()} == {"out"}
    files = [path for path in (tmp_path / "up/out/documents").rglob("*") if path.is_file()]
    assert {len(path.relative_to(tmp_path / "up/out").parts) for path in files} == {3}
    assert {values for (values,) in found.partitions("documents")} == {*hostile, None}

    # A folder's empty value is null to these readers; Hive's word for null is to Polars, even when it is escaped.
    expected = {row["number"]: row["name"] or None for row in rows}
    assert {row["number"]: row["name"] or None for row in hive(tmp_path / "up/out")} == expected
    lazy = pl.scan_parquet(
        tmp_path / "up/out/documents", hive_partitioning=True, hive_schema={"name": pl.String}
    )
    by_polars = {row["number"]: row["name"] or None for row in lazy.collect().to_dicts()}
    assert by_polars == {
        number: None if name == NULL_PARTITION else name for number, name in expected.items()
    }

    assert (
        token_count.run(
            [f"--input={tmp_path}/up/out", f"--output={tmp_path}/count", "--text_column=name", "--by=name"]
        )
        == 0
    )
    assert Counter(pq.read_table(tmp_path / "count/counts")["name"].to_pylist()) == Counter(hostile)


def test_a_value_too_long_for_a_folder_publishes_nothing_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"name": "語" * 80}) + "\n" + json.dumps({"name": "a"}))
    flags = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", "--partition=value:name"]
    assert repartition.run(flags) == 1
    assert "name: a value of 80 characters" in (told := capsys.readouterr().err)
    assert "Partition by hash of this column" in told
    assert not (tmp_path / "out").exists()


def test_files_and_partitions_have_bounded_bytes_and_a_cut_partition_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_etl.kernels.partition_blocks.BLOCK_BYTES", 1024)
    monkeypatch.setattr(
        "beam_etl.io.write_partitioned.RUN_BYTES", 40_000
    )  # several runs, so that they are merged
    flags = ["hash:url:2", "--order=url"]
    whole = partition(source, tmp_path / "whole", *flags)
    small = partition(source, tmp_path / "small", *flags, "--file_bytes=10KB")
    cut = partition(source, tmp_path / "cut", *flags, "--max_partition_bytes=30KB")
    assert len(whole.table("documents")) == 2
    for found, split in ((small, False), (cut, True)):
        record = found.partitioned("documents")
        assert record is not None
        assert record.split is split
        assert record.keeps_together(("url",)) is not split
        assert 5 <= len(found.table("documents")) <= 12
    for output in ("whole", "small", "cut"):
        assert in_order(
            [{name: row[name] for name in SCHEMA.names} for row in hive(tmp_path / output)]
        ) == in_order(ROWS)
        for file in (tmp_path / output).glob("documents/*/*.parquet"):
            urls = pq.read_table(file, partitioning=None)["url"].to_pylist()
            assert urls == sorted(urls)


def test_a_run_that_is_killed_leaves_the_dataset_that_was_there_and_the_next_one_clears_up(
    source: Path, tmp_path: Path
) -> None:
    before = partition(source, tmp_path / "out", "time:date:day,hash:url:2")
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--partition=value:lang", "--overwrite=true"]
    kill_at_its_first_file("repartition", flags)
    assert manifest.latest(str(tmp_path / "out")) == before
    assert in_order([{**row, "date": text(row["date"])} for row in ROWS]) == in_order(
        [{name: row[name] for name in SCHEMA.names} for row in hive(tmp_path / "out")]
    )
    assert list((tmp_path / "out/_staging").rglob("*.parquet"))

    after = partition(source, tmp_path / "out", "value:lang", "--overwrite=true")
    left = {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    about = {"_manifests/000002.json", f"_manifests/000002-{after.run}.report.json"}
    assert left == {file.path for file in after.files} | about
    assert not list((tmp_path / "out").rglob("date=*"))


def test_a_crawl_is_added_to_its_days_and_no_old_file_is_touched(source: Path, tmp_path: Path) -> None:
    before = partition(source, tmp_path / "out", "time:date:day,range:words:3")
    stats = {file.path: os.stat(tmp_path / "out" / file.path) for file in before.files}
    new = [{**row, "date": dt.date(2026, 2, 1), "words": 10**6} for row in ROWS[:50]]
    (tmp_path / "new").mkdir()
    pq.write_table(pa.Table.from_pylist(new, SCHEMA), tmp_path / "new/0.parquet")
    flags = [f"--input={tmp_path}/new", f"--output={tmp_path}/out", "--append=true"]
    assert repartition.run([*flags, "--partition=time:date:day,range:words:4", "--order=url"]) == 2
    after = partition(tmp_path / "new", tmp_path / "out", "time:date:day,range:words:3", "--append=true")
    assert after.partitioning["documents"] == before.partitioning["documents"]
    assert {file.path for file in after.files} > set(stats)
    for path, stat in stats.items():
        now = os.stat(tmp_path / "out" / path)
        assert (now.st_mtime_ns, now.st_ino) == (stat.st_mtime_ns, stat.st_ino)
    added = {file.path for file in after.files} - set(stats)
    assert {path.split("/")[1] for path in added} == {"date=2026-02-01"}
    assert len(hive(tmp_path / "out")) == len(ROWS) + 50


@pytest.fixture(scope="module")
def by_domain(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("by_domain") / "out"
    partition(source, output, "hash:domain:4", "--order=date")
    return output


def test_the_plan_says_why_nothing_is_shuffled(
    by_domain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "no shuffle by domain: by the manifest, equal ones are in one of 4 partitions domain_bucket=..."
    for pipeline, flags in ((dedup, ["--within=domain"]), (domain_score, [])):
        asked = [f"--input={by_domain}", f"--output={tmp_path}/out", "--plan", *flags]
        assert pipeline.run(asked) == 0
        assert told in capsys.readouterr().out
        assert pipeline.run([*asked, "--partitioned=false"]) == 0
        assert told not in capsys.readouterr().out


def shuffles(pipeline: Any, flags: list[str], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    capsys.readouterr()
    assert pipeline.run([*flags, "--plan=json"]) == 0
    return [step["by"] for step in json.loads(capsys.readouterr().out)["shuffles"]]


def test_duplicates_within_partitioned_domains_are_found_without_a_shuffle_and_are_those_of_shuffles(
    by_domain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--input={by_domain}", "--within=domain", "--keep=longest"]
    here, there = ([*flags, f"--output={tmp_path}/{name}"] for name in ("here", "there"))
    assert shuffles(dedup, here, capsys) == []
    assert len(shuffles(dedup, [*there, "--partitioned=false"], capsys)) >= 4
    assert dedup.run(here) == 0
    assert dedup.run([*there, "--partitioned=false"]) == 0
    kept, expected = (hive(tmp_path / name) for name in ("here", "there"))
    assert in_order(kept) == in_order(expected)
    assert 300 < len(kept) < len(ROWS)
    for table in ("removals", "clusters", "domains"):
        rows = [pq.read_table(tmp_path / name / table).to_pylist() for name in ("here", "there")]
        assert in_order(rows[0]) == in_order(rows[1])
    found = manifest.latest(str(tmp_path / "here"))
    assert found is not None
    before = manifest.latest(str(by_domain))
    assert before is not None
    assert found.partitioning["documents"] == before.partitioning["documents"]
    assert set(found.partitions("documents")) == set(before.partitions("documents"))


def test_scores_of_partitioned_domains_are_counted_without_a_shuffle(
    by_domain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--input={by_domain}", f"--output={tmp_path}/here"]
    assert shuffles(domain_score, flags, capsys) == []
    assert domain_score.run(flags) == 0
    other = [f"--input={by_domain}", f"--output={tmp_path}/there", "--partitioned=false"]
    assert shuffles(domain_score, other, capsys) == [["domain"]]
    assert domain_score.run(other) == 0
    for table in ("domains", "score_parts"):
        rows = [pq.read_table(tmp_path / name / table).to_pylist() for name in ("here", "there")]
        assert in_order(rows[0]) == in_order(rows[1])
        assert rows[0]


@pytest.mark.parametrize(
    ("by", "flags"),
    [("hash:url:4", ()), ("hash:domain:4", ("--max_partition_bytes=10KB",))],
    ids=["another key", "split"],
)
def test_a_partitioning_that_does_not_keep_domains_together_is_shuffled(
    by: str, flags: tuple[str, ...], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partition(source, tmp_path / "in", by, *flags)
    asked = [f"--input={tmp_path}/in", f"--output={tmp_path}/out"]
    assert shuffles(domain_score, asked, capsys) == [["domain"]]


CONDITIONS = {
    "day": "date >= '2026-01-02' and words < 100",
    "bucket": "domain = '7.example'",
    "both": "domain in ('7.example', '8.example') and date = '2026-01-03'",
    "null": "date is null or words is null",
    "nothing of a partition": "not (lang = 'de' or lang = 'en')",
}


@pytest.fixture(scope="module")
def days(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("days") / "out"
    partition(source, output, "time:date:day,hash:domain:5", "--order=words")
    return output


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_reads_what_duckdb_reads_and_no_file_whose_partition_tells_that_it_has_nothing(
    condition: str, days: Path, source: Path
) -> None:
    expected = (
        duckdb.sql(f"select * from '{source}/*.parquet' where {condition}").to_arrow_table().to_pylist()
    )
    columns = Columns(needed=(), carry=ALL, where=parse_where(condition))
    for folder in (days, source):
        read = ReadDocuments(patterns=str(folder), columns=columns)
        rows = [row for file in read.files for batch in read.read_file(file) for row in batch.to_pylist()]
        assert in_order([{name: row[name] for name in SCHEMA.names} for row in rows]) == in_order(expected)
        assert (read.skipped_bytes > 0) is (
            folder == days and "lang" not in condition and "null" not in condition
        )
        for row in rows:  # the address is that of the row in its file, whatever was left out before it
            file, position = read.files[row["address"] >> POSITION_BITS], row["address"] & MAX_POSITION
            stored = pq.read_table(file.path, partitioning=None).slice(position, 1).to_pylist()
            assert stored == [{name: row[name] for name in SCHEMA.names}]


def test_the_closing_lines_say_what_was_skipped(
    days: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--input={days}", f"--output={tmp_path}/out", "--where=domain = 7.example and words < 5"]
    assert token_count.run(flags) == 0
    told = re.search(r"skipped unread: ([\d.]+) KB", capsys.readouterr().out)
    assert told is not None
    stored = sum(path.stat().st_size for path in (days / "documents").rglob("*.parquet"))
    assert 0.8 * stored < 1000 * float(told[1]) <= 1.001 * stored


def test_a_second_read_sees_the_rows_that_the_first_one_chose(days: Path, tmp_path: Path) -> None:
    flags = [
        f"--input={days}",
        f"--output={tmp_path}/out",
        "--method=exact",
        "--where=words >= 50 and lang = en",
    ]
    assert dedup.run(flags) == 0
    chosen = [row for row in ROWS if (row["words"] or 0) >= 50 and row["lang"] == "en"]
    kept = hive(tmp_path / "out")
    assert Counter(row["text"] for row in kept) == Counter({row["text"] for row in chosen})
    removed = pq.read_table(tmp_path / "out/removals").to_pylist()
    assert len(kept) + len(removed) == len(chosen)
    assert removed
    for row in removed:  # the file and position of each name the document that was removed
        text = pq.read_table(row["file"], partitioning=None)["text"][row["position"]].as_py()
        survivor = pq.read_table(row["survivor_file"], partitioning=None)["text"][
            row["survivor_position"]
        ].as_py()
        assert text == survivor


@pytest.mark.parametrize(
    ("condition", "told"),
    [("date >= soon", "can't be compared"), ("nothing = 1", "no column 'nothing'"), ("date >", "it ends")],
)
def test_a_condition_that_does_not_fit_is_told_before_the_job(
    condition: str, told: str, days: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert token_count.run([f"--input={days}", f"--output={tmp_path}/out", f"--where={condition}"]) == 2
    assert told in capsys.readouterr().err


def test_of_a_key_so_many_rows_stay_and_those_of_another_sharding(source: Path, tmp_path: Path) -> None:
    flags = ["value:lang", "--max_rows_per_key=20"]
    partition(source, tmp_path / "out", *flags)
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS[::-1], SCHEMA), whole)
    partition(whole, tmp_path / "again", *flags)
    rows = hive(tmp_path / "out")
    assert Counter(row["lang"] for row in rows) == dict.fromkeys(("de", "en", "zh-Hant", None), 20)
    assert in_order(rows) == in_order(hive(tmp_path / "again"))


USAGE = {
    "hash:url": "hash:COLUMN:N",
    "hash:url:0": "at least 1",
    "time:words:day": "'words' is int64",
    "value:nothing": "no column 'nothing'",
    "hash:url:2,hash:url:3": "another name",
    "time:date:week": "month, day, hour",
}


@pytest.mark.parametrize(("by", "told"), USAGE.items(), ids=USAGE)
def test_a_partitioning_that_can_not_be_is_told(
    by: str, told: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repartition.run([f"--input={source}", f"--output={tmp_path}/out", f"--partition={by}"]) == 2
    assert told in capsys.readouterr().err


def test_the_hot_key_of_a_bucket_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine rows out of ten are of one domain; buckets are 64 KB of text each but for its own."""
    domains = ["hot.example" if number % 10 else f"{number}.example" for number in range(20_000)]
    table = pa.table({"domain": domains, "id": range(20_000), "text": ["x" * 100] * 20_000})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "0.parquet")
    partition(tmp_path / "in", tmp_path / "out", "hash:domain:32")
    found = capsys.readouterr()
    assert re.search(r"Partition/Pieces: 2\d\.\dx rows, 2\d\.\dx bytes of .* in 32", found.out)
    assert re.search(
        r"skew: the largest partition of Partition/Pieces has 1\d,\d{3} rows.*domain='hot.example'", found.err
    )
