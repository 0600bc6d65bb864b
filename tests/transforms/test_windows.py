from collections import Counter
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.transforms import trigger
from apache_beam.transforms.window import FixedWindows, IntervalWindow, SlidingWindows
from apache_beam.utils.timestamp import Duration
from apache_beam.utils.windowed_value import PaneInfo

from beam_etl import CountTokens, FilterQuality, ScoreDomains, schema
from beam_etl.kernels.window_text import parse_window
from beam_etl.kernels.windows import ACCUMULATING, DISCARDING, FIXED, Firing, WindowSpec
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.domain_score import TabulateDomains
from beam_etl.transforms.windows import TIMINGS, AddWindows, AssignWindows, LeaveWindows
from tests.beam import run
from tests.streams import (
    MINUTE,
    Arrival,
    Event,
    Pane,
    by_pane,
    cut,
    documents,
    final_rows,
    keep,
    play,
    row_stream,
    with_clocks,
)

LANGUAGES = ("de", "en", "fr")
"""In three of CountTokens' 64 partitions."""


def counted(events: Iterable[Event], spec: WindowSpec) -> tuple[list[dict[str, Any]], list[str]]:
    """Counts by language with their panes, and why documents were rejected."""

    def build(batches: Batches) -> dict[str, Any]:
        windowed = batches | AssignWindows(spec=spec)
        counts = windowed.documents | CountTokens(by=("language",), keep_partition=True)
        return {"counts": counts.counts | AddWindows(firings=True), "rejects": windowed.rejects}

    found = play(events, build)
    return found["counts"], [reject["reason"] for reject in found["rejects"]]


def told(rows: Iterable[dict[str, Any]]) -> dict[Pane, dict[str, tuple[int, int]]]:
    """Documents and tokens of each language in each pane."""
    return {
        pane: {row["language"]: (row["documents"], row["tokens"]) for row in found}
        for pane, found in by_pane(rows).items()
    }


def english(*minutes: float | None) -> pa.RecordBatch:
    """Documents of one word at these minutes."""
    times = [None if minute is None else int(minute * MINUTE) for minute in minutes]
    return documents(times, language=["en"] * len(times), text=["word"] * len(times))


WINDOW_0, WINDOW_1, WINDOW_6 = ((start * MINUTE, (start + 10) * MINUTE) for start in (0, 10, 60))


def panes(*expected: tuple[tuple[int, int], int, str, int]) -> dict[Pane, dict[str, tuple[int, int]]]:
    return {Pane(window, pane, timing): {"en": (count, count)} for window, pane, timing, count in expected}


SCENARIOS = {
    "on time, an empty window between, one document in the last": (
        "0s", {}, (1, 2, 65), panes((WINDOW_0, 0, "on time", 2), (WINDOW_6, 0, "on time", 1)), 0,
    ),
    "late rows accumulate": (
        "30m", {}, (1, 15, 2, 3), panes(
            (WINDOW_0, 0, "on time", 1), (WINDOW_0, 1, "late", 2), (WINDOW_0, 2, "late", 3),
            (WINDOW_1, 0, "on time", 1),
        ), 0,
    ),
    "late rows are discarded": (
        "30m", {"accumulation": DISCARDING}, (1, 15, 2, 3), panes(
            (WINDOW_0, 0, "on time", 1), (WINDOW_0, 1, "late", 1), (WINDOW_0, 2, "late", 1),
            (WINDOW_1, 0, "on time", 1),
        ), 0,
    ),
    "too late": (
        "5m", {}, (1, 12, 2, 16.5, 3), panes(
            (WINDOW_0, 0, "on time", 1), (WINDOW_0, 1, "late", 2), (WINDOW_1, 0, "on time", 2),
        ), 1,
    ),
    "early panes accumulate": (
        "0s", {"early_firing": Firing(count=2)}, (1, 2, 3, 4, 5), panes(
            (WINDOW_0, 0, "early", 2), (WINDOW_0, 1, "early", 4), (WINDOW_0, 2, "on time", 5),
        ), 0,
    ),
    "early panes are discarded": (
        "0s", {"early_firing": Firing(count=2), "accumulation": DISCARDING}, (1, 2, 3, 4, 5), panes(
            (WINDOW_0, 0, "early", 2), (WINDOW_0, 1, "early", 2), (WINDOW_0, 2, "on time", 1),
        ), 0,
    ),
    "no time": ("0s", {}, (1, None, 2), panes((WINDOW_0, 0, "on time", 2)), 1),
}  # fmt: skip
"""Allowed lateness, more of the spec, minutes of documents as they come one by one, their panes, and rejects."""


@pytest.mark.parametrize(
    ("lateness", "more", "minutes", "expected", "rejected"), SCENARIOS.values(), ids=SCENARIOS.keys()
)
def test_documents_are_in_the_panes_that_a_person_would_say(
    lateness: str, more: dict[str, Any], minutes: tuple[float | None, ...], expected: Any, rejected: int
) -> None:
    spec = parse_window(
        "fixed:10m", allowed_lateness=int(lateness[:-1]) * MINUTE if lateness != "0s" else 0, **more
    )
    rows, reasons = counted(with_clocks(cut(english(*minutes), 1), max_disorder=0), spec)
    assert told(rows) == expected
    assert len(reasons) == rejected


def test_a_watermark_that_jumps_to_the_end_closes_every_window_once() -> None:
    events = [Event(english(1, 2, 31).append_column(schema.CLOCK, pa.nulls(3, schema.UTC_TIME)))]
    spec = parse_window("sliding:20m:10m", allowed_lateness=MINUTE)
    rows, _ = counted(events, spec)
    starts = {-10: 2, 0: 2, 20: 1, 30: 1}
    assert told(rows) == panes(
        *(((start * MINUTE, (start + 20) * MINUTE), 0, "on time", count) for start, count in starts.items())
    )


def test_results_tell_the_partition_that_later_panes_replace() -> None:
    spec = parse_window("fixed:10m", allowed_lateness=60 * MINUTE)
    times = [MINUTE, 2 * MINUTE, 15 * MINUTE, 3 * MINUTE]
    batch = documents(times, language=["en", "de", "en", "en"], text=["word"] * 4)
    rows, _ = counted(with_clocks(cut(batch, 1), max_disorder=0), spec)
    partitions = {row["language"]: row[schema.PARTITION] for row in rows}
    assert all(row[schema.PARTITION] == partitions[row["language"]] for row in rows)
    assert len(set(partitions.values())) == 2
    late = {pane: found for pane, found in told(rows).items() if pane.timing == "late"}
    assert late == {Pane(WINDOW_0, 1, "late"): {"en": (2, 2)}}


STREAMS = {
    "fixed": ("fixed:10m", {}, 50),
    "late rows discarded": (
        "fixed:10m",
        {"allowed_lateness": 9 * MINUTE, "accumulation": DISCARDING},
        1,
    ),
    "early by count, late rows": (
        "fixed:10m",
        {"early_firing": Firing(count=3), "allowed_lateness": 9 * MINUTE},
        1,
    ),
    "sliding": ("sliding:10m:5m", {}, 50),
    "sliding, size no multiple of the period": ("sliding:13m:5m", {"allowed_lateness": 3 * MINUTE}, 1),
    "sliding, early by count": ("sliding:10m:5m", {"early_firing": Firing(count=4)}, 1),
}
"""Windows, more of the spec, rows of a batch: of one where slices are counted, or where clocks may pass inside one.

Late panes come at every late slice: this runner gives out no last pane when a window is over for good, so a rest below
a count would stay in it.
"""

DOCUMENTS = 30


@pytest.mark.parametrize(("text", "more", "rows"), STREAMS.values(), ids=STREAMS.keys())
def test_windows_and_panes_are_those_of_an_element_a_row(text: str, more: dict[str, Any], rows: int) -> None:
    spec = parse_window(text, **more)
    disorder = 30 * MINUTE if rows > 1 else MINUTE
    events = with_clocks(cut(_wandering(DOCUMENTS, seed=len(text)), rows), disorder)
    found, reasons = counted(events, spec)
    theirs = play(row_stream(events), lambda elements: {"rows": _row_per_element(elements, spec)})["rows"]
    mine = Counter(
        (pane, language, *counts)
        for pane, languages in told(found).items()
        for language, counts in languages.items()
    )
    assert mine == Counter(theirs)
    pairs = sum(_final(found, spec).values()) + len(reasons)
    least, rest = divmod(spec.size, spec.period)
    assert DOCUMENTS * least <= pairs <= DOCUMENTS * (least + bool(rest))
    assert bool(reasons) == (rows == 1)


def _wandering(count: int, seed: int) -> pa.RecordBatch:
    """Documents at two a minute, each up to twenty minutes earlier or later than its turn."""
    random = np.random.default_rng(seed)
    times = np.round(np.arange(count) * 30 + random.normal(0, 400, count), 3) * 10**6
    texts = [" ".join(["word"] * number) for number in random.integers(1, 9, count).tolist()]
    return documents(
        times.astype(np.int64).tolist(), language=random.choice(LANGUAGES, count).tolist(), text=texts
    )


def _row_per_element(rows: beam.PCollection[Any], spec: WindowSpec) -> beam.PCollection[Any]:
    """The same counts, as anybody would write them in Beam."""
    size, period = Duration(micros=spec.size), Duration(micros=spec.period)

    def after(firing: Firing | None) -> Any:
        return None if firing is None else trigger.AfterCount(firing.count)

    late = spec.late_firing or Firing(count=1)
    return (
        rows
        | beam.WindowInto(
            FixedWindows(size) if spec.kind == FIXED else SlidingWindows(size, period),
            trigger=trigger.AfterWatermark(early=after(spec.early_firing), late=after(late)),
            accumulation_mode=trigger.AccumulationMode.ACCUMULATING
            if spec.accumulation == ACCUMULATING
            else trigger.AccumulationMode.DISCARDING,
            allowed_lateness=Duration(micros=spec.allowed_lateness),
        )
        | beam.Map(lambda row: (row["language"], len(row["text"].split())))
        | beam.GroupByKey()
        | beam.ParDo(_TellPanes())
    )


class _TellPanes(beam.DoFn):
    def process(
        self,
        group: tuple[str, Iterable[int]],
        window: IntervalWindow = beam.DoFn.WindowParam,
        pane: PaneInfo = beam.DoFn.PaneInfoParam,
    ) -> Iterable[tuple[Pane, str, int, int]]:
        tokens = list(group[1])
        if tokens:  # an on-time pane may be empty
            bounds = (window.start.micros, window.end.micros)
            yield Pane(bounds, pane.index, TIMINGS[pane.timing]), group[0], len(tokens), sum(tokens)


def _final(rows: Iterable[dict[str, Any]], spec: WindowSpec) -> Counter[Any]:
    """Documents of each window and language in the final panes."""
    found: Counter[Any] = Counter()
    for pane, languages in sorted(told(rows).items(), key=lambda item: item[0].pane):
        for language, (count, _) in languages.items():
            before = found[pane.window, language] if spec.accumulation == DISCARDING else 0
            found[pane.window, language] = before + count
    return found


def test_rejects_of_several_splits_are_never_behind_the_watermark() -> None:
    """Nor are rows: whatever is grouped behind the windows gets all of both."""
    spec = parse_window("sliding:10m:5m")
    random = np.random.default_rng(11)
    arrivals = [
        Arrival(english(*(random.normal(turn, 12, 5) + 30 * split).tolist()), split)
        for turn in range(0, 60, 6)
        for split in range(3)
    ]

    def build(batches: Batches) -> dict[str, Any]:
        windowed = batches | AssignWindows(spec=spec)
        grouped = windowed.rejects | Aggregate(by=("reason",), merge=_identity)
        counts = windowed.documents | CountTokens(by=("language",))
        return {
            "rejects": windowed.rejects,
            "grouped": grouped,
            "counts": counts.counts | AddWindows(firings=True),
        }

    found = play(with_clocks(arrivals, max_disorder=2 * MINUTE), build)
    assert Counter(row["reason"] for row in found["rejects"]) == Counter(
        row["reason"] for row in found["grouped"]
    )
    assert found["rejects"]
    assert sum(_final(found["counts"], spec).values()) + len(found["rejects"]) == 2 * 5 * len(arrivals)


def _identity(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def test_quality_verdicts_pass_straight_on() -> None:
    """A document is out before any window closes: here none does before it has been seen."""
    batch = english(1, 500, 2).append_column(schema.CLOCK, pa.nulls(3, schema.UTC_TIME))

    def build(batches: Batches) -> dict[str, Any]:
        windowed = batches | AssignWindows(spec=parse_window("fixed:10m"))
        judged = windowed.documents | FilterQuality()
        return {"kept": judged.documents | "Kept" >> AddWindows(firings=True), "removed": judged.removals}

    found = play([Event(batch)], build)
    assert len(found["kept"]) + len(found["removed"]) == 3
    assert all(row[schema.TIMING] == "unknown" for row in found["kept"])


def test_keys_are_not_salted_where_panes_accumulate() -> None:
    spec = parse_window("fixed:10m")
    with pytest.raises(ValueError, match="grouped once only.*Leave out salts, or use discarding panes"):
        play(
            [Event(None)],
            lambda batches: {
                "rows": (batches | AssignWindows(spec=spec)).documents
                | Aggregate(by=("language",), merge=_identity, salts=4)
            },
        )


def test_domains_of_the_final_panes_are_those_of_the_batch_run() -> None:
    """Early, on time and late panes, and a domain that only late documents have."""
    minutes = [1, 2, 3, 11, 25, 4, 5, 26, 6]
    domains = [
        "a.example",
        "b.example",
        None,
        "a.example",
        "b.example",
        "late.example",
        "a.example",
        None,
        "b.example",
    ]
    texts = [f"The cat that sat on the mat, {number}." for number in range(len(minutes))]
    batch = documents([minute * MINUTE for minute in minutes], domain=domains, text=texts)
    spec = parse_window("sliding:20m:10m", allowed_lateness=30 * MINUTE, early_firing=Firing(count=2))
    scoring = ScoreDomains(rules=("c4",), signals=())

    def tabulated(batches: Batches, keep_partition: bool) -> Batches:
        windowed = batches | AssignWindows(spec=spec)
        domains = windowed.documents | TabulateDomains(scoring=scoring, keep_partition=keep_partition)
        found: Batches = domains.domains
        return found

    streamed = play(
        with_clocks(cut(batch, 2), max_disorder=0),
        lambda batches: {"rows": tabulated(batches, keep_partition=True) | AddWindows(firings=True)},
    )["rows"]
    assert {row[schema.TIMING] for row in streamed} == {"early", "on time", "late"}

    pipeline = run()
    rows = tabulated(pipeline | beam.Create([batch]), keep_partition=False) | AddWindows() | LeaveWindows()
    assert sorted(final_rows(streamed), key=str) == sorted(keep(pipeline, {"rows": rows})["rows"], key=str)
