"""Any order of arrival within the disorder that is allowed gives the rows of the batch run, in the final panes."""

import datetime
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from beam_etl import CountTokens, schema
from beam_etl.kernels.window_text import parse_window
from beam_etl.kernels.windows import DISCARDING, SECOND, Firing, WindowSpec
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.windows import AddWindows, AssignWindows, LeaveWindows
from tests.beam import run
from tests.streams import MINUTE, Arrival, Event, documents, final_rows, keep, play, with_clocks

DOCUMENTS, HOURS, SPLITS = 5_000, 6, 3
DISORDER = 5 * MINUTE
SPECS = (
    parse_window("fixed:40m", early_firing=Firing(count=3)),
    parse_window("sliding:1h:30m"),
    parse_window("fixed:40m", early_firing=Firing(count=3), accumulation=DISCARDING, allowed_lateness=MINUTE),
)
"""Each interleaving has one of them in turn."""

ADDED = ("documents", "bytes", "characters", "tokens")
"""What panes that discard are merged by."""

Groups = dict[tuple[Any, ...], dict[str, Any]]


@pytest.fixture(scope="module")
def batch() -> pa.RecordBatch:
    """Documents over some hours, in the order of time."""
    random = np.random.default_rng(8)
    times = np.sort(random.integers(0, HOURS * 60 * MINUTE, DOCUMENTS))
    texts = [" ".join(["word"] * number) for number in random.integers(0, 20, DOCUMENTS).tolist()]
    return documents(
        times.tolist(), language=random.choice(["de", "en", "fr"], DOCUMENTS).tolist(), text=texts
    )


def counts(batches: Batches, spec: WindowSpec) -> tuple[Batches, Batches]:
    windowed = batches | AssignWindows(spec=spec)
    counted = windowed.documents | CountTokens(
        by=("language",), keep_partition=not windowed.documents.is_bounded
    )
    return counted.counts, windowed.rejects


def in_batch(batch: pa.RecordBatch, spec: WindowSpec) -> Groups:
    """What the batch engine gives of the same documents."""
    pipeline = run()
    rows, rejects = counts(pipeline | beam.Create([batch]), spec)
    found = keep(
        pipeline,
        {"rows": rows | AddWindows() | LeaveWindows(), "rejects": rejects | "Rejects" >> LeaveWindows()},
    )
    assert not found["rejects"]
    return by_group(found["rows"])


def in_stream(events: Iterable[Event], spec: WindowSpec) -> tuple[Groups, list[Any]]:
    """The final panes of a stream, and its rejects."""

    def build(batches: Batches) -> dict[str, Any]:
        rows, rejects = counts(batches, spec)
        return {"rows": rows | AddWindows(firings=True), "rejects": rejects}

    found = play(events, build)
    rows = merged(found["rows"]) if spec.accumulation == DISCARDING else final_rows(found["rows"])
    return by_group(rows), found["rejects"]


def by_group(rows: Iterable[dict[str, Any]]) -> Groups:
    groups: Groups = {}
    for row in rows:
        key = tuple(row[name] for name in (*schema.WINDOW.names, "language"))
        assert key not in groups
        groups[key] = row
    return groups


def merged(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What panes that discard add up to."""
    groups: dict[tuple[Any, ...], Counter[str]] = {}
    names = (*schema.WINDOW.names, "language")
    for row in rows:
        found = groups.setdefault(tuple(row[name] for name in names), Counter())
        found.update({name: row[name] for name in ADDED})
    return [{**dict(zip(names, key, strict=True)), **counted} for key, counted in groups.items()]


def interleaved(batch: pa.RecordBatch, seed: int) -> Iterator[Arrival]:
    """Documents up to DISORDER later than their turn, spread over splits, in batches of any size."""
    random = np.random.default_rng(seed)
    times = batch.column(schema.TIME).cast(pa.int64()).to_numpy()
    order = np.argsort(times + random.integers(0, DISORDER, batch.num_rows), kind="stable")
    starts = np.sort(random.choice(batch.num_rows, 3, replace=False))
    for run_of in np.split(order, starts):
        split = random.integers(0, SPLITS, len(run_of))
        for number in random.permutation(SPLITS).tolist():
            rows = run_of[split == number]
            if len(rows):
                yield Arrival(batch.take(pa.array(rows)), number)


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 200))]
)
def test_final_rows_do_not_depend_on_the_order_of_arrival(
    seed: int, batch: pa.RecordBatch, expected: dict[int, Groups]
) -> None:
    which = seed % len(SPECS)
    spec = SPECS[which]
    found, rejects = in_stream(with_clocks(interleaved(batch, seed), DISORDER), spec)
    assert not rejects
    if which not in expected:
        expected[which] = in_batch(batch, spec)
    if spec.accumulation == DISCARDING:
        assert {key: {name: row[name] for name in ADDED} for key, row in expected[which].items()} == {
            key: {name: row[name] for name in ADDED} for key, row in found.items()
        }
    else:
        assert found == expected[which]


@pytest.fixture(scope="module")
def expected() -> dict[int, Groups]:
    """Batch results by number of their spec, filled as they are needed."""
    return {}


LOGGED = re.compile(r'\[(?P<time>[^]]+)\] "(?P<method>\w+)')


@pytest.fixture(scope="module")
def events(shared: Path) -> pa.RecordBatch:
    """Requests as a server logged them: 9,448 of 10,000 after a later one."""
    path = shared / "data/events/elastic_apache_logs.txt"
    if not path.exists():
        pytest.skip(f"no {path}")
    lines = path.read_text("utf-8", "replace").splitlines()
    found = [match for match in map(LOGGED.search, lines) if match]
    times = [datetime.datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z") for match in found]
    return documents(
        [int(time.timestamp()) * SECOND for time in times],
        language=[match["method"] for match in found],
        text=[match.string for match in found],
    )


def _arrivals(batch: pa.RecordBatch, rows: int = 4000) -> list[Arrival]:
    return [Arrival(batch.slice(start, rows)) for start in range(0, batch.num_rows, rows)]


def test_real_disorder_within_what_is_allowed_loses_nothing(events: pa.RecordBatch) -> None:
    times = events.column(schema.TIME).cast(pa.int64()).to_numpy()
    disorder = int((np.maximum.accumulate(times) - times).max())
    spec = parse_window("fixed:12h")
    found, rejects = in_stream(with_clocks(_arrivals(events), disorder), spec)
    assert not rejects
    assert found == in_batch(events, spec)


def test_real_disorder_beyond_it_is_counted_and_kept(events: pa.RecordBatch) -> None:
    spec = parse_window("fixed:4h", offset=5 * MINUTE + MINUTE // 2)
    found, rejects = in_stream(with_clocks(_arrivals(events), max_disorder=0), spec)
    assert rejects
    assert sum(row["documents"] for row in found.values()) + len(rejects) == events.num_rows
    texts = Counter(events.column(schema.TEXT).to_pylist())
    assert not Counter(reject["payload"].decode() for reject in rejects) - texts
