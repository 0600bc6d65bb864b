"""Real documents of which every similar pair is known: what is found, beside what ought to be."""

import gzip
import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest

from beam_etl.kernels.banding import Banding, buckets, choose_banding
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.in_place import near_decisions
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.minhash import Permutations, permutations, signatures
from beam_etl.kernels.similarity import estimate_pairs, low_bytes
from beam_etl.kernels.text import words

NGRAM, NUM_PERM, SEEDS = 5, 128, 20
BIN, LEAST_PAIRS, STANDARD_ERRORS = 0.05, 100, 3
ROUNDING = 1e-9

pytestmark = pytest.mark.slow
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """Documents, the pairs that the set lists, and the Jaccard similarity it gives them."""

    text: pa.LargeStringArray
    first: Rows
    second: Rows
    listed: npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def known(shared: Path) -> Known:
    folder = shared / "data/neardup/debdocs"
    with gzip.open(folder / "docs.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    number = {document["id"]: row for row, document in enumerate(documents)}
    pairs = pl.read_csv(folder / "pairs_jaccard_w5_ge0.3.tsv.gz", separator="\t")
    first, second = (pairs[name].replace_strict(number).to_numpy() for name in ("id_a", "id_b"))
    text = pa.array([document["text"] for document in documents], pa.large_string())
    return Known(text, first, second, pairs["jaccard_word5"].to_numpy())


class Jaccard:
    """Exact similarities. A shingle is told from others by 64 bits made of its words' numbers."""

    def __init__(self, text: pa.Array, rule: str) -> None:
        found = words(text, rule)
        numbers = found.values.dictionary_encode().indices.to_numpy().astype(np.uint64)
        factors = np.random.default_rng(1).integers(0, 2**63, NGRAM, dtype=np.uint64) * np.uint64(
            2
        ) + np.uint64(1)
        size = max(0, numbers.size - NGRAM + 1)
        mixed = np.zeros(size, np.uint64)
        for step, factor in enumerate(factors):
            mixed = (mixed ^ mixed >> np.uint64(31)) * factor + numbers[step : step + size]
        edges = found.offsets.to_numpy()
        self._sets = [np.unique(mixed[begin : max(begin, end - NGRAM + 1)]) for begin, end in pairwise(edges)]

    def __call__(self, first: Rows, second: Rows) -> npt.NDArray[np.float64]:
        return np.array([self._one(*pair) for pair in zip(first, second, strict=True)])

    def _one(self, first: int, second: int) -> float:
        one, other = self._sets[first], self._sets[second]
        common = np.intersect1d(one, other, assume_unique=True).size
        return common / (one.size + other.size - common)


@pytest.fixture(scope="module")
def jaccard(known: Known) -> Jaccard:
    """Over our words. They are the set's but for scripts without spaces, where a character is a word."""
    return Jaccard(known.text, "words")


def test_exact_similarities_over_the_words_of_the_set_are_those_it_lists(known: Known) -> None:
    exact = Jaccard(known.text, "python")(known.first, known.second)
    assert exact == pytest.approx(known.listed, abs=1e-6)


def found_by_seed(known: Known, banding: Banding) -> npt.NDArray[np.bool_]:
    """bool[seeds, pairs]: whether a pair shares a bucket. The words of a text are split once for all seeds."""
    each = [permutations(NUM_PERM, seed) for seed in range(1, SEEDS + 1)]
    every = Permutations(
        np.concatenate([chosen.a for chosen in each]), np.concatenate([chosen.b for chosen in each])
    )
    mins = signatures(known.text, NGRAM, every).mins
    found = []
    for seed in range(SEEDS):
        codes = buckets(mins[:, seed * NUM_PERM : (seed + 1) * NUM_PERM], banding)
        found.append((codes[known.first] == codes[known.second]).any(axis=1))
    return np.array(found)


def test_pairs_are_found_as_often_as_the_curve_says(known: Known, jaccard: Jaccard) -> None:
    banding = Banding()
    exact = jaccard(known.first, known.second)
    curve = 1 - (1 - exact**banding.rows) ** banding.bands
    found = found_by_seed(known, banding)
    bins = np.floor(exact / BIN + 1e-9).astype(np.int64)
    lines, off = [], []
    for number in np.flatnonzero(np.bincount(bins) >= LEAST_PAIRS):
        here = bins == number
        shares, expected = found[:, here].mean(axis=1), curve[here]
        mean, error = shares.mean(), shares.std(ddof=1) / np.sqrt(SEEDS)
        # Where hardly a pair is missed in any seed, the spread of the seeds says too little.
        least = np.sqrt((expected * (1 - expected)).mean() / (here.sum() * SEEDS))
        label = f"{number * BIN:.2f} to {(number + 1) * BIN:.2f}" if number * BIN < 1 else "1"
        lines.append(f"| {label} | {here.sum():,} | {expected.mean():.4f} | {mean:.4f} | {error:.4f} |")
        if abs(mean - expected.mean()) > STANDARD_ERRORS * max(error, least) + ROUNDING:
            off.append(label)
    show("| Jaccard | pairs | expected | found | standard error |", "|---|---|---|---|---|", *lines)
    assert len(lines) >= 10
    assert not off


def show(*lines: str) -> None:
    """For people, who see it with `pytest -s`."""
    sys.stdout.write("\n".join(["", *lines, ""]))


def candidates(mins: npt.NDArray[np.uint32], banding: Banding) -> tuple[Rows, Rows]:
    """Every pair of rows that share a bucket, once."""
    codes = buckets(mins, banding)
    row = np.repeat(np.arange(len(codes)), banding.bands)
    table = pl.DataFrame({"bucket": codes.reshape(-1), "row": row}).lazy()
    pairs = table.join(table, on="bucket").filter(pl.col("row") < pl.col("row_right"))
    found = pairs.select("row", "row_right").unique().collect()
    return found["row"].to_numpy(), found["row_right"].to_numpy()


def test_a_threshold_finds_what_is_similar_and_little_else(known: Known, jaccard: Jaccard) -> None:
    threshold = 0.8
    mins = signatures(known.text, NGRAM, permutations(NUM_PERM, 1)).mins
    banding = choose_banding(threshold, NUM_PERM)
    codes = buckets(mins, banding)
    similar = jaccard(known.first, known.second) >= 0.85
    found = (codes[known.first] == codes[known.second]).any(axis=1)
    recall = found[similar].mean()
    first, second = candidates(mins, banding)
    low = np.frombuffer(low_bytes(mins).buffers()[1], np.uint8)
    verified = estimate_pairs(low, NUM_PERM, first, second) >= threshold
    right = (jaccard(first[verified], second[verified]) >= 0.7).mean()
    show(
        f"recall at 0.85: {recall:.4f} of {similar.sum():,}; candidates: {first.size:,}",
        f"verified: {verified.sum():,}, of which at least 0.7: {right:.4f}",
    )
    assert recall >= 0.97
    assert right >= 0.97


EXACT_CLUSTERS = {0.7: (1953, 4593), 0.8: (1955, 4242)}
"""What the set says of itself: clusters by pairs of at least this similarity, and documents to remove from them."""


@pytest.mark.parametrize(
    ("at", "rule"),
    [(0.7, NearRule()), (0.8, NearRule(banding=choose_banding(0.8), threshold=0.8))],
    ids=["default bands", "threshold"],
)
def test_clusters_are_about_as_many_as_the_exact_ones(known: Known, at: float, rule: NearRule) -> None:
    address = pa.array(np.arange(len(known.text), dtype=np.uint64))
    documents = pa.RecordBatch.from_pydict({"address": address, "text": known.text})
    decisions = pa.concat_batches(near_decisions([documents], rule, Keep()))
    clusters = len(decisions["cluster"].unique())
    removed = decisions.num_rows - clusters
    exact_clusters, exact_removed = EXACT_CLUSTERS[at]
    show(
        f"{rule.banding}, threshold {rule.threshold}: {clusters:,} clusters, {removed:,} removed; "
        f"exactly, at {at}: {exact_clusters:,} and {exact_removed:,}"
    )
    assert clusters == pytest.approx(exact_clusters, rel=0.05)
    assert removed == pytest.approx(exact_removed, rel=0.05)
