"""DeduplicateWindows on streams: equal to windows one after another, in any order of arrival."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import pytest

from beam_etl import schema
from beam_etl.kernels.banding import Banding
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.ordering import number_documents
from beam_etl.kernels.windows import WindowSpec
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.dedup_windows import DeduplicateWindows
from beam_etl.transforms.windows import AddWindows, AssignWindows
from tests.duplicates import Document, families
from tests.streams import MINUTE, Arrival, Event, documents, micros, play, with_clocks
from tests.windowed_duplicates import Buckets, Decided, decide_windows, equal_buckets, near_buckets

SIZE = 10 * MINUTE
SPEC = WindowSpec(size=SIZE, period=SIZE)
NEAR = NearRule(banding=Banding(bands=8, rows=4), ngram=2)
Removals = list[dict[str, Any]]


def batch_of(rows: Sequence[Document]) -> Any:
    return documents(
        [row["time"] for row in rows],
        id=[row["id"] for row in rows],
        text=[row["text"] for row in rows],
        url=[row["url"] for row in rows],
    )


def made(count: int, windows: int, seed: int) -> list[Document]:
    """Families of near-duplicates, spread over windows."""
    source = random.Random(seed)
    rows = [row for row in families(count, seed, words=40) if row["text"] is not None]
    return [
        {
            "id": row["id"],
            "text": row["text"],
            "time": source.randrange(windows * SIZE // 1000) * 1000,
            "url": source.choice([f"u{source.randrange(30)}", None]),
        }
        for row in rows
    ]


def arrive(rows: Sequence[Document], disorder: int, seed: int) -> list[Event]:
    """The rows in an order that is at most so far from that of their times, in batches of any size, of two splits."""
    source = random.Random(seed)
    late = {row["id"]: row["time"] + source.randrange(disorder + 1) for row in rows}
    rows = sorted(rows, key=lambda row: late[row["id"]])
    arrivals, start = [], 0
    while start < len(rows):
        stop = start + source.randint(1, 25)
        arrivals.append(Arrival(batch_of(rows[start:stop]), source.randrange(2)))
        start = stop
    return with_clocks(arrivals, disorder)


def decided(rows: Sequence[Document], events: list[Event], **how: Any) -> tuple[Decided, Removals]:
    """What a stream gives, in the form of the oracle. Fails where a document is in two places, or in none."""

    def build(stream: Batches) -> dict[str, beam.PCollection[Any]]:
        assigned = stream | "Windows" >> AssignWindows(spec=SPEC)
        done = assigned.documents | "Deduplicate" >> DeduplicateWindows(**how)
        tables = {
            name: getattr(done, name) | f"Window of {name}" >> AddWindows()
            for name in ("documents", "removals", "clusters", "cluster_sizes")
        }
        return {**tables, "failures": done.failures, "rejects": assigned.rejects}

    found = play(events, build)
    assert not found["failures"]
    assert not found["rejects"]
    kept = {row["id"]: micros(row[schema.WINDOW_END]) for row in found["documents"]}
    removed = {row["id"]: (micros(row[schema.WINDOW_END]), row["survivor_id"]) for row in found["removals"]}
    assert sorted(
        [row["id"] for row in found["documents"]] + [row["id"] for row in found["removals"]]
    ) == sorted(row["id"] for row in rows)
    texts = {row["id"]: row["text"] for row in rows}
    assert {row["id"]: row["text"] for row in found["documents"]} == {name: texts[name] for name in kept}
    assert sum(row["removed"] for row in found["cluster_sizes"]) == len(removed)
    return Decided(kept, removed), sorted(found["removals"], key=lambda row: row["id"])


def number(row: Document) -> int:
    """A hash of id, time and text."""
    address: int = number_documents(batch_of([row]), "id").column(schema.ADDRESS)[0].as_py()
    return address


Case = tuple[dict[str, Any], Buckets, Callable[[Document], Any]]
CASES: dict[str, Case] = {
    "near": ({"rule": NEAR}, near_buckets(NEAR), lambda row: 0),
    "near, longest": (
        {"rule": NEAR, "keep": Keep.parse("longest")},
        near_buckets(NEAR),
        lambda row: -len(row["text"]),
    ),
    "exact": ({"rule": ExactRule()}, equal_buckets("text"), lambda row: 0),
    "url, newest": (
        {"rule": ExactRule(key=("url",)), "keep": Keep.parse("newest")},
        equal_buckets("url"),
        lambda row: -row["time"],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("remember", [25 * MINUTE, 7 * 24 * 60 * MINUTE], ids=["25m", "7d"])
def test_a_stream_is_windows_one_after_another(case: Case, remember: int) -> None:
    how, buckets, worth = case
    rows = made(6, windows=8, seed=4)
    expected = decide_windows(rows, buckets, size=SIZE, remember=remember, number=number, worth=worth)
    told = None
    for seed in range(2):
        events = arrive(rows, disorder=seed * 15 * MINUTE, seed=seed)
        found, removals = decided(rows, events, remember=remember, shards=3, **how)
        assert found == expected
        assert told in (None, removals)
        told = removals
