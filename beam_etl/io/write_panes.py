"""WritePanes: the tables of a stream to files of panes, each pane published by a commit of its own."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.trigger import AfterCount, AfterWatermark, TriggerFn
from apache_beam.transforms.window import GlobalWindows, IntervalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming, WindowedValue

from beam_etl import schema
from beam_etl.io.data_files import Finished, pack_finished, unpack_finished
from beam_etl.io.formats import format_named
from beam_etl.io.pane_files import RUNS_FOLDER, PaneFiles, Place, lane_of, latest_firings
from beam_etl.io.panes import ON_TIME, PaneCommit, PanePublisher
from beam_etl.io.write import FAILURES, FILE_BYTES
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.gather_panes import GatherPanes
from beam_etl.transforms.metrics import StepMetrics

RUN_BYTES = 64 << 20
"""Rows that a bundle holds before it writes them."""

RUNS, FIRINGS = "runs", "firings"
"""Tags of outputs."""

TIMINGS = {PaneInfoTiming.EARLY: "early", PaneInfoTiming.ON_TIME: ON_TIME, PaneInfoTiming.LATE: "late"}

Keyed = tuple[bytes, bytes]
"""What is gathered: a key, and packed files, or why a pane must not be published."""

_FAILED = b"!"
"""How the latter begins, and no pack of files does."""


@dataclass(eq=False, kw_only=True)
class WritePanes(beam.PTransform):
    """Writes named tables of a stream, and publishes each pane of a window in one atomic step. No shuffle.

    Files are `table/date=YYYY-MM-DD/window=YYYYMMDDTHHMMSSZ/part-...`, by the window's start. A bundle stages the rows
    of a window as a run; when the window fires, runs become at most LANES + 1 files of a table, and more where they are
    larger than `file_bytes`. So no bundle makes a file, and no worker gets all rows of a window.
    What a pane publishes is told by `panes`: a pane that fires again after a restore takes the place of what was there.

    A table with a column schema.PARTITION is an accumulating result: each partition's latest firing has all its rows,
    and takes the place of its earlier ones. The column, and schema.FIRING, aren't written.

    Input: a dict of table name to batches, all in windows of one WindowFn, and FAILURES to reasons in the same windows:
    a pane with reasons isn't published, nor is anything of the stream after it. Output: for each commit, the dict that
    `PaneCommit.told` gives.

    Args:
      output: folder of the dataset, to which `panes.register` has made the stream known.
      stream: its name.
      launch: the run of the job, as of `PanePublisher`.
      trigger: when panes of the tables are published. Early and late panes of several partitions are one, where they
        come in the time that it takes.
      format: parquet, avro or jsonl.
      file_bytes: close a file at this many bytes.
      about: what the manifest tells of the job; must be JSON.

    Raises:
      ValueError: file_bytes below 1.
    """

    output: str
    stream: str
    launch: str | None = None
    trigger: TriggerFn = field(default_factory=lambda: AfterWatermark(late=AfterCount(1)))
    format: str = "parquet"
    file_bytes: int = FILE_BYTES
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        if self.file_bytes < 1:
            raise ValueError(f"file_bytes must be at least 1, got {self.file_bytes}")
        self._format = format_named(self.format)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for a dict of PCollections
    def expand(self, tables: Mapping[str, Batches]) -> beam.PCollection[dict[str, Any]]:
        names = tuple(sorted(name for name in tables if name != FAILURES))
        for name in names:
            if isinstance(tables[name].windowing.windowfn, GlobalWindows):
                raise ValueError(f"the table {name} isn't in windows, whose panes are published")  # noqa: TRY004
        files = PaneFiles(self.output, self.stream, self._format, self.file_bytes)
        staged = [
            tables[name]
            | f"Stage {name}"
            >> beam.ParDo(_Stage(files, name))
            .with_output_types(Keyed, **{FIRINGS: Keyed})
            .with_outputs(FIRINGS, main=RUNS)
            for name in names
        ]
        merged = (
            tuple(table[RUNS] for table in staged)
            | "Runs of a pane" >> GatherPanes(trigger=self.trigger)
            | "Make files" >> beam.ParDo(_MakeFiles(files)).with_output_types(Keyed)
        )
        failures = [
            tables[name] | "Failures" >> beam.Map(_failed).with_output_types(Keyed)
            for name in tables
            if name == FAILURES
        ]
        commit = beam.ParDo(_Commit(self.output, self.stream, self.launch, names, self.about))
        return (
            (merged, *(table[FIRINGS] for table in staged), *failures)
            | "Files of a pane" >> GatherPanes(trigger=self.trigger)
            | "Commit" >> commit.with_output_types(dict[str, Any])
        )


@dataclass
class _Held:
    """What a bundle has of one place."""

    timestamp: Timestamp
    batches: list[pa.RecordBatch] = field(default_factory=list)
    size: int = 0
    written: list[Finished] = field(default_factory=list)


class _Stage(beam.DoFn):
    """The rows of a bundle, window by window: as runs, or those of accumulating results as files, a firing together."""

    def __init__(self, files: PaneFiles, table: str) -> None:
        self._files = files
        self._table = table
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._places: dict[Place, _Held] = {}
        self._size = 0

    def process(
        self,
        batch: pa.RecordBatch,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        window: IntervalWindow = beam.DoFn.WindowParam,
        pane: PaneInfo = beam.DoFn.PaneInfoParam,
    ) -> None:
        self._metrics.took_in(batch)
        place, rows = _place_of(batch, window, pane)
        held = self._places.setdefault(place, _Held(timestamp))
        held.timestamp = min(held.timestamp, timestamp)
        held.batches.append(rows)
        held.size += rows.nbytes
        self._size += rows.nbytes
        while self._size > RUN_BYTES:
            fullest = max(self._places, key=lambda place: self._places[place].size)
            self._write(fullest, self._places[fullest])

    def finish_bundle(self) -> Iterator[Any]:
        for place, held in sorted(self._places.items(), key=lambda item: item[0].window.end):
            self._write(place, held)
            if place.partition is not None:
                packed = b"", pack_finished(held.written)
                yield TaggedOutput(FIRINGS, WindowedValue(packed, held.timestamp, (place.window,)))
                continue
            for run in held.written:
                yield WindowedValue((lane_of(run), pack_finished([run])), held.timestamp, (place.window,))

    def _write(self, place: Place, held: _Held) -> None:
        self._size -= held.size
        with self._metrics.timing():
            if held.batches and place.partition is not None:
                held.written += self._files.write(held.batches, self._table, place, self._metrics)
            elif held.batches:
                held.written.append(self._files.stage(held.batches, self._table))
        held.batches, held.size = [], 0


def _place_of(batch: pa.RecordBatch, window: IntervalWindow, pane: PaneInfo) -> tuple[Place, pa.RecordBatch]:
    """Where rows belong, and the rows without the columns that say so."""
    transient = [name for name in (schema.PARTITION, *schema.FIRING.names) if name in batch.schema.names]
    rows = batch.drop_columns(transient)
    if schema.PARTITION not in transient:
        return Place(window), rows
    firing = batch.column(schema.PANE)[0].as_py() if schema.PANE in transient else pane.index
    return Place(window, batch.column(schema.PARTITION)[0].as_py(), firing), rows


def _failed(reason: str) -> Keyed:
    return b"", _FAILED + reason.encode()


class _MakeFiles(beam.DoFn):
    """Runs of a pane to files."""

    def __init__(self, files: PaneFiles) -> None:
        self._files = files
        self._metrics = StepMetrics()

    def process(
        self, keyed: tuple[bytes, Iterable[bytes]], window: IntervalWindow = beam.DoFn.WindowParam
    ) -> Iterator[Keyed]:
        runs = sorted(unpack_finished(keyed[1]), key=lambda run: run[0].path)
        with self._metrics.timing():
            batches = (batch for run, _ in runs for batch in self._files.read(run))
            table = keyed[0].rpartition(b"/")[0].decode()
            made = list(self._files.write(batches, table, Place(window), self._metrics))
        if runs:
            yield b"", pack_finished([*made, *runs])


class _Commit(beam.DoFn):
    """Publishes a pane."""

    def __init__(
        self,
        output: str,
        stream: str,
        launch: str | None,
        tables: tuple[str, ...],
        about: Mapping[str, Any],
    ) -> None:
        self._output = output
        self._stream = stream
        self._launch = launch
        self._tables = tables
        self._about = about
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._publisher = PanePublisher(self._output, self._stream, self._launch)

    def process(
        self,
        keyed: tuple[bytes, Iterable[bytes]],
        window: IntervalWindow = beam.DoFn.WindowParam,
        pane: PaneInfo = beam.DoFn.PaneInfoParam,
    ) -> Iterator[dict[str, Any]]:
        packed = list(keyed[1])
        # Flink gives an empty pane when a window's state goes, numbered from 0 where its end has just passed as well.
        if packed or not pane.is_last:
            commit = self._commit(packed, window, pane)
            with self._metrics.timing():
                self._publisher.publish(commit)
            yield commit.told()

    def _commit(self, packed: list[bytes], window: IntervalWindow, pane: PaneInfo) -> PaneCommit:
        failures = [pack[1:].decode() for pack in packed if pack.startswith(_FAILED)]
        packs = (pack for pack in packed if not pack.startswith(_FAILED))
        finished = sorted(unpack_finished(packs), key=lambda pair: pair[0].path)
        files = [pair for pair in finished if not pair[0].path.startswith(f"{RUNS_FOLDER}/")]
        schemas: dict[str, dict[str, str]] = {table: {} for table in self._tables}
        for file, columns in files:
            schemas[file.table].update(columns)
        return PaneCommit(
            stream=self._stream,
            start=window.start.micros,
            end=window.end.micros,
            index=pane.index,
            timing=TIMINGS.get(pane.timing, "unknown"),
            files=latest_firings([file for file, _ in files]),
            schemas=schemas,
            about=self._about,
            merged=tuple(file.path for file, _ in finished if file.path.startswith(f"{RUNS_FOLDER}/")),
            failures=tuple(failures),
        )
