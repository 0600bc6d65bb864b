"""The whole job beside DuckDB over signals document by document; and the same tables however the input is stored."""

import datetime
import json
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io.file_source import Sample
from beam_etl.io.read import ReadDocuments
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.partition import PartitionPlan, plan_partitions
from beam_etl.kernels.quality import failures, rules_of, signals
from beam_etl.pipelines import dedup, domain_score
from beam_etl.pipelines.domain_score import run
from beam_etl.transforms.domain_score import ScoreDomains
from beam_etl.transforms.quality import DEFAULT_RULES

Row = dict[str, Any]
SUMMED = ("words", "characters", "lines", "duplicate_line_characters", "top_2gram_characters", "c4_sentences")
TABLES = ("domains", "score_parts", "documents", "removals")


def read(output: Path, table: str) -> list[Row]:
    return pq.read_table(output / table).to_pylist() if (output / table).is_dir() else []


def write(folder: Path, parts: Sequence[Sequence[Row]], suffix: str = "jsonl") -> Path:
    folder.mkdir(parents=True)
    for number, rows in enumerate(parts):
        path = folder / f"{number:03d}.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=37)
        else:
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return folder


def score(source: Path, output: Path, *flags: str) -> dict[str, list[Row]]:
    assert run([f"--input={source}", f"--output={output}", *flags]) == 0
    return {table: read(output, table) for table in TABLES}


@pytest.fixture(scope="module")
def rows(webtext: list[Row]) -> list[Row]:
    """A few hundred real documents; a third of them of one domain, some without any."""
    some = [{name: row[name] for name in ("id", "domain", "lang", "date", "text")} for row in webtext[::8]]
    for number, row in enumerate(some):
        row["domain"] = "hot.org" if number % 3 == 0 else None if number % 50 == 1 else row["domain"]
    return some


@pytest.fixture(scope="module")
def expected(rows: list[Row]) -> dict[str | None, Row]:
    """What DuckDB groups the signals and failures of each document to."""
    found = signals(pa.array([row["text"] for row in rows], pa.large_string()))
    told = failures(found, rules_of(DEFAULT_RULES))
    judged = pa.Table.from_batches([found]).append_column("failed", pa.chunked_array([told["failed"]]))
    for name in ("domain", "lang"):
        judged = judged.append_column(name, pa.array([row[name] for row in rows], pa.string()))
    dates = [datetime.date.fromisoformat(row["date"][:10]) for row in rows]
    judged = judged.append_column("date", pa.array(dates))
    sums = [f"sum({name})::bigint as {name}_sum" for name in SUMMED]
    sets = [
        f"count(*) filter (len(list_filter(failed, lambda rule: starts_with(rule, '{name}.'))) > 0) as {name}_failed"
        for name in DEFAULT_RULES
    ]
    grouped = duckdb.sql(
        f"select domain, count(*) as documents, sum(bytes)::bigint as bytes, {', '.join(sums + sets)}, "
        "min(date) as first_date, max(date) as last_date from judged group by domain"
    )
    table = {row["domain"]: row for row in grouped.to_arrow_table().to_pylist()}
    counts = {
        "failures": "select domain, name, count(*) from "
        "(select domain, unnest(failed) as name from judged) group by all",
        "languages": "select domain, lang as name, count(*) from judged group by all",
    }
    for column, query in counts.items():
        for row in table.values():
            row[column] = {}
        for domain, name, count in duckdb.sql(query).fetchall():
            table[domain][column][name] = count
    return table


def test_the_table_of_domains_is_what_a_database_makes_of_signals(
    rows: list[Row], expected: dict[str | None, Row], tmp_path: Path
) -> None:
    found = score(write(tmp_path / "in", [rows]), tmp_path / "out")["domains"]
    told = {}
    for row in found:
        row["failures"] = {item["rule"]: item["documents"] for item in row["failures"]}
        row["languages"] = {item["language"]: item["documents"] for item in row["languages"]}
        told[row["domain"]] = {name: row[name] for name in expected[row["domain"]]}
    assert told == expected
    assert len(found) == len(expected)


def test_domains_come_in_the_order_of_their_ranks(rows: list[Row], tmp_path: Path) -> None:
    found = score(write(tmp_path / "in", [rows]), tmp_path / "out")
    ranked = [(row["rank"], row["score"]) for row in found["domains"]]
    scores = sorted((value for _, value in ranked), reverse=True)
    assert ranked == [(1 + scores.index(value), value) for value in scores]
    parts = {row["part"]: row for row in found["score_parts"]}
    assert set(parts) == set(DEFAULT_RULES)
    for part, row in parts.items():
        assert row["documents"] == len(rows)
        assert row["failed"] == sum(domain[f"{part}_failed"] for domain in found["domains"])
    first = found["domains"][0]
    mean = sum(first[f"{part}_bound"] * row["weight"] for part, row in parts.items()) / len(parts)
    assert first["score"] == pytest.approx(mean, abs=1.01e-6)


def test_examples_are_failing_documents_of_their_domain(rows: list[Row], tmp_path: Path) -> None:
    domain_of = {row["id"]: row["domain"] for row in rows}
    text_of = {row["id"]: row["text"] for row in rows}
    for row in score(write(tmp_path / "in", [rows]), tmp_path / "out")["domains"]:
        for example in row["examples"]:
            assert domain_of[example["id"]] == row["domain"]
            found = signals(pa.array([text_of[example["id"]]]))
            assert failures(found, rules_of(DEFAULT_RULES))["failed"].to_pylist() == [example["rules"]]


def many_partitions(
    expected_bytes: int | None, key_limit: int, partitions: int | None = None
) -> PartitionPlan:
    return plan_partitions(expected_bytes, key_limit, partitions or 7)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits and bundles are small, and partitions are many."""
    monkeypatch.setattr("beam_etl.io.file_source.ReadDocuments", partial(ReadDocuments, split_bytes=20_000))
    monkeypatch.setattr("beam_etl.transforms.shuffle.plan_partitions", many_partitions)
    monkeypatch.setattr("beam_etl.transforms.aggregate.GATHER_BYTES", 1)


FILTERS = ("--min_domain_score=0.35", "--max_documents_per_domain=7", "--weights=fineweb:0.5")
SHARDINGS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "one file": (1, "jsonl", ()),
    "seven files, one worker": (7, "parquet", ("--direct_num_workers=1",)),
    "seven files, by shuffle": (7, "jsonl", ("--join=shuffle", "--direct_num_workers=2")),
    "forty files, too many scores": (40, "jsonl", ("--broadcast_bytes=0",)),
}


def comparable(tables: dict[str, list[Row]]) -> dict[str, list[str]]:
    """Rows in one order, without the places that depend on files."""
    for row in tables["removals"]:
        del row["file"], row["position"]
    return {name: sorted(map(repr, rows)) for name, rows in tables.items()}


@pytest.fixture(scope="module")
def reference(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    folder = tmp_path_factory.mktemp("reference")
    return score(write(folder / "in", [rows]), folder / "out", *FILTERS)


@pytest.mark.parametrize(
    ("parts", "suffix", "flags"),
    [
        pytest.param(
            *case, id=name, marks=[pytest.mark.long] * (name in ("one file", "seven files, one worker"))
        )
        for name, case in SHARDINGS.items()
    ],
)
def test_all_tables_are_the_same_however_the_input_is_cut(
    parts: int, suffix: str, flags: tuple[str, ...], rows: list[Row], reference: dict[str, list[Row]],
    small: None, tmp_path: Path,
) -> None:  # fmt: skip
    source = write(tmp_path / "in", [rows[place::parts] for place in range(parts)], suffix)
    found = score(source, tmp_path / "out", *FILTERS, *flags)
    assert comparable(found) == comparable({name: [dict(row) for row in reference[name]] for name in TABLES})


def test_a_partitioned_input_gives_the_same_tables(
    rows: list[Row], reference: dict[str, list[Row]], tmp_path: Path
) -> None:
    parts = defaultdict(list)
    for row in rows:
        parts[len(row["domain"] or "") % 5].append(row)
    source = write(tmp_path / "in", list(parts.values()))
    found = score(source, tmp_path / "out", *FILTERS, "--partitioned=true")
    assert comparable(found) == comparable({name: [dict(row) for row in reference[name]] for name in TABLES})


def test_documents_stay_or_go_as_their_domains_score_and_the_hash_of_their_ids_say(
    rows: list[Row], reference: dict[str, list[Row]]
) -> None:
    scores = {row["domain"]: row["score"] for row in reference["domains"] if row["domain"] is not None}
    low = {row["id"] for row in rows if scores.get(row["domain"], 1) < 0.35}
    by_domain = defaultdict(list)
    for row in rows:
        if row["domain"] is not None and row["id"] not in low:
            by_domain[row["domain"]].append((int(hash_values(pa.array([row["id"]]))[0]), row["id"]))
    not_chosen = {id for ids in by_domain.values() for _, id in sorted(ids)[7:]}
    assert low
    assert not_chosen
    gone = {row["id"]: row for row in reference["removals"]}
    assert {id: row["reason"] for id, row in gone.items()} == {
        **dict.fromkeys(low, "domain_score"), **dict.fromkeys(not_chosen, "domain_sample"),
    }  # fmt: skip
    kept = {row["id"]: row for row in reference["documents"]}
    assert kept.keys() == {row["id"] for row in rows} - gone.keys()
    for row in rows:
        if row["id"] in kept:
            assert kept[row["id"]]["text"] == row["text"]
            assert kept[row["id"]]["domain_score"] == scores.get(row["domain"])
        else:
            assert gone[row["id"]]["bytes"] == len(row["text"].encode())


def test_documents_that_fail_a_rule_are_left_out_or_told(rows: list[Row], tmp_path: Path) -> None:
    source = write(tmp_path / "in", [rows[:100]])
    rules = ("--rules=fineweb", "--thresholds=fineweb.max_new_lines:0.2")
    found = signals(pa.array([row["text"] for row in rows[:100]], pa.large_string()))
    told = failures(found, rules_of(("fineweb",), {"fineweb.max_new_lines": 0.2}))
    failed = {row["id"]: names for row, names in zip(rows, told["failed"].to_pylist(), strict=False)}
    filtered = score(source, tmp_path / "filtered", "--filter=true", *rules)
    removed = {row["id"]: row for row in filtered["removals"]}
    assert 0 < len(removed) < 100
    assert removed.keys() == {id for id, names in failed.items() if names}
    assert {row["reason"] for row in removed.values()} == {"quality"}
    assert {row["id"] for row in filtered["documents"]} == failed.keys() - removed.keys()
    annotated = score(source, tmp_path / "annotated", "--annotate=true", *rules)
    assert {row["id"]: row["failed"] for row in annotated["documents"]} == failed
    assert [row["signals"]["words"] for row in annotated["documents"]] == found["words"].to_pylist()
    assert annotated["removals"] == []


def test_duplicates_are_counted_where_a_table_of_removals_names_them(rows: list[Row], tmp_path: Path) -> None:
    twice = rows + [{**row, "id": f"copy of {row['id']}"} for row in rows[::4]]
    source = write(tmp_path / "in", [twice[::2], twice[1::2]])
    assert dedup.run([f"--input={source}", f"--output={tmp_path}/unique", "--method=exact"]) == 0
    domain_of = {row["id"]: row["domain"] for row in twice}
    removed = Counter(domain_of[row["id"]] for row in read(tmp_path / "unique", "removals"))
    assert sum(removed.values()) >= len(rows[::4])
    found = score(source, tmp_path / "out", f"--removals={tmp_path}/unique")
    assert {row["domain"]: row["duplicates"] for row in found["domains"] if row["duplicates"]} == removed
    assert [row["part"] for row in found["score_parts"]] == [*DEFAULT_RULES, "unique"]
    assert {"unique_rate", "unique_bound"} <= set(found["domains"][0])


def test_documents_keep_the_columns_that_they_had(tmp_path: Path) -> None:
    documents = [
        {
            "url": "https://www.one.github.io/a",
            "text": "a",
            "lang": "x",
            "date": "today",
            "domain_score": "mine",
        },
        {"url": None, "text": "b", "lang": None, "date": "2026-01-02", "domain_score": "mine"},
    ]
    source = write(tmp_path / "in", [documents])
    found = score(source, tmp_path / "out", "--documents=true", "--private_suffixes=true")
    written = sorted(found["documents"], key=lambda row: row["text"])
    domains = {row["domain"]: row for row in found["domains"]}
    assert written == [
        {
            "url": row["url"],
            "text": row["text"],
            "lang": row["lang"],
            "date": row["date"],
            "stored_domain_score": "mine",
            "domain": domain,
            "domain_score": None if domain is None else domains[domain]["score"],
        }
        for row, domain in zip(documents, ("one.github.io", None), strict=True)
    ]
    assert domains["one.github.io"]["languages"] == [{"language": "x", "documents": 1}]


def test_a_date_that_is_none_is_no_reason_to_leave_a_document_out(tmp_path: Path) -> None:
    dates = ["2026-01-02", "yesterday", None, "2024-12-31T23:00:00Z", ""]
    documents = [{"domain": "a", "text": f"{place}", "date": date} for place, date in enumerate(dates)]
    found = score(write(tmp_path / "in", [documents]), tmp_path / "out", "--documents=true")
    ((row,), written) = found["domains"], found["documents"]
    assert row["documents"] == 5
    assert (row["first_date"], row["last_date"]) == (datetime.date(2024, 12, 31), datetime.date(2026, 1, 2))
    assert sorted((one["text"], one["date"]) for one in written) == [
        (f"{place}", date) for place, date in enumerate(dates)
    ]
    assert not read(tmp_path / "out", "rejects")


def test_what_either_read_rejects_is_told_once(tmp_path: Path) -> None:
    good = [{"domain": "a", "text": "good", "views": 1}, {"domain": "a", "text": "fine", "views": 2}]
    folder = write(tmp_path / "in", [good])
    with (folder / "000.jsonl").open("ab") as file:
        file.write(b'{"domain": "a", "text": null, "views": 1}\n{"domain": "a", "text": "b", "views": {}}\n')
    assert len(score(folder, tmp_path / "table", "--max_reject_fraction=1")["domains"]) == 1
    assert [row["reason"] for row in read(tmp_path / "table", "rejects")] == ["null text"]
    found = score(folder, tmp_path / "out", "--documents=true", "--max_reject_fraction=1")
    assert [row["text"] for row in found["documents"]] == ["good", "fine"]
    assert len(read(tmp_path / "out", "rejects")) == 2


def test_the_sample_of_documents_without_ids_is_by_their_text(tmp_path: Path) -> None:
    documents = [{"domain": "a", "text": f"text {number % 30}"} for number in range(60)]
    kept = []
    for parts in (1, 4):
        source = write(tmp_path / f"in{parts}", [documents[place::parts] for place in range(parts)])
        found = score(source, tmp_path / f"out{parts}", "--max_documents_per_domain=7")
        kept.append(sorted(row["text"] for row in found["documents"]))
    assert len(kept[0]) == 7
    assert kept[0] == kept[1]


def test_scores_that_are_too_many_to_broadcast_fail_where_nothing_else_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", [[{"domain": "a", "text": "b"}]])
    flags = ["--join=broadcast", "--broadcast_bytes=3", "--documents=true"]
    assert run([f"--input={source}", f"--output={tmp_path}/out", *flags]) == 1
    assert "of which at most 3 are broadcast. Use --join=shuffle" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/_manifests/*.json"))


TWICE: dict[str, tuple[str | None, str, tuple[str, ...]]] = {
    "the table alone": ("a", "the domain a is", ()),
    "documents, by broadcast": ("a", "the domain a is", ("--documents=true",)),
    "documents, by shuffle": ("a", "the domain a is", ("--documents=true", "--join=shuffle")),
    "without a domain": (None, "documents without a domain are", ()),
}


@pytest.mark.parametrize(("domain", "what", "flags"), TWICE.values(), ids=TWICE)
def test_a_domain_in_two_files_of_an_input_that_is_said_to_be_partitioned_fails(
    domain: str | None, what: str, flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", [[{"domain": domain, "text": "b"}]] * 2)
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--partitioned=true", *flags]) == 1
    assert capsys.readouterr().err.count(f"{what} in several partitions of the input") == 1
    assert not list(tmp_path.glob("out/_manifests/*.json"))


@pytest.mark.parametrize("partitioned", ["false", "true"], ids=["shuffled", "partitioned"])
def test_removals_that_are_replaced_while_the_job_runs_are_a_verdict(
    partitioned: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", [[{"domain": "a", "text": "b"}, {"domain": "a", "text": "b"}]])
    assert dedup.run([f"--input={source}", f"--output={tmp_path}/unique", "--method=exact"]) == 0

    def build_late(opened: Any, config: Any) -> Any:
        tables = domain_score.build(opened, config)
        shutil.rmtree(tmp_path / "unique" / "_manifests")
        return tables

    job = replace(domain_score.JOB, build=build_late)
    flags = [f"--removals={tmp_path}/unique", f"--partitioned={partitioned}"]
    assert job.run([f"--input={source}", f"--output={tmp_path}/out", *flags]) == 1
    assert (
        f"{tmp_path}/unique was replaced or removed since the job began. Run again."
        in capsys.readouterr().err
    )
    assert not list(tmp_path.glob("out/_manifests/*.json"))


def crowd(domains: int, each: int) -> list[Row]:
    """Documents by domain."""
    return [
        {"id": f"{at}", "domain": f"site{at // each}.org", "text": f"{at % 97} words, " * (1 + at % 5)}
        for at in range(domains * each)
    ]


CROWDS = {"six by domain": (6, False), "a hundred by domain": (100, False), "six, mixed": (6, True)}


@pytest.mark.parametrize(("each", "mixed"), CROWDS.values(), ids=CROWDS)
def test_the_bytes_that_statistics_are_expected_to_have(each: int, mixed: bool) -> None:
    rows = crowd(60_000 // each, each)
    if mixed:
        random.Random(5).shuffle(rows)
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in ("id", "domain", "text")}
    whole = pa.record_batch({"address": pa.array(range(len(rows)), pa.uint64()), **columns})
    count = ScoreDomains(rules=("fineweb",)).count
    places = [whole.slice(at * len(rows) // 16 + 37 * at, 40) for at in range(16)]
    sample = Sample(places, len(rows) / (40 * 16))
    bundles = [whole.slice(at * len(rows) // 3, len(rows) // 3) for at in range(3)]
    crossing = sum(count(bundle).nbytes for bundle in bundles)
    assert crossing / 3 < domain_score._expected_crossing(sample, count, 3) < crossing * 3


def test_examples_do_not_depend_on_where_files_lie(tmp_path: Path) -> None:
    rows = [{"domain": "a.org", "text": f"text {number}"} for number in range(40)]
    chosen = []
    for parts in (1, 5):
        source = write(tmp_path / f"in{parts}", [rows[place::parts] for place in range(parts)])
        (found,) = score(source, tmp_path / f"out{parts}")["domains"]
        chosen.append([text_at(example["id"]) for example in found["examples"]])
    assert len(chosen[0]) == 3
    assert chosen[0] == chosen[1]


def text_at(id: str) -> str:
    """The text of the line that an id names, which is made of a path and the line's place."""
    path, _, place = id.rpartition("#")
    line = Path(path).read_bytes()[int(place) :].split(b"\n")[0]
    return str(json.loads(line)["text"])


@pytest.mark.parametrize("format_", ["avro", "jsonl"])
def test_tables_have_the_same_rows_in_any_format(format_: str, rows: list[Row], tmp_path: Path) -> None:
    source = write(tmp_path / "in", [rows[:60]])
    expected = score(source, tmp_path / "out")["domains"]
    flags = (f"--output_format={format_}", "--signals=lines")
    assert run([f"--input={source}", f"--output={tmp_path}/other", *flags]) == 0
    (path,) = (tmp_path / "other/domains").iterdir()
    if format_ == "avro":
        with path.open("rb") as file:
            found = list(fastavro.reader(file))
    else:
        found = [json.loads(line) for line in path.read_bytes().splitlines()]
    told = ("domain", "rank", "score", "failures", "languages", "examples", "words_sum", "lines_p50")
    assert [[row[name] for name in told] for row in found] == [
        [row[name] for name in told] for row in expected
    ]


SAID: dict[str, tuple[tuple[str, ...], str]] = {
    "broadcast": ((), "scores were broadcast: 2 documents"),
    "shuffled": (("--join=shuffle",), "documents were shuffled to their scores: 2 documents"),
    "as many as there are": (
        ("--broadcast_bytes=0",),
        "documents were shuffled to their scores: 2 documents",
    ),
}


@pytest.mark.parametrize(("flags", "said"), SAID.values(), ids=SAID)
def test_the_closing_lines_say_how_scores_came_and_which_list_made_domains(
    flags: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", [[{"domain": "a", "text": "b"}, {"domain": "c", "text": "d"}]])
    score(source, tmp_path / "out", "--documents=true", *flags)
    printed = capsys.readouterr().out
    assert said in printed.splitlines()
    assert "domains of urls: by the public suffix list of 20" in printed
    assert printed.startswith("read 2 documents, ")


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no such set": (("--rules=gopher",), "no rule set 'gopher'; there are"),
    "no rules": (("--rules=,",), "no rules to judge documents by"),
    "no such rule": (("--thresholds=fineweb.max:1",), "no rule 'fineweb.max'; there are"),
    "no pair": (("--weights=fineweb",), "a weight is PART:NUMBER, got 'fineweb'"),
    "no number": (("--thresholds=fineweb.max_new_lines:x",), "a threshold is RULE:NUMBER or RULE:none, got"),
    "no such part": (("--weights=unique:1",), "no part 'unique' of a score to weigh; there are"),
    "no weight": (("--rules=c4", "--weights=c4:0"), "one of them above 0"),
    "no such signal": (("--signals=words,sentences",), "no signal 'sentences'; there are"),
    "no sample": (("--max_documents_per_domain=0",), "--max_documents_per_domain must be at least 1, got 0"),
    "no score": (("--min_domain_score=2",), "scores are from 0 to 1, got a minimum of 2.0"),
    "no removals": (("--removals=/nowhere",), "/nowhere: no dataset"),
    "no domains": (("--domain_column=site",), "no column 'site'"),
}


@pytest.mark.parametrize(("flags", "said"), WRONG.values(), ids=WRONG)
def test_flags_that_mean_nothing_are_told_before_anything_runs(
    flags: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", [[{"domain": "a", "text": "b"}]])
    assert run([f"--input={source}", f"--output={tmp_path}/out", *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
