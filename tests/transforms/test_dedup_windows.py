"""DeduplicateWindows on streams: equal to windows one after another, in any order of arrival."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
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
from beam_etl.transforms.components_of_windows import ComponentsOfWindows
from beam_etl.transforms.dedup_windows import DeduplicateWindows
from beam_etl.transforms.windows import AddWindows, AssignWindows
from tests.beam import run
from tests.duplicates import Document, batches_of, families
from tests.streams import MINUTE, Arrival, Event, documents, micros, play, with_clocks
from tests.windowed_duplicates import Cluster, Decided, decide_windows, equal, near

SIZE = 10 * MINUTE
WEEK = 7 * 24 * 60 * MINUTE
SPEC = WindowSpec(size=SIZE, period=SIZE)
NEAR = NearRule(banding=Banding(bands=8, rows=4), ngram=2)
LOOSE = NearRule(banding=Banding(bands=32, rows=1), ngram=2)
"""One minimum in common is enough: sets of no common shingle have none, and those of a third all but surely one."""
VERIFIED = NearRule(banding=Banding(bands=12, rows=2), ngram=2, threshold=0.6)


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


def deduplicate(events: list[Event], **how: Any) -> dict[str, list[Any]]:
    def build(stream: Batches) -> dict[str, beam.PCollection[Any]]:
        assigned = stream | "Windows" >> AssignWindows(spec=SPEC)
        done = assigned.documents | "Deduplicate" >> DeduplicateWindows(**how)
        tables = {
            name: getattr(done, name) | f"Window of {name}" >> AddWindows()
            for name in ("documents", "removals", "cluster_sizes")
        }
        return {**tables, "failures": done.failures, "rejects": assigned.rejects}

    return play(events, build)


def decided(rows: Sequence[Document], events: list[Event], **how: Any) -> tuple[Decided, list[Document]]:
    """What a stream gives, in the form of the oracle. Fails where a document is in two places, or in none."""
    found = deduplicate(events, **how)
    assert not found["failures"]
    assert not found["rejects"]
    kept, removals = found["documents"], found["removals"]
    assert sorted(row["id"] for row in (*kept, *removals)) == sorted(row["id"] for row in rows)
    texts = {row["id"]: row["text"] for row in rows}
    assert all(row["text"] == texts[row["id"]] for row in kept)
    assert all(row["bytes"] == len(texts[row["id"]].encode()) for row in removals)
    assert sum(row["removed"] for row in found["cluster_sizes"]) == len(removals)
    of_cluster = Counter((row[schema.WINDOW_END], row["cluster"]) for row in removals)
    assert all(
        of_cluster[row[schema.WINDOW_END], row["cluster"]] + 1 == row["cluster_size"] for row in removals
    )
    ends = {row["id"]: micros(row[schema.WINDOW_END]) for row in (*kept, *removals)}
    removed = {row["id"]: (ends[row["id"]], row["survivor_id"]) for row in removals}
    told = sorted(removals, key=lambda row: str(row["id"]))
    return Decided({row["id"]: ends[row["id"]] for row in kept}, removed), told


def number(row: Document) -> int:
    """A hash of id, time and text."""
    address: int = number_documents(batch_of([row]), "id").column(schema.ADDRESS)[0].as_py()
    return address


Case = tuple[dict[str, Any], Cluster, Callable[[Document], Any]]
LONGEST, NEWEST = Keep.parse("longest"), Keep.parse("newest")
CASES: dict[str, Case] = {
    "near": ({"rule": NEAR}, near(NEAR), lambda row: 0),
    "near, longest": ({"rule": NEAR, "keep": LONGEST}, near(NEAR), lambda row: -len(row["text"])),
    "verified": ({"rule": VERIFIED}, near(VERIFIED), lambda row: 0),
    "exact": ({"rule": ExactRule()}, equal("text"), lambda row: 0),
    "url, newest": (
        {"rule": ExactRule(key=("url",)), "keep": NEWEST},
        equal("url"),
        lambda row: -row["time"],
    ),
}


def check(case: Case, remember: int, rows: list[Document], arrivals: Sequence[tuple[int, int]]) -> None:
    """Each order of arrival, told by a disorder and a seed, gives what the oracle does, and the same removals."""
    how, cluster, worth = case
    expected = decide_windows(rows, cluster, size=SIZE, remember=remember, number=number, worth=worth)
    assert expected.kept
    assert len({end for end, _ in expected.removed.values()}) > 1
    first = None
    for disorder, seed in arrivals:
        found, removals = decided(rows, arrive(rows, disorder, seed), remember=remember, shards=2, **how)
        assert found == expected
        assert first in (None, removals)
        first = removals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "remember"),
    [("near, longest", 25 * MINUTE), ("verified", 25 * MINUTE), ("url, newest", WEEK)],
    ids=str,
)
def test_a_stream_is_windows_one_after_another(name: str, remember: int) -> None:
    check(CASES[name], remember, made(5, windows=6, seed=4), [(15 * MINUTE, 1)])


@pytest.mark.long
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("seed", range(10))
def test_any_order_of_arrival_gives_the_same(case: Case, seed: int) -> None:
    source = random.Random(seed)
    remember = source.choice([MINUTE, 25 * MINUTE, 63 * MINUTE, WEEK])
    arrivals = [(source.choice([0, 2, 15, 200]) * MINUTE, seed) for seed in range(4)]
    check(case, remember, made(8, windows=12, seed=seed), arrivals)


WORDS = [[f"{letter}{number}" for number in range(40)] for letter in "abcdefghijkl"]


def text(topic: int, *others: tuple[int, int, int]) -> str:
    """Words of a topic; in places from a to b those of another one."""
    words = WORDS[topic].copy()
    for a, b, other in others:
        words[a:b] = WORDS[other][a:b]
    return " ".join(words)


def row(id: str, minute: float, content: str) -> Document:
    return {"id": id, "time": int(minute * MINUTE), "text": content, "url": None}


MIXED = text(1, (20, 40, 2))
"""Half like topic 1, half like topic 2, which are nothing like each other."""

STORY = [
    # within a window: the smallest time stays, then the smallest id
    row("b", 1, text(0)),
    row("a", 1, text(0)),
    row("c", 0.5, text(3)),
    row("d", 2, text(3)),
    # two that aren't alike meet through a remembered one
    row("between", 3, MIXED),
    row("left", 11, text(1)),
    row("right", 12, text(2)),
    # a removed one is remembered too, so its likeness goes on
    row("again", 21, text(3)),
    # forgotten: that was seen at 39 and at 71 minutes, and a window sees half an hour
    row("old", 39, text(5)),
    row("new", 71, text(5)),
    row("seen", 72, text(6)),
    row("still seen", 109, text(6)),
    # empty ones are nobody's duplicates
    row("empty", 1, ""),
    row("empty too", 11, ""),
]


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, pytest.param(-1, marks=pytest.mark.long)], ids=["in time", "backwards"])
def test_within_across_and_after_windows(order: int) -> None:
    rows = sorted(STORY, key=lambda document: order * document["time"])
    parts = [Arrival(batch_of(rows[start : start + 3])) for start in range(0, len(rows), 3)]
    events = with_clocks(parts, 0 if order > 0 else 300 * MINUTE)
    found, removals = decided(rows, events, rule=LOOSE, remember=30 * MINUTE, shards=5)
    survivors = {name: survivor for name, (_, survivor) in found.removed.items()}
    assert survivors.pop("again") in ("c", "d")
    assert survivors == {
        "b": "a",
        "d": "c",
        "left": "between",
        "right": "between",
        "still seen": "seen",
    }
    assert {removal["reason"] for removal in removals if removal["id"] in "bd"} == {"exact"}


@pytest.mark.slow
def test_a_document_that_comes_again_is_kept_once() -> None:
    rows = [row("a", 1, text(0)), row("b", 2, text(1))]
    events = with_clocks([Arrival(batch_of(rows)), Arrival(batch_of(rows), 1)], MINUTE)
    found = deduplicate(events, rule=NEAR, shards=2)
    assert sorted(document["id"] for document in found["documents"]) == ["a", "b"]
    assert not found["removals"]


@pytest.mark.slow
@pytest.mark.parametrize("rule", [NEAR, ExactRule()], ids=["near", "exact"])
def test_a_removed_document_that_comes_again_counts_once(rule: Any) -> None:
    first, again = [row("a", 1, text(0)), row("b", 2, text(0))], [row("b", 2, text(0))]
    events = with_clocks([Arrival(batch_of(first)), Arrival(batch_of(again), 1)], MINUTE)
    found = deduplicate(events, rule=rule, shards=2)
    assert [document["id"] for document in found["documents"]] == ["a"]
    assert [(removal["id"], removal["cluster_size"]) for removal in found["removals"]] == [("b", 2)]
    assert [sizes["removed"] for sizes in found["cluster_sizes"]] == [1]


@pytest.mark.slow
def test_a_window_with_too_many_links_is_a_failure_that_says_what_to_do() -> None:
    rows = [row(str(number), number / 100, text(number % 4)) for number in range(20)]
    events = with_clocks([Arrival(batch_of(rows))], 0)
    found = deduplicate(events, rule=NEAR, shards=2, components=ComponentsOfWindows(most=5))
    (failure,) = found["failures"]
    assert "links between documents, above 5" in failure
    assert "--window=fixed:1m" in failure
    assert "--remember" in failure


@pytest.mark.parametrize(
    ("windows", "lateness"),
    [
        (beam.window.GlobalWindows(), 0),
        (beam.window.SlidingWindows(60, 30), 0),
        (beam.window.FixedWindows(60), 5),
    ],
    ids=("global", "sliding", "with lateness"),
)
def test_other_windows_are_told_before_the_run(windows: Any, lateness: int) -> None:
    batches = batches_of(families(1), 5)
    made = run() | beam.Create(batches).with_output_types(type(batches[0]))
    with pytest.raises(ValueError, match="fixed windows without allowed lateness"):
        made | beam.WindowInto(windows, allowed_lateness=lateness) | DeduplicateWindows()


def test_arguments_out_of_range_are_told() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0 us"):
        DeduplicateWindows(remember=0)
