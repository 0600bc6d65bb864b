"""The score is the formula, and a block's bound is never below the score of one of its documents, in the last bit."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from beam_etl.kernels.bm25 import Bm25

PARAMETERS = [(1.2, 0.75), (0.0, 0.75), (0.9, 0.4), (5.0, 1.0), (2.0, 0.0), (1e-9, 0.3), (1e300, 0.5)]


@pytest.mark.parametrize(("k1", "b"), PARAMETERS)
def test_a_score_is_the_formula(k1: float, b: float) -> None:
    draw = random.Random(1)
    formula = Bm25(1000, 83.2, k1, b)
    for _ in range(300):
        frequency, length, n = draw.randrange(1, 50), draw.randrange(1, 500), draw.randrange(1001)
        idf = math.log(1 + (1000 - n + 0.5) / (n + 0.5))
        norm = Fraction(k1) * (1 - Fraction(b) + Fraction(b) * length / Fraction(83.2))
        exact = float(Fraction(idf) * 2 * frequency / (frequency + norm))
        weight = formula.weight([n], 2)
        (score,) = formula.scores(weight, np.array([frequency], np.uint32), np.array([length], np.uint32))
        assert score == pytest.approx(exact, rel=1e-12, abs=weight * 1e-15)


def test_the_idf_of_a_phrase_is_the_sum_of_its_words() -> None:
    formula = Bm25(100, 10.0)
    assert formula.weight([3, 7, 3], 2) == 2 * (formula.idf(3) + formula.idf(7) + formula.idf(3))
    assert min(formula.idf(n) for n in range(101)) > 0


@pytest.mark.parametrize(("k1", "b"), PARAMETERS)
def test_a_bound_is_not_below_any_score(k1: float, b: float) -> None:
    """Of pairs that are as good or better: neighbours, where rounding decides, and far ones."""
    draw = np.random.default_rng(2)
    size = 100_000
    formula = Bm25(12345, 97.3, k1, b)
    weight = formula.weight([17], 1)
    frequencies = draw.integers(1, 1 << draw.integers(1, 31, size), size).astype(np.uint32)
    lengths = draw.integers(2, 1 << draw.integers(2, 31, size), size).astype(np.uint32)
    scores = formula.scores(weight, frequencies, lengths)
    for more, less in ((1, 0), (0, 1), (1, 1)):
        better = formula.scores(weight, frequencies + np.uint32(more), lengths - np.uint32(less))
        assert (better >= scores).all()
    assert (scores >= 0).all()


def test_bounds_are_of_each_block() -> None:
    formula = Bm25(100, 10.0)
    frequencies, lengths = np.array([1, 5, 2], np.uint32), np.array([4, 90, 7], np.uint32)
    scores = formula.scores(1.0, frequencies, lengths)
    bounds = formula.bounds(1.0, np.array([0, 2, 3]), frequencies, lengths)
    assert bounds.tolist() == [max(scores[:2]), scores[2]]
    assert formula.bounds(1.0, np.zeros(1, np.int64), frequencies[:0], lengths[:0]).size == 0


@pytest.mark.parametrize(
    ("k1", "b", "message"),
    [
        (-1, 0.5, "k1 must be at least 0"),
        (math.inf, 0.5, "finite"),
        (math.nan, 0.5, "k1"),
        (1, 1.1, "b must be"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(k1: float, b: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bm25(1, 1.0, k1, b)
