"""ScoreDomains and JoinDomainScores in pipelines of one's own."""

from collections.abc import Callable
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import JoinDomainScores, ScoreDomains, Shuffle, UnbatchRows
from beam_etl.kernels.domain_score import (
    as_written,
    corpus_totals,
    rank_domains,
    score_domains,
    score_units,
)
from beam_etl.testing import check_kernel
from beam_etl.transforms.batches import Batches, split_batch
from beam_etl.transforms.score_table import ScoredDomains
from tests.beam import counters, run

PROSE = "The cat that sat on the mat was of the kind that people like to have with them. " * 4
ROWS = 600


def documents(hot: int) -> pa.RecordBatch:
    """One document in `hot` is of one domain; some texts are null."""
    return pa.record_batch(
        {
            "id": [f"d{number}" for number in range(ROWS)],
            "domain": [
                "hot.org" if number % hot == 0 else f"site{number % 40}.org" for number in range(ROWS)
            ],
            "text": pa.array(
                [None if n % 97 == 0 else f"{PROSE}{n}." if n % 4 else f"no {n}" for n in range(ROWS)],
                pa.large_string(),
            ),
        }
    )


def batches_of(pipeline: beam.Pipeline, rows: int = 50, hot: int = 3) -> Batches:
    return pipeline | beam.Create(list(split_batch(documents(hot), rows=rows)), reshuffle=False)


def score(documents: Batches, **how: Any) -> ScoredDomains:
    return documents | ScoreDomains(**how)


def shown(domains: Batches) -> beam.PCollection[str]:
    return domains | "Rows" >> UnbatchRows() | "Show" >> beam.Map(repr)


@pytest.fixture(scope="module")
def expected() -> list[str]:
    """The rows that kernels make of one batch, which their own tests compare with a database."""
    scoring = ScoreDomains()
    (table,) = scoring.count.in_place([documents(3)])
    scored = score_domains(table, corpus_totals(table, scoring.rule), scoring.rule)
    units, counts = np.unique(score_units(scored), return_counts=True)
    return list(map(repr, as_written(rank_domains(scored, units, counts)).to_pylist()))


SCORED: dict[str, Callable[[beam.Pipeline], Batches]] = {
    "small batches": lambda pipeline: score(batches_of(pipeline, 7)).domains,
    "many partitions": lambda pipeline: score(batches_of(pipeline), partitions=13).domains,
    "partitioned": lambda pipeline: (
        score(batches_of(pipeline) | Shuffle(by=("domain",), partitions=5), partitioned=True).domains
    ),
}


@pytest.mark.parametrize("make", SCORED.values(), ids=SCORED)
def test_domains_have_the_same_rows_whatever_batches_and_partitions(
    make: Callable[[beam.Pipeline], Batches], expected: list[str]
) -> None:
    with run() as pipeline:
        assert_that(shown(make(pipeline)), equal_to(expected))


@pytest.mark.parametrize("hot", [3, ROWS], ids=["a third in one domain", "uniform"])
def test_a_domain_crosses_as_one_set_of_counts_a_bundle(hot: int) -> None:
    """Its rows are bounded by what is counted, not by its documents."""
    pipeline = run()
    batches_of(pipeline, hot=hot) | "Score" >> ScoreDomains(signals=("words",))
    crossed = counters(pipeline, "Score/Sum/Combine in bundle")["rows_out"]
    assert crossed < 41 * 40


def test_counting_is_a_kernel_that_travels() -> None:
    check_kernel(ScoreDomains(sample=3).count, documents(3).slice(0, 60), row_wise=False)


def test_null_texts_are_no_documents_and_keep_their_rows() -> None:
    with run() as pipeline:
        some = batches_of(pipeline)
        scored = some | ScoreDomains()
        counted = scored.domains | UnbatchRows() | "Documents" >> beam.Map(lambda row: row["documents"])
        total = counted | beam.combiners.ToList() | beam.Map(sum)
        assert_that(total, equal_to([ROWS - len(range(0, ROWS, 97))]))
        joined = {"documents": some, "scores": scored.scores} | JoinDomainScores()
        ids = joined.documents | "All" >> UnbatchRows() | beam.Map(lambda row: row["id"])
        assert_that(ids, equal_to([f"d{n}" for n in range(ROWS)]), label="documents")


@pytest.mark.parametrize("way", ["auto", "broadcast", "shuffle"])
def test_documents_of_bad_domains_go_and_a_sample_of_the_others_stays(way: str) -> None:
    def check(kept: list[dict[str, Any]]) -> None:
        by_domain: dict[str, int] = {}
        for row in kept:
            assert row["domain_score"] >= 0.5
            by_domain[row["domain"]] = by_domain.get(row["domain"], 0) + 1
        assert set(by_domain) == {"hot.org", *(f"site{n}.org" for n in range(40) if n % 4)}
        assert set(by_domain.values()) == {5}

    def check_removed(rows: list[dict[str, Any]]) -> None:
        assert {row["reason"] for row in rows} == {"domain_score", "domain_sample"}
        assert len({row["id"] for row in rows}) == len(rows) == ROWS - 31 * 5

    with run() as pipeline:
        some = batches_of(pipeline)
        scored = some | ScoreDomains(rules=("gopher_quality",), sample=5, confidence=0.0, prior=0.5)
        joined = {"documents": some, "scores": scored.scores} | JoinDomainScores(min_score=0.5, way=way)
        assert_that(joined.documents | "Kept" >> UnbatchRows(), check, label="kept")
        assert_that(joined.removals | "Removed" >> UnbatchRows(), check_removed, label="removed")
        assert_that(joined.failures, equal_to([]), label="failures")


def test_a_domain_in_two_partitions_is_a_failure() -> None:
    def check(failures: list[str]) -> None:
        (told,) = failures
        assert told.startswith("documents without a domain are in several partitions of the input")

    with run() as pipeline:
        batch = documents(3)
        none = batch.set_column(1, "domain", pa.nulls(ROWS, pa.string())).slice(0, 5)
        apart = [(0, [batch, none]), (1, [none])]
        scored = pipeline | beam.Create(apart, reshuffle=False) | ScoreDomains(partitioned=True)
        assert_that(scored.failures, check)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no rules": (lambda: ScoreDomains(rules=()), "no rules to judge documents by"),
    "no such signal": (lambda: ScoreDomains(signals=("length",)), "no signal 'length'; there are bytes"),
    "no such part": (lambda: ScoreDomains(weights={"unique": 1}), "no part 'unique' of a score to weigh"),
    "no such way": (
        lambda: JoinDomainScores(way="magic"),
        "documents are joined by auto, broadcast, shuffle",
    ),
}


@pytest.mark.parametrize(("make", "said"), WRONG.values(), ids=WRONG)
def test_parameters_are_checked_where_it_is_made(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
