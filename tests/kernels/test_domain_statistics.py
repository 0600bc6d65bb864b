"""Statistics of domains beside DuckDB's, and whatever is done to their order."""

import datetime
import random
from collections import defaultdict
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.domain_measures import (
    EXAMPLES,
    FAILED_BITS,
    MAX_LANGUAGES,
    MAX_RULES,
    STATISTIC,
    Measures,
)
from beam_etl.kernels.domain_statistics import merge_statistics, partial_statistics
from beam_etl.kernels.domain_table import PERCENTS, domain_table, table_schema
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.quantiles import RELATIVE_ERROR
from beam_etl.kernels.sampling import sample_keys
from beam_etl.testing import check_merge

RULES = ("one.min_a", "one.max_a", "two.max_b")
SETS = (("one", (0, 1)), ("two", (2,)))
MEASURES = Measures(RULES, SETS, ("words", "lines"))
COUNTS = ("documents", "bytes", "duplicates", "one_failed", "two_failed", "words_sum", "lines_sum")
Row = dict[str, Any]


def made(count: int, seed: int = 1) -> list[Row]:
    """Documents of some domains, with what was found of each."""
    chosen = random.Random(seed)
    return [
        {
            "id": f"d{number}",
            "domain": chosen.choice(["a.org", "b.org", "b.org", "hot.org", "hot.org", "hot.org", None]),
            "language": chosen.choice(["en", "de", "", None]),
            "date": chosen.choice([None, datetime.date(1969 + number % 60, 2, 3)]),
            "text": "é" * chosen.randrange(9),
            "failed": chosen.choice([0, 0, 0, 1, 2, 4, 7]),
            "words": chosen.choice([0, 7, 98, 99, 1000, 10**12]),
            "lines": chosen.randrange(300),
            "duplicate": chosen.random() < 0.2,
        }
        for number in range(count)
    ]


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    columns = {name: [row[name] for row in rows] for name in ("id", "domain", "language", "date", "text")}
    types = {"date": pa.date32(), "text": pa.large_string()}
    arrays = {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
    return pa.record_batch(arrays)


def judged_of(rows: list[Row]) -> pa.RecordBatch:
    names = {FAILED_BITS: "failed", "words": "words", "lines": "lines"}
    return pa.record_batch({to: pa.array([row[of] for row in rows], pa.int64()) for to, of in names.items()})


def statistics_of(rows: list[Row], measures: Measures = MEASURES) -> pa.RecordBatch:
    duplicate = np.array([row["duplicate"] for row in rows], np.bool_)
    return partial_statistics(batch_of(rows), judged_of(rows), measures, duplicate)


def by_domain(table: pa.RecordBatch) -> dict[str | None, Row]:
    return {row["domain"]: row for row in table.to_pylist()}


def grouped(rows: list[Row]) -> dict[str | None, Row]:
    """The same by DuckDB."""
    documents = pa.Table.from_pylist(rows)  # noqa: F841 - read by DuckDB
    names = ("domain", *COUNTS, "first_date", "last_date")
    found = duckdb.sql(
        "select domain, count(*), sum(strlen(text))::bigint, count(*) filter (duplicate), "
        "count(*) filter (failed & 3 > 0), count(*) filter (failed & 4 > 0), sum(words)::bigint, "
        "sum(lines)::bigint, min(date), max(date) from documents group by domain"
    ).fetchall()
    return {row[0]: dict(zip(names, row, strict=True)) for row in found}


ROWS = made(500)


def test_the_table_is_what_a_database_groups_to() -> None:
    table = by_domain(domain_table(statistics_of(ROWS), MEASURES))
    assert {name: {key: row[key] for key in row} for name, row in grouped(ROWS).items()} == {
        name: {key: row[key] for key in ("domain", *COUNTS, "first_date", "last_date")}
        for name, row in table.items()
    }


def test_lists_have_the_most_frequent_first() -> None:
    table = by_domain(domain_table(statistics_of(ROWS), MEASURES))
    failures: dict[str | None, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    languages: dict[str | None, dict[str | None, int]] = defaultdict(lambda: defaultdict(int))
    for row in ROWS:
        languages[row["domain"]][row["language"]] += 1
        for place, rule in enumerate(RULES):
            failures[row["domain"]][rule] += row["failed"] >> place & 1
    for domain, row in table.items():
        told = [(item["rule"], item["documents"]) for item in row["failures"]]
        assert dict(told) == failures[domain]
        assert [count for _, count in told] == sorted(dict(told).values(), reverse=True)
        spoken = [(item["language"], item["documents"]) for item in row["languages"]]
        assert dict(spoken) == languages[domain]
        assert [count for _, count in spoken] == sorted(dict(spoken).values(), reverse=True)


def test_quantiles_are_near_the_exact_ones() -> None:
    table = by_domain(domain_table(statistics_of(ROWS), MEASURES))
    for domain, row in table.items():
        for signal in MEASURES.signals:
            values = [one[signal] for one in ROWS if one["domain"] == domain]
            exact = np.quantile(values, np.array(PERCENTS) / 100, method="inverted_cdf").tolist()
            told = [row[f"{signal}_p{percent}"] for percent in PERCENTS]
            assert told == pytest.approx(exact, rel=RELATIVE_ERROR, abs=0)


def test_examples_are_failing_documents_with_the_smallest_hashes() -> None:
    table = by_domain(domain_table(statistics_of(ROWS), MEASURES))
    for domain, row in table.items():
        failing = [one for one in ROWS if one["domain"] == domain and one["failed"]]
        failing.sort(key=lambda one: int(hash_values(pa.array([one["id"]]))[0]))
        expected = [
            {"id": one["id"], "rules": [rule for at, rule in enumerate(RULES) if one["failed"] >> at & 1]}
            for one in failing[:EXAMPLES]
        ]
        assert row["examples"] == expected


def test_examples_are_chosen_by_the_columns_of_the_sample() -> None:
    """So that ids which are made of paths, and change with them, choose nothing."""
    by_text = Measures(RULES, SETS, ("words",), sample_by=("text",))
    rows = [{**one, "text": f"text {at}"} for at, one in enumerate(ROWS)]
    moved = [{**one, "id": f"elsewhere/{at % 7}#{at}"} for at, one in enumerate(rows)]
    texts = [{one["id"]: one["text"] for one in some} for some in (rows, moved)]
    chosen = [
        {
            domain: [text_of[example["id"]] for example in row["examples"]]
            for domain, row in by_domain(domain_table(statistics_of(some, by_text), by_text)).items()
        }
        for some, text_of in zip((rows, moved), texts, strict=True)
    ]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]["hot.org"]) == EXAMPLES


def test_languages_beyond_what_there_are_are_told_together() -> None:
    names = [f"{at}" for at in range(MAX_LANGUAGES + 200)] * 2 + ["en"] * 100 + [None] * 3
    rows = [
        {**one, "domain": "odd.org", "language": name} for one, name in zip(made(9999), names, strict=False)
    ]
    random.Random(3).shuffle(rows)
    rows += [{**one, "domain": "even.org"} for one in ROWS[:20]]
    sizes, tables = (7, 300, len(rows)), []
    for size in sizes:
        parts = [statistics_of(rows[at : at + size]) for at in range(0, len(rows), size)]
        tables.append(by_domain(domain_table(merge_statistics(pa.concat_batches(parts), MEASURES), MEASURES)))
    assert tables[0] == tables[1] == tables[2]
    told = {item["language"]: item["documents"] for item in tables[0]["odd.org"]["languages"]}
    assert len(told) == MAX_LANGUAGES + 1
    assert (told["en"], told[None], told["7"]) == (100, 3, 2)
    assert (sum(told.values()), told["other"]) == (len(names), len(names) - 103 - 2 * (MAX_LANGUAGES - 2))
    assert "other" not in {item["language"] for item in tables[0]["even.org"]["languages"]}


def test_why_duplicates_are_not_known_is_told() -> None:
    rows = [{**one, "domain": name} for one, name in zip(ROWS, ["a.org"] * 3 + ["b.org"] * 3, strict=False)]
    known = np.zeros(2, np.bool_)
    whys: list[tuple[list[Row], Any]] = [(rows[:2], "it is gone"), (rows[2:4], known), (rows[4:], known)]
    parts = [partial_statistics(batch_of(some), judged_of(some), MEASURES, why) for some, why in whys]
    table = by_domain(domain_table(merge_statistics(pa.concat_batches(parts), MEASURES), MEASURES))
    assert {name: row["why_unmarked"] for name, row in table.items()} == {
        "a.org": "it is gone",
        "b.org": None,
    }


SAMPLED = Measures(RULES, SETS, ("words",), sample=20)


@pytest.mark.parametrize("rows", [1, 7, 300], ids=lambda rows: f"batches of {rows}")
def test_the_table_does_not_depend_on_batches(rows: int) -> None:
    parts = [statistics_of(ROWS[start : start + rows], SAMPLED) for start in range(0, len(ROWS), rows)]
    merged = merge_statistics(pa.concat_batches(parts[::-1]), SAMPLED)
    assert domain_table(merged, SAMPLED).sort_by("domain").to_pylist() == (
        domain_table(statistics_of(ROWS, SAMPLED), SAMPLED).sort_by("domain").to_pylist()
    )


DOCUMENT = st.builds(
    lambda domain, language, failed, words, number: {
        "id": f"d{number}",
        "domain": domain,
        "language": language,
        "date": None,
        "text": "",
        "failed": failed,
        "words": words,
        "lines": 0,
        "duplicate": False,
    },
    st.sampled_from([None, "", "a", "b"]),
    st.sampled_from([None, "en", "de"]),
    st.integers(0, 7),
    st.integers(0, 10**6),
    st.integers(0, 5),
)


@given(st.lists(st.lists(DOCUMENT, min_size=1, max_size=8), min_size=3, max_size=6))
def test_statistics_merge_in_any_order(parts: list[list[Row]]) -> None:
    measures = Measures(RULES, SETS, ("words",), sample=2)
    check_merge(
        partial(merge_statistics, measures=measures), [statistics_of(part, measures) for part in parts]
    )


def test_a_sample_ends_where_a_domain_has_its_share() -> None:
    table = by_domain(domain_table(statistics_of(ROWS, SAMPLED), SAMPLED))
    keys = sample_keys(batch_of(ROWS), ("id",))[0].tolist()
    for domain, row in table.items():
        mine = sorted(key for key, one in zip(keys, ROWS, strict=True) if one["domain"] == domain)
        assert row["cut_key"] == (mine[19] if len(mine) > 20 else None)


def test_no_documents_make_no_rows() -> None:
    assert statistics_of([]).equals(pa.RecordBatch.from_pylist([], schema=STATISTIC))
    assert domain_table(statistics_of([]), MEASURES).schema == table_schema(MEASURES)


def test_columns_that_documents_lack_are_empty() -> None:
    rows = made(20)
    batch = batch_of(rows).select(["domain", "text"])
    measures = Measures((), (), ())
    none = pa.record_batch({FAILED_BITS: pa.array([0] * 20, pa.int64())})
    for row in domain_table(partial_statistics(batch, none, measures), measures).to_pylist():
        assert (row["first_date"], row["languages"], row["failures"], row["examples"]) == (None, [], [], [])
        assert row["documents"] == sum(one["domain"] == row["domain"] for one in rows)


WRONG = {
    "too many rules": {"rules": tuple(f"s.min_{n}" for n in range(MAX_RULES + 1))},
    "no sample": {"sample": 0},
    "a sample by nothing": {"sample": 1, "sample_by": ()},
}


@pytest.mark.parametrize("given_", WRONG.values(), ids=WRONG)
def test_measures_are_checked_where_they_are_made(given_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="rules, got 64|a sample has 1 document or more"):
        Measures(**{"rules": RULES, "rule_sets": (), "signals": (), **given_})
