"""The formula of the score, and what people rely on of it."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.domain_measures import Measures
from beam_etl.kernels.domain_score import (
    PARTS,
    ScoreRule,
    bounds,
    corpus_parts,
    corpus_totals,
    rank_domains,
    score_domains,
    score_units,
)
from beam_etl.kernels.domain_table import table_schema

SCHEMA = table_schema(Measures((), (("one", ()), ("two", ())), ()))
RULE = ScoreRule((("one", 1.0), ("two", 3.0)))


def table_of(*domains: tuple[int, int, int]) -> pa.RecordBatch:
    """Domains of so many documents, of which so many fail the one set and the other."""
    rows = [
        {"domain": f"d{place}", "documents": documents, "bytes": 0, "duplicates": documents // 2,
         "one_failed": one, "two_failed": two, "failures": [], "languages": [], "examples": []}
        for place, (documents, one, two) in enumerate(domains)
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def scores(*domains: tuple[int, int, int], rule: ScoreRule = RULE) -> list[float]:
    table = table_of(*domains)
    return score_domains(table, corpus_totals(table, rule), rule)["score"].to_pylist()


def by_hand(documents: int, failed: int, total: int, all_failed: int, rule: ScoreRule) -> float:
    mean = (total - all_failed + 1) / (total + 2)
    rate = (documents - failed + rule.prior * mean) / (documents + rule.prior)
    doubt = math.sqrt(rate * (1 - rate) / (documents + rule.prior + 1))
    return max(0.0, rate - rule.confidence * doubt)


DOMAINS = ((3, 0, 0), (1000, 0, 0), (1000, 50, 900), (5, 5, 5), (1, 0, 1), (40, 20, 3))


@pytest.mark.parametrize("rule", [RULE, ScoreRule((("one", 0.5), ("two", 0.0)), 2.5, 0.0)], ids=str)
def test_scores_are_the_documented_formula(rule: ScoreRule) -> None:
    totals = [sum(column) for column in zip(*DOMAINS, strict=True)]
    weights = dict(rule.weights)
    for found, (documents, *failed) in zip(scores(*DOMAINS, rule=rule), DOMAINS, strict=True):
        parts = [
            by_hand(documents, count, totals[0], totals[1 + at], rule) for at, count in enumerate(failed)
        ]
        expected = sum(weight * part for weight, part in zip(weights.values(), parts, strict=True))
        assert found == pytest.approx(expected / sum(weights.values()), abs=1.01e-6)
        assert found == round(found, 6)


def test_three_good_pages_do_not_beat_a_thousand() -> None:
    three, thousand, nearly = scores((3, 0, 0), (1000, 0, 0), (1000, 50, 50))
    assert three < nearly < thousand


def test_where_all_pass_the_larger_domain_is_still_surer() -> None:
    found = scores((1, 0, 0), (3, 0, 0), (100, 0, 0), (10_000, 0, 0))
    assert found == sorted(found)
    assert len(set(found)) == 4


def test_a_domain_of_which_nothing_is_known_is_near_the_corpus() -> None:
    """With one document a domain has the corpus' rate, but for the doubt."""
    table = table_of((1, 0, 0), (10_000, 1000, 2000))
    rate = score_domains(table, corpus_totals(table, RULE), RULE)["one_rate"][0].as_py()
    assert rate == pytest.approx((1 + 10 * 0.9) / 11, abs=1e-3)


COUNT = st.integers(0, 10**7)
RULES = st.builds(
    lambda prior, confidence: ScoreRule((("one", 1.0),), prior, confidence),
    st.floats(0.1, 1000),
    st.floats(0, 5),
)


def bound(passed: int, failed: int, mean: float, rule: ScoreRule) -> float:
    documents = np.array([float(passed + failed)])
    return float(bounds(documents, np.array([float(passed)]), mean, rule)[1][0])


@given(COUNT, COUNT, st.floats(0.0001, 0.9999), RULES)
def test_passing_documents_never_lower_a_score_and_failing_ones_never_raise_it(
    passed: int, failed: int, mean: float, rule: ScoreRule
) -> None:
    here = bound(passed, failed, mean, rule)
    assert 0 <= here <= 1
    assert bound(passed + 1, failed, mean, rule) >= here - 1e-12
    assert bound(passed, failed + 1, mean, rule) <= here + 1e-12


def test_a_part_without_weight_is_shown_and_does_not_count() -> None:
    table = table_of(*DOMAINS)
    rule = ScoreRule((("one", 1.0), ("two", 0.0)))
    scored = score_domains(table, corpus_totals(table, rule), rule)
    assert scored["score"].to_pylist() == scores(*DOMAINS, rule=ScoreRule((("one", 2.0),)))
    assert {"two_rate", "two_bound"} <= set(scored.schema.names)


def test_duplicates_are_a_part_of_their_own() -> None:
    rule = ScoreRule((("unique", 1.0),))
    table = table_of((100, 0, 0), (101, 0, 0))
    assert corpus_totals(table, rule) == (201, 100)
    assert score_domains(table, (201, 100), rule)["unique_rate"].to_pylist()[0] == pytest.approx(
        0.5, abs=0.01
    )


def test_ranks_count_the_better_ones_and_equals_share_them() -> None:
    table = table_of((5, 0, 0), (1, 1, 1), (9, 0, 0), (5, 0, 0))
    scored = score_domains(table, corpus_totals(table, RULE), RULE)
    units, counts = np.unique(score_units(scored), return_counts=True)
    ranked = rank_domains(scored, units, counts)
    assert ranked.select(["rank", "domain"]).to_pylist() == [
        {"rank": rank, "domain": domain} for rank, domain in ((1, "d2"), (2, "d0"), (2, "d3"), (4, "d1"))
    ]
    alone = rank_domains(scored.slice(1, 1), units, counts)
    assert alone["rank"].to_pylist() == [4]


def test_the_corpus_is_told_part_by_part() -> None:
    told = corpus_parts((201, 100, 0), RULE)
    assert told.schema == PARTS
    assert told.to_pylist() == [
        {"part": "one", "weight": 1.0, "documents": 201, "failed": 100, "mean": 102 / 203},
        {"part": "two", "weight": 3.0, "documents": 201, "failed": 0, "mean": 202 / 203},
    ]


WRONG: dict[str, dict[str, Any]] = {
    "no weights": {"weights": ()},
    "no weight above 0": {"weights": (("one", 0.0),)},
    "a negative weight": {"weights": (("one", 2.0), ("two", -1.0))},
    "no number": {"weights": (("one", math.nan),)},
    "a part twice": {"weights": (("one", 1.0), ("one", 1.0))},
    "no prior": {"weights": (("one", 1.0),), "prior": 0.0},
    "negative doubt": {"weights": (("one", 1.0),), "confidence": -1.0},
}


@pytest.mark.parametrize("given_", WRONG.values(), ids=WRONG)
def test_a_rule_is_checked_where_it_is_made(given_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="weights of 0 or more|one weight|needs prior"):
        ScoreRule(**given_)
