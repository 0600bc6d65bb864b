"""Spilled tables: batches that a run puts down on its way, to be read again by itself or by the run that goes on.

The files (see `spill_files`) lie in a folder of the dataset's staging folder that is named by what they depend on, not
by the run. When all are there, `spilled.json` names their streams, each with its SHA-256: a folder with that file is a
whole first part of the run. One without it may have files of whole splits, which a later run doesn't read again.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.changes import lasts
from beam_etl.io.read import REJECTS
from beam_etl.io.spill_files import (
    SPILL_BYTES,
    Spilled,
    SpillFile,
    first_damage,
    read_spilled,
    tell_streams,
    told_streams,
)
from beam_etl.io.splits import tell_split
from beam_etl.io.stores import store_of
from beam_etl.io.taken_splits import TakenSplits
from beam_etl.io.whole_splits import here_of, leave
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Distribute, Gather

RECORD = "spilled.json"


class After(NamedTuple):
    """What a part is made of: an earlier part."""

    folder: str
    digest: str = ""
    """SHA-256 of its record, where that was taken over; else it is of the same run."""

    def digest_for(self, run: str) -> str | None:
        """SHA-256 of its record; None where that isn't there, or an equal run has put another in its place."""
        try:
            record = store_of(self.folder).read(os.path.join(self.folder, RECORD))
        except (FileNotFoundError, NotADirectoryError):
            return None
        digest = hashlib.sha256(record).hexdigest()
        is_same = digest == self.digest if self.digest else json.loads(record).get("run") == run
        return digest if is_same else None


@dataclass(eq=False, kw_only=True)
class SpillTables(beam.PTransform):
    """Tables as files, all of which are written, and recorded, before the first is given on. No shuffle.

    Rows with an address keep their order, and no stream has such rows of two splits: a bundle may have every other one
    of a file. So their batches are to tell their split (`FileSource.documents(tell_splits=True)`); one that doesn't has
    a stream of its own. Where splits are read inside WholeSplits, each has one file.

    Input: a dict of table name to a tuple: the batches of each step that has some. Flattened ones would be held by
    engines that end a stage at a Flatten. Output: Spilled, handed out.

    Args:
      folder: where the files and the record go.
      run: whose they are first.
      beside: more of a table, which don't come of the splits that are read.
      taken: what is taken over of an earlier run.
      failures: why the result must not be used: then it isn't recorded.
      after: what it was made of. It is recorded only where that is, and with its digest.
      spill_bytes: a stream is ended at so many.
    """

    folder: str
    run: str
    beside: Mapping[str, Batches] = field(default_factory=dict)
    taken: TakenSplits = field(default_factory=TakenSplits)
    failures: beam.PCollection[str] | None = None
    after: After | None = None
    spill_bytes: int = SPILL_BYTES

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for a dict of PCollections
    def expand(self, tables: dict[str, tuple[Batches, ...]]) -> beam.PCollection[Spilled]:
        steps = [(name, batches) for name, some in tables.items() for batches in some]
        places: list[tuple[str, Batches, int | None]] = [
            (name, batches, place) for place, (name, batches) in enumerate(steps)
        ]
        places += [(name, batches, None) for name, batches in self.beside.items()]
        written = [
            batches
            | f"Spill {name} {number}"
            >> beam.ParDo(_Spill(self.folder, name, self.spill_bytes, place, len(steps))).with_output_types(
                Spilled
            )
            for number, (name, batches, place) in enumerate(places)
        ]
        failures = (
            written[0].pipeline | "No failures" >> beam.Create([], reshuffle=False).with_output_types(str)
            if self.failures is None
            else self.failures | "Failures" >> beam.Map(_copied).with_output_types(str)
        )
        recording = beam.FlatMap(
            _record, self.folder, self.run, self.after, self.taken, beam.pvalue.AsList(failures)
        )
        return (
            written
            | "All spilled" >> beam.Flatten()
            | "Pack" >> beam.ParDo(_Pack()).with_output_types(bytes)
            | "Gather" >> Gather()
            | "Record" >> recording.with_output_types(Spilled)
            | "Distribute" >> Distribute()
        )


def _copied(failure: str) -> str:
    """As it is: Flink's fuser fails for what is flattened elsewhere and a side input here."""
    return failure


class _Spill(beam.DoFn):
    """Writes into the file of the split that is being read, or a bundle's own."""

    def __init__(self, folder: str, table: str, most: int, place: int | None, steps: int) -> None:
        self._folder, self._table, self._most = folder, table, most
        self._place, self._steps = place, steps
        self._file: SpillFile | None = None
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._file = None
        self._lasts = True
        if self._place is not None:
            here = here_of(self._folder)
            here.steps.add(self._place)
            here.all_steps = self._steps

    def process(self, batch: pa.RecordBatch) -> Iterator[Spilled]:
        if not batch.num_rows:
            return
        with self._metrics.timing():
            self._metrics.took_in(batch)
            closed = self._write(batch)
        yield from closed

    def finish_bundle(self) -> Iterator[WindowedValue]:
        closed = self._close()
        if self._place is not None:
            here = here_of(self._folder)
            here.steps.discard(self._place)
            closed += here.take_closed()
        for spilled in closed:
            yield WindowedValue(spilled, MIN_TIMESTAMP, (GlobalWindow(),))

    def teardown(self) -> None:
        if self._file is not None:  # the bundle failed: in a store its upload would stay
            self._file.release()
        if self._place is not None:
            leave(self._folder)

    def _write(self, batch: pa.RecordBatch) -> list[Spilled]:
        """What is closed by then."""
        here = here_of(self._folder)
        if self._place is not None and here.file is not None:
            told = (batch.schema.metadata or {}).get(schema.SPLIT_METADATA, here.address)
            if told != here.address:
                raise RuntimeError("a step gave documents of one split while another was being read")
            here.file.write(self._table, batch)
            return here.take_closed()
        if self._file is None:
            name = f"{self._table}-{staging.new_attempt()}{staging.PUT_DOWN}"
            self._file = SpillFile(os.path.join(self._folder, name), self._most)
        self._file.write(self._table, batch)
        if self._table == REJECTS:
            self._lasts &= all(map(lasts, batch["reason"].to_pylist()))
        return [] if self._file.size < self._most else self._close()

    def _close(self) -> list[Spilled]:
        """Ends the bundle's own file, where there is one."""
        closed, self._file = [] if self._file is None else self._file.close(), None
        return [stream._replace(lasts=self._lasts) for stream in closed]


class _Pack(beam.DoFn):
    """The files of a bundle as one element."""

    def start_bundle(self) -> None:
        self._held: list[Spilled] = []

    def process(self, spilled: Spilled) -> None:
        self._held.append(spilled)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._held:
            yield WindowedValue(_packed(self._held), MIN_TIMESTAMP, (GlobalWindow(),))


def _packed(streams: Sequence[Spilled]) -> bytes:
    return zlib.compress(json.dumps(streams, ensure_ascii=False).encode(), 1)


def _unpacked(packed: bytes) -> list[Spilled]:
    return [Spilled(*stream) for stream in json.loads(zlib.decompress(packed))]


def _record(
    packs: list[bytes], folder: str, run: str, after: After | None, taken: TakenSplits, failures: list[str]
) -> list[Spilled]:
    """All streams, when what to go on from stands in the folder: in place of what an earlier run had left there."""
    streams = once([*taken.streams(), *(stream for pack in packs for stream in _unpacked(pack))])
    staging.mark_owner(folder, run)
    digest, record = "" if after is None else after.digest_for(run), os.path.join(folder, RECORD)
    if not failures and digest is not None and all(stream.lasts for stream in streams):
        tell_streams(record, streams, after=digest, run=run)
    else:  # what an earlier run has left there doesn't tell of these
        store_of(folder).remove([record])
    return streams


def once(streams: Sequence[Spilled]) -> list[Spilled]:
    """Without those of a split that has two files, as after a bundle that was tried again, in all but one; sorted."""
    paths: dict[str, str] = {}
    for stream in streams:
        if stream.split:
            paths[stream.split] = min(paths.get(stream.split, stream.path), stream.path)
    return sorted(stream for stream in streams if paths.get(stream.split, stream.path) == stream.path)


@dataclass(eq=False, kw_only=True)
class HandOutSpilled(beam.PTransform):
    """The streams that a folder's record names, one by one. It is read in the job. No shuffle.

    Input: the pipeline. Output: Spilled, handed out.

    Args:
      folder: as of SpillTables.
    """

    folder: str

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Spilled]:
        record = os.path.join(self.folder, RECORD)
        return (
            pipeline
            | "Record" >> beam.Create([record], reshuffle=False)
            | "Streams" >> beam.FlatMap(_recorded).with_output_types(Spilled)
            | "Distribute" >> Distribute()
        )


def _recorded(record: str) -> list[Spilled]:
    return told_streams(record)[0]


class Found(NamedTuple):
    """What a run finds of an earlier one."""

    files: tuple[Spilled, ...]
    """Those of the record, where all are there; else no file."""
    why: str = ""
    """Why what there is can't be taken over as a whole, for people."""
    digest: str = ""
    """SHA-256 of the record."""


def find_spilled(folder: str, check: bool = True, after: str = "") -> Found:
    """What a run that died has left in its folder, and if asked for, every byte of it checked.

    Args:
      folder: as of SpillTables.
      check: every byte is read.
      after: SHA-256 of the record of what it must have been made of; none of a first part.
    """
    record = os.path.join(folder, RECORD)
    try:
        digest = hashlib.sha256(store_of(folder).read(record)).hexdigest()
        streams, told = told_streams(record)
        if told["after"] != after:
            return Found((), f"{record} is of another first part")
    except (FileNotFoundError, NotADirectoryError):
        return Found((), "no run with this configuration and input has finished any of it")
    except (ValueError, TypeError, KeyError) as error:
        return Found((), f"{record} isn't as it was written ({error})")
    if not streams:
        return Found((), "what an earlier run put down has no rows")
    wrong = first_damage(streams) if check else None
    return Found((), wrong) if wrong else Found(tuple(streams), digest=digest)


@dataclass(eq=False, kw_only=True)
class ReadSpilled(beam.PTransform):
    """The batches of one table again, with their schema's metadata. No shuffle.

    Input: Spilled. Output: batches.

    Args:
      table: whose streams.
      tell_splits: batches say of which stream they are, as of a split, so that they can be spilled again.
    """

    table: str
    tell_splits: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, spilled: beam.PCollection[Spilled]) -> Batches:
        reading = beam.ParDo(_ReadTable(self.table, self.tell_splits))
        return spilled | "Read" >> reading.with_output_types(pa.RecordBatch)


class _ReadTable(beam.DoFn):
    def __init__(self, table: str, tell_splits: bool) -> None:
        self._table, self._tell_splits = table, tell_splits
        self._metrics = StepMetrics()

    def process(self, spilled: Spilled) -> Iterator[pa.RecordBatch]:
        if spilled.table != self._table:
            return
        for batch in self._metrics.timed(read_spilled(spilled)):
            self._metrics.gave_out(batch)
            yield tell_split(batch, spilled.first) if self._tell_splits else batch
