from collections import Counter
from typing import Any

import apache_beam as beam
import numpy as np
import pytest

from beam_etl import schema
from beam_etl.kernels.window_text import parse_window
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.late_gate import GateLateRows
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Shuffle
from beam_etl.transforms.windows import AddWindows
from tests.beam import run
from tests.streams import MINUTE, Event, documents, micros, play

STREAMS = {
    "fixed": ("fixed:10m", 0),
    "fixed, lateness": ("fixed:10m", 7 * MINUTE),
    "sliding, lateness": ("sliding:10m:5m", 3 * MINUTE),
}


def gated(events: list[Event], text: str, lateness: int) -> dict[str, list[Any]]:
    """What passes, what of it a grouping behind the gate gets, and what is rejected."""

    def build(batches: Batches) -> dict[str, Any]:
        windowed = batches | GateLateRows(
            spec=parse_window(text, allowed_lateness=lateness, accumulation="discarding")
        )
        grouped = (
            windowed.documents
            | "Group" >> Shuffle(by=(), partitions=1)
            | MapPartitions(kernel=list)
            | "Grouped" >> AddWindows(firings=True)
        )
        return {
            "passed": windowed.documents | "Passed" >> AddWindows(),
            "grouped": grouped,
            "rejects": windowed.rejects,
        }

    return play(events, build)


def pairs(rows: list[dict[str, Any]]) -> Counter[Any]:
    return Counter((row[schema.ID], micros(row[schema.WINDOW_START])) for row in rows)


@pytest.mark.parametrize(("text", "lateness"), STREAMS.values(), ids=STREAMS.keys())
def test_what_passes_is_grouped_and_all_else_is_a_reject(text: str, lateness: int) -> None:
    random = np.random.default_rng(6)
    spec = parse_window(text, allowed_lateness=lateness)
    events, expected, late, watermark = [], Counter[Any](), Counter[Any](), -(10**15)
    for turn in range(14):
        times = np.round(turn * 240 + random.normal(0, 1500, 3), 3) * 10**6
        ids = [f"{turn}.{row}" for row in range(3)]
        events.append(Event(documents(times.astype(int).tolist(), id=ids), None))
        for id, time in zip(ids, times.astype(int).tolist(), strict=True):
            for number in range(spec.newest(time) - spec.size // spec.period + 1, spec.newest(time) + 1):
                start, end = spec.bounds(number)
                taken = end + lateness > watermark
                (expected if taken else late)[id, start] += 1
        if turn % 3 == 0:
            watermark = 4 * turn * MINUTE + 123_000
            events.append(Event(None, watermark))
    found = gated(events, text, lateness)
    assert pairs(found["passed"]) == pairs(found["grouped"]) == expected
    assert len(found["rejects"]) == late.total() > 0


def test_a_first_row_of_a_window_that_is_over_is_a_reject() -> None:
    events = [
        Event(documents([MINUTE], id=["first"]), 1000 * MINUTE),
        Event(documents([501 * MINUTE, 1001 * MINUTE], id=["late", "in time"])),
    ]
    found = gated(events, "fixed:10m", 0)
    assert [row[schema.ID] for row in found["passed"]] == ["first", "in time"]
    assert [row["reason"] for row in found["rejects"]] == [
        "too late for the window that ended at 1970-01-01T08:30:00Z, by the watermark"
    ]


def test_rows_without_a_time_are_rejects() -> None:
    found = gated([Event(documents([None, MINUTE, None]))], "sliding:10m:5m", 0)
    assert [row["reason"] for row in found["rejects"]] == ["null time: no window has it"] * 2
    assert len(found["passed"]) == 2


def test_a_bounded_input_has_nothing_late() -> None:
    with run() as pipeline, pytest.raises(ValueError, match="use AssignWindows"):
        pipeline | beam.Create([documents([0])]) | GateLateRows(spec=parse_window("fixed:10m"))
