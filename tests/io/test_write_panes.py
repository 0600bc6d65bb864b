"""The sink of a stream: what is published when, and that every row is in the end in one place, once."""

import collections
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms.window import IntervalWindow
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming

from beam_etl import schema
from beam_etl.io import manifest, pane_files, panes, staging
from beam_etl.io.pane_files import folder_of
from beam_etl.io.panes import PANE
from beam_etl.io.vocabularies import load_vocabulary
from beam_etl.io.write import FAILURES
from beam_etl.io.write_panes import WritePanes, _Commit
from beam_etl.kernels.windows import ACCUMULATING, DISCARDING, Firing, WindowSpec
from beam_etl.pipelines.windowed import window_columns
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.token_count import CountTokens
from beam_etl.transforms.windows import AssignWindows, beam_trigger
from tests.streams import MINUTE, Arrival, Event, documents, play, with_clocks

STREAM = "5c5c5c5c5c5c"
TABLES = ("counts", "documents", "rejects")
LATENESS = 10 * MINUTE


def arrivals(*bundles: Sequence[float]) -> list[Arrival]:
    """Documents at these minutes, each with its minute as text, every second one in another language."""
    found, number = [], 0
    for minutes in bundles:
        columns = {
            "id": [f"d{number + place}" for place in range(len(minutes))],
            "language": [("en", "de")[(number + place) % 2] for place in range(len(minutes))],
            "text": ["word " * (number + place + 1) for place in range(len(minutes))],
        }
        found.append(Arrival(documents([round(minute * MINUTE) for minute in minutes], **columns)))
        number += len(minutes)
    return found


class Written:
    """A dataset that a stream wrote, as readers of manifests see it."""

    def __init__(self, dataset: Path) -> None:
        self.dataset = dataset
        self.versions = [manifest.version(str(dataset), number) for number in manifest.numbers(str(dataset))]

    def rows(self, table: str, version: int = -1) -> list[dict[str, Any]]:
        files = self.versions[version].table(table)
        return [row for file in files for row in pq.ParquetFile(self.dataset / file.path).read().to_pylist()]

    def panes(self) -> list[tuple[int, int, str]]:
        """Minute, number and timing of each pane, in the order published."""
        told = [version.about[PANE] for version in self.versions if PANE in version.about]
        return [(pane["start"] // MINUTE, pane["index"], pane["timing"]) for pane in told]

    def counts(self, version: int = -1) -> dict[tuple[int, str], tuple[int, int]]:
        """Documents and tokens of each window and language. Fails where one is there twice."""
        found = {}
        for row in self.rows("counts", version):
            key = (row["window_start"].minute, row["language"])
            assert key not in found
            found[key] = row["documents"], row["tokens"]
        return found


def expected(arrived: Sequence[Arrival], size: int = 10) -> dict[tuple[int, str], tuple[int, int]]:
    found: dict[tuple[int, str], list[int]] = collections.defaultdict(lambda: [0, 0])
    for batch, _ in arrived:
        for row in batch.to_pylist():
            key = (row["time"].minute // size * size, row["language"])
            found[key][0] += 1
            found[key][1] += len(row["text"].split())
    return {key: (one, other) for key, (one, other) in found.items()}


def publish(dataset: Path, events: Sequence[Event], spec: WindowSpec, **more: Any) -> Written:
    panes.register(str(dataset), STREAM, "test", {name: {} for name in TABLES})
    sink = WritePanes(output=str(dataset), stream=STREAM, trigger=beam_trigger(spec), **more)

    def build(batches: Batches) -> dict[str, beam.PCollection[Any]]:
        windowed = batches | AssignWindows(spec=spec)
        counted = windowed.documents | CountTokens(
            by=("language",),
            vocabulary=load_vocabulary("words"),
            keep_partition=spec.accumulation == ACCUMULATING,
        )
        tables = {"counts": counted.counts, "documents": windowed.documents, "rejects": windowed.rejects}
        return {"told": window_columns(tables, streaming=True) | sink}

    play(events, build)
    return Written(dataset)


def spec_of(accumulation: str, early: int | None = None, lateness: int = LATENESS) -> WindowSpec:
    return WindowSpec(
        size=10 * MINUTE,
        period=10 * MINUTE,
        allowed_lateness=lateness,
        early_firing=Firing(count=early) if early else None,
        accumulation=accumulation,
    )


ON_TIME = arrivals([1, 2, 3], [4, 11], [12, 21], [31])
LATE = arrivals([1, 2, 3], [12, 13], [4], [14, 5], [25], [6])
"""The fourth minute comes late, and the sixth too late."""


@pytest.mark.parametrize("accumulation", [ACCUMULATING, DISCARDING])
def test_windows_are_published_as_they_end(accumulation: str, tmp_path: Path) -> None:
    written = publish(tmp_path, with_clocks(ON_TIME, 0), spec_of(accumulation, lateness=0))
    assert written.panes() == [(0, 0, "on time"), (10, 0, "on time"), (20, 0, "on time"), (30, 0, "on time")]
    assert written.counts() == expected(ON_TIME)
    assert sorted(row["id"] for row in written.rows("documents")) == [f"d{number}" for number in range(8)]
    assert written.versions[-1].streams[STREAM]["on_time"] == 40 * MINUTE


@pytest.mark.parametrize("accumulation", [ACCUMULATING, DISCARDING])
def test_late_rows_are_added_and_what_is_too_late_is_a_reject(accumulation: str, tmp_path: Path) -> None:
    written = publish(tmp_path, with_clocks(LATE, 0), spec_of(accumulation))
    timings = [timing for minute, _, timing in written.panes() if minute == 0]
    assert timings[0] == "on time"
    assert set(timings[1:]) == {"late"}
    rows = {(row["window_start"].minute, row["language"]): row for row in written.rows("counts")}
    if accumulation == ACCUMULATING:
        assert written.counts() == expected(LATE[:-1])
        assert len(rows) == len(written.rows("counts"))
    ids = sorted(row["id"] for row in written.rows("documents"))
    assert ids == sorted(row["id"] for batch, _ in LATE[:-1] for row in batch.to_pylist())
    (reject,) = written.rows("rejects")
    assert reject["reason"].startswith("too late for the window that ended at 1970-01-01T00:10:00Z, by 900")


def test_accumulating_panes_take_the_place_of_earlier_ones_and_discarding_ones_add(tmp_path: Path) -> None:
    events = with_clocks(arrivals([1], [2], [3], [4], [11]), 0)
    for accumulation in (ACCUMULATING, DISCARDING):
        (tmp_path / accumulation).mkdir()
        written = publish(tmp_path / accumulation, events, spec_of(accumulation, early=1))
        assert [timing for minute, _, timing in written.panes() if minute == 0].count("early") > 1
        totals: list[int] = []
        for version in range(len(written.versions)):
            rows = [row for row in written.rows("counts", version) if row["window_start"].minute == 0]
            totals.append(sum(row["documents"] for row in rows))
        assert totals == sorted(totals)
        assert set(totals) >= {1, 2, 4}
        assert totals[-1] == 4


@pytest.mark.parametrize(("small", "most"), [(1 << 20, 1), (0, 8)], ids=["small runs", "large runs"])
def test_a_pane_has_few_files_whatever_the_bundles(
    small: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pane_files, "SMALL_BYTES", small)
    monkeypatch.setattr(pane_files, "LANES", 7)
    bundles = arrivals(*[[minute / 2] for minute in range(16)])
    written = publish(tmp_path, with_clocks(bundles, 0), spec_of(DISCARDING, lateness=0))
    files = written.versions[-1].table("documents")
    assert min(2, most) <= len(files) <= most
    assert len(written.rows("documents")) == 16


def test_files_lie_in_folders_of_their_window_and_the_columns_of_the_way_are_gone(tmp_path: Path) -> None:
    written = publish(tmp_path, with_clocks(ON_TIME, 0), spec_of(ACCUMULATING))
    for file in written.versions[-1].files:
        assert file.pane is not None
        assert file.path.startswith(f"{file.table}/{folder_of(file.pane.start)}/part-00000-{STREAM}-")
    names = set(pq.ParquetFile(tmp_path / written.versions[-1].table("counts")[0].path).schema_arrow.names)
    assert not names & {schema.PARTITION, *schema.FIRING.names}


def test_a_window_is_the_folder_of_its_start() -> None:
    time = datetime.datetime(2026, 11, 27, 16, 5, 30, tzinfo=datetime.timezone.utc)
    start = int(time.timestamp()) * 1_000_000
    assert folder_of(start) == "date=2026-11-27/window=20261127T160530Z"
    assert folder_of(start + 500_000) == "date=2026-11-27/window=20261127T160530500000Z"
    assert folder_of(-1) < folder_of(0)


def test_rows_without_windows_are_refused(tmp_path: Path) -> None:
    with beam.Pipeline() as pipeline:
        rows = pipeline | beam.Create([]).with_output_types(pa.RecordBatch)
        with pytest.raises(ValueError, match="the table rows isn't in windows"):
            _ = {"rows": rows} | WritePanes(output=str(tmp_path), stream=STREAM)


def test_nothing_of_a_stream_is_published_twice_or_lost_where_bundles_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_pane, failing = panes.PanePublisher.publish, iter([True, False, True])

    def unsteady(publisher: panes.PanePublisher, commit: panes.PaneCommit) -> Any:
        head = publish_pane(publisher, commit)
        if next(failing, False):
            raise OSError("after the commit")
        return head

    monkeypatch.setattr(panes.PanePublisher, "publish", unsteady)
    written = publish(tmp_path, with_clocks(LATE, 0), spec_of(ACCUMULATING))
    assert written.counts() == expected(LATE[:-1])
    assert len(written.rows("documents")) == 9
    assert not list(Path(staging.staging_folder(str(tmp_path), STREAM)).glob(f"{STREAM}*.json"))


def test_a_stream_ends_with_the_pane_that_must_not_be_published(tmp_path: Path) -> None:
    panes.register(str(tmp_path), STREAM, "test", {"documents": {}})
    sink = WritePanes(output=str(tmp_path), stream=STREAM)

    def build(batches: Batches) -> dict[str, beam.PCollection[Any]]:
        found = batches | AssignWindows(spec=spec_of(DISCARDING, lateness=0))
        failures = found.documents | "Judge" >> beam.FlatMap(
            lambda batch: ["too large"] if "d4" in batch.column("id").to_pylist() else []
        ).with_output_types(str)
        return {"told": {"documents": found.documents, FAILURES: failures} | sink}

    play(with_clocks(ON_TIME, 0), build)
    written = Written(tmp_path)
    assert written.panes() == [(0, 0, "on time")]
    assert panes.failures_of(str(tmp_path), STREAM) == ["too large"]
    assert sorted(row["id"] for row in written.rows("documents")) == ["d0", "d1", "d2", "d3"]


def test_the_empty_pane_of_a_window_whose_state_goes_takes_nothing_back(tmp_path: Path) -> None:
    """Flink numbers it from 0 again, where a watermark passes the window's end and its lateness at once."""
    written = publish(tmp_path, with_clocks(ON_TIME, 0), spec_of(DISCARDING, lateness=0))
    commit = _Commit(str(tmp_path), STREAM, None, TABLES, {})
    commit.start_bundle()
    window = IntervalWindow(0, 600)
    for is_last, gone in ((True, 0), (False, 4)):
        pane = PaneInfo(True, is_last, PaneInfoTiming.ON_TIME, 0, 0)
        told = list(commit.process((b"", []), window, pane))
        assert len(told) == (not is_last)
        assert len(Written(tmp_path).rows("documents")) == len(written.rows("documents")) - gone
