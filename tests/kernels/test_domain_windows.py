import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.domain_score import ScoreRule
from beam_etl.kernels.domain_windows import FORGOTTEN, scores_by_window
from tests.streams import MINUTE

RULE = ScoreRule(weights=(("fineweb", 2.0), ("c4", 1.0)), prior=10.0, confidence=1.645)
PERIOD = 10 * MINUTE

Counts = dict[str | None, tuple[int, int, int]]
"""Documents of each domain, and those that fail fineweb and c4."""


def table(window: int, counts: Counts) -> pa.RecordBatch:
    start, rows = window * PERIOD, len(counts)
    bounds = [pa.array([time] * rows, schema.UTC_TIME) for time in (start, start + PERIOD)]
    numbers = np.array(list(counts.values())).T
    names = [*schema.WINDOW.names, schema.DOMAIN, "documents", "fineweb_failed", "c4_failed"]
    return pa.record_batch(
        [*bounds, pa.array(list(counts), pa.string()), *map(pa.array, numbers)], names=names
    )


def windows_in_order(tables: dict[int, Counts], decay: float) -> dict[tuple[int, str | None], float]:
    """Scores by plain arithmetic: all windows one after another, empty ones too."""
    kept: dict[str | None, list[float]] = {}
    scores: dict[tuple[int, str | None], float] = {}
    for window in range(min(tables), max(tables) + 1):
        kept = {domain: [decay * count for count in counts] for domain, counts in kept.items()}
        for domain, counts in tables.get(window, {}).items():
            before = kept.setdefault(domain, [0.0, 0.0, 0.0])
            kept[domain] = [was + count for was, count in zip(before, counts, strict=True)]
        if window not in tables:
            continue
        kept = {domain: counts for domain, counts in kept.items() if counts[0] >= FORGOTTEN}
        total = [math.fsum(column) for column in zip(*kept.values(), strict=True)]
        for domain, (documents, *failed) in kept.items():
            score = 0.0
            for (_, weight), fails, all_fails in zip(RULE.weights, failed, total[1:], strict=True):
                mean = (total[0] - all_fails + 1) / (total[0] + 2)
                rate = (documents - fails + RULE.prior * mean) / (documents + RULE.prior)
                deviation = math.sqrt(rate * (1 - rate) / (documents + RULE.prior + 1))
                score += weight * max(0.0, rate - RULE.confidence * deviation) / 3
            scores[window, domain] = score
    return scores


def found(tables: dict[int, Counts], decay: float) -> dict[tuple[int, str | None], float]:
    batches = scores_by_window((table(*pair) for pair in tables.items()), RULE, PERIOD, decay)
    rows: list[dict[str, Any]] = [row for batch in batches for row in batch.to_pylist()]
    return {
        (round(row["window_start"].timestamp() * 10**6) // PERIOD, row["domain"]): row["score"]
        for row in rows
    }


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_scores_are_those_of_windows_one_after_another(decay: float) -> None:
    random = np.random.default_rng(2)
    tables: dict[int, Counts] = {}
    for window in (0, 1, 2, 5, 6, 30):
        names = [f"{name}.example" for name in random.choice(20, 8, replace=False)] + [None]
        documents = random.integers(1, 50, len(names))
        failed = random.integers(0, documents + 1, (2, len(names)))
        tables[window] = dict(
            zip(names, zip(*np.stack([documents, *failed]).tolist(), strict=True), strict=True)
        )
    expected = windows_in_order(tables, decay)
    scores = found(tables, decay)
    assert scores.keys() == expected.keys()
    assert scores == pytest.approx(expected, abs=1.1e-6)  # they are rounded down to a millionth


def test_a_domain_that_is_seen_no_more_is_forgotten() -> None:
    tables: dict[int, Counts] = {window: {"new.example": (10, 1, 1)} for window in range(1, 20)}
    scores = found({0: {"old.example": (10, 1, 1)}, **tables}, decay=0.5)
    assert [window for window, domain in scores if domain == "old.example"] == list(range(10))


def test_windows_out_of_order_are_refused() -> None:
    one: Counts = {"a.example": (1, 0, 0)}
    with pytest.raises(ValueError, match="windows come in order"):
        found({1: one, 0: one}, decay=0.5)
    with pytest.raises(ValueError, match="decay=1"):
        found({0: one}, decay=1)
