"""The whole search in one process: what is decided, beside datasketch and plain Python."""

import math
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.banding import Banding
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.in_place import exact_decisions, near_decisions
from beam_etl.kernels.keeping import Keep
from beam_etl.testing import sorted_rows
from tests.duplicates import (
    Document,
    batch_of,
    batches_of,
    clusters_of,
    families,
    minima,
    near_clusters,
    similarity,
    survivors,
)

DOCUMENTS = families(12)
BY_NODE = {row["address"]: row for row in DOCUMENTS}
LOOSE = Banding(bands=20, rows=4)

RULES = {
    "default": NearRule(),
    "loose bands": NearRule(banding=LOOSE, seed=3),
    "threshold": NearRule(banding=LOOSE, threshold=0.7),
    "high threshold": NearRule(banding=LOOSE, threshold=0.95),
    "within": NearRule(within="domain"),
    "threshold within": NearRule(banding=LOOSE, threshold=0.6, within="domain"),
    "long shingles": NearRule(ngram=64, threshold=0.5),
    "many permutations": NearRule(banding=Banding(bands=50, rows=5), threshold=0.8),
}


def score(row: Document) -> float:
    """A score to be small in; what isn't known is last."""
    return math.inf if row["score"] is None or math.isnan(row["score"]) else row["score"]


KEEPS: dict[str, Callable[[Document], Any]] = {
    "first": lambda row: 0,
    "longest": lambda row: -len(row["text"]),
    "shortest": lambda row: len(row["text"]),
    "min:score": score,
    "max:score": lambda row: math.inf if score(row) == math.inf else -score(row),
}


def decide(documents: list[pa.RecordBatch], rule: NearRule, keep: str = "first") -> list[dict[str, Any]]:
    return [row for batch in near_decisions(documents, rule, Keep.parse(keep)) for row in batch.to_pylist()]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_clusters_are_those_of_datasketch_and_plain_python(rule: NearRule) -> None:
    expected = near_clusters(DOCUMENTS, rule)
    assert len(expected) > 20
    assert clusters_of(near_decisions([batch_of(DOCUMENTS)], rule, Keep())) == expected


def test_clusters_of_real_documents_are_those_of_datasketch(webtext: list[Document]) -> None:
    rows = [row | {"address": number, "score": None} for number, row in enumerate(webtext[:800])]
    expected = near_clusters(rows, NearRule())
    assert len(expected) > 20
    assert clusters_of(near_decisions(batches_of(rows, 300), NearRule(), Keep())) == expected


@pytest.mark.parametrize("rule", [RULES["default"], RULES["threshold within"]], ids=["near", "verified"])
@pytest.mark.parametrize("keep", KEEPS)
def test_the_best_document_stays(keep: str, rule: NearRule) -> None:
    worth = KEEPS[keep]
    expected = survivors(near_clusters(DOCUMENTS, rule), lambda node: worth(BY_NODE[node]))
    found = decide([batch_of(DOCUMENTS)], rule, keep)
    assert {row["node"]: row["survivor"] for row in found} == expected


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("keep", ["first", "max:score"])
def test_decisions_do_not_depend_on_batches_and_order(keep: str, rule: NearRule) -> None:
    expected = sorted_rows(pa.concat_batches(near_decisions([batch_of(DOCUMENTS)], rule, Keep.parse(keep))))
    for seed, size in ((1, 1), (2, 17), (3, 1000)):
        rows = random.Random(seed).sample(DOCUMENTS, len(DOCUMENTS))
        found = near_decisions(batches_of(rows, size), rule, Keep.parse(keep))
        assert sorted_rows(pa.concat_batches(found)) == expected


def test_similarity_is_told_of_verified_pairs_alone() -> None:
    rule = RULES["threshold"]
    mins = dict(zip(BY_NODE, minima([row["text"] for row in DOCUMENTS], rule), strict=True))
    for row in decide([batch_of(DOCUMENTS)], rule, "longest"):
        alike = BY_NODE[row["node"]]["text"] == BY_NODE[row["survivor"]]["text"]
        expected = 1.0 if alike else similarity(mins[row["node"]], mins[row["survivor"]])
        assert row["similarity"] == pytest.approx(expected, abs=1e-6)
    for keep in ("first", "longest"):
        assert {row["similarity"] for row in decide([batch_of(DOCUMENTS)], RULES["default"], keep)} == {None}


def documents(*texts: str | None, **columns: list[Any]) -> list[Document]:
    rows: list[Document] = [
        {"address": place, "id": None, "domain": None, "score": None, "text": text}
        for place, text in enumerate(texts)
    ]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


LONG = " ".join(f"word{number}" for number in range(40))

PAIRS = {
    "empty ones are never duplicates": (documents("", "", None, None), NearRule(), []),
    "short ones are compared by their bytes": (
        documents("one two", "one two", "One two", "one two "),
        NearRule(),
        [{0, 1}],
    ),
    "long ones by their words": (documents(LONG, LONG.upper(), LONG + " !"), NearRule(), [{0, 1, 2}]),
    "texts without words are short": (documents("!!!", "!!!", "???"), NearRule(), [{0, 1}]),
    "a shingle of one word": (documents("one", "one", "ONE", "two"), NearRule(ngram=1), [{0, 1, 2}]),
    "nulls are a place of their own": (
        documents(LONG, LONG, LONG, LONG, domain=[None, "a", None, "a"]),
        NearRule(within="domain"),
        [{0, 2}, {1, 3}],
    ),
    "short texts keep to their place": (
        documents("a b", "a b", "a b", "a b", domain=[None, "a", "", None]),
        NearRule(within="domain"),
        [{0, 3}],
    ),
    "NaNs are a place of their own": (
        documents(LONG, LONG, LONG, score=[float("nan"), 1.0, float("nan")]),
        NearRule(within="score"),
        [{0, 2}],
    ),
    "one document": (documents(LONG), NearRule(), []),
    "no document": ([], NearRule(), []),
}


@pytest.mark.parametrize("threshold", [None, 0.8], ids=["near", "verified"])
@pytest.mark.parametrize(("rows", "rule", "expected"), PAIRS.values(), ids=PAIRS)
def test_small_cases(
    rows: list[Document], rule: NearRule, expected: list[set[int]], threshold: float | None
) -> None:
    rule = NearRule(ngram=rule.ngram, within=rule.within, threshold=threshold)
    for keep in ("first", "shortest"):
        found = clusters_of(near_decisions([batch_of(rows)], rule, Keep.parse(keep)))
        assert sorted(map(sorted, {id(nodes): nodes for nodes in found.values()}.values())) == [
            sorted(nodes) for nodes in expected
        ]


@pytest.mark.parametrize("threshold", [None, 0.8], ids=["near", "verified"])
def test_no_batches_give_no_decisions(threshold: float | None) -> None:
    assert list(near_decisions([], NearRule(threshold=threshold), Keep())) == []
    assert list(exact_decisions([], ExactRule(), Keep())) == []


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if not rule.within], ids=repr)
def test_the_band_is_the_first_that_the_document_shares(rule: NearRule) -> None:
    """Of verified ones it is one that is shared: which links hold depends on the stars."""
    height = rule.banding.rows
    mins = dict(zip(BY_NODE, minima([row["text"] for row in DOCUMENTS], rule), strict=True))
    for row in decide([batch_of(DOCUMENTS)], rule):
        own, shared = mins[row["node"]], []
        for band in range(rule.banding.bands):
            edge = slice(band * height, (band + 1) * height)
            if own and sum(other is not None and own[edge] == other[edge] for other in mins.values()) > 1:
                shared.append(band)
        if rule.threshold is None:
            assert row["band"] == (shared[0] if own else schema.NO_BAND)
        else:
            assert row["band"] in (shared or [schema.NO_BAND])


@pytest.mark.parametrize("keep", KEEPS)
def test_exact_duplicates_are_those_of_a_dict(keep: str) -> None:
    groups: dict[str, list[int]] = {}
    for row in DOCUMENTS:
        if row["text"]:
            groups.setdefault(row["text"], []).append(row["address"])
    expected = {node: set(nodes) for nodes in groups.values() if len(nodes) > 1 for node in nodes}
    assert len(expected) > 20
    chosen = Keep.parse(keep)
    for seed, size in ((1, 1), (2, 17), (3, 1000)):
        rows = random.Random(seed).sample(DOCUMENTS, len(DOCUMENTS))
        found = list(exact_decisions(batches_of(rows, size), ExactRule(), chosen))
        assert clusters_of(found) == expected
        assert {row["node"]: row["survivor"] for batch in found for row in batch.to_pylist()} == survivors(
            expected, lambda node: KEEPS[keep](BY_NODE[node])
        )
