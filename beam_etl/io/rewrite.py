"""RewriteDocuments: the input once more, split by split, without the documents that were removed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.data_files import Finished
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import Split
from beam_etl.io.read import REJECTS, tag_rejects
from beam_etl.io.split_copy import Copying, copy_split
from beam_etl.kernels.choosing import stack_decisions
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.metrics import BYTES_READ_AGAIN, StepMetrics, count_live
from beam_etl.transforms.shuffle import Attach, Attachment, Gather

SPLIT = "split"
"""uint64: the address that a row's split begins with. Only while rows travel to their split."""

FOUND, FAILURES = "found", "failures"
"""Tags of outputs."""

STAGE = "rewrite"
"""What rejects of the second read have in the column `stage`."""

NUMBER_DIGITS = 5


class Rewritten(NamedTuple):
    """What rewriting gives."""

    files: beam.PCollection[Finished]
    """Files of the run, for WriteDataset. A split of which nothing is kept has none."""
    found: Batches
    """For each document with a decision, the decision's columns and those wanted of it; metadata as ReadDocuments."""
    rejects: Batches
    """Batches of schema.REJECT: documents that can't be copied, because columns that the first read didn't need are
    damaged. Nothing is found of them."""
    failures: beam.PCollection[str]
    """Why the files must not be published, for WriteDataset: a document isn't there any more, or a file has another
    size. Each names the file and what changed."""


@dataclass(eq=False, kw_only=True)
class RewriteDocuments(beam.PTransform):
    """The input's files again, without removed documents: split j of file i is `part-i-j-RUN-ATTEMPT.ext`. One shuffle.

    What crosses is the decisions, to the splits that hold their documents. A kept row has all its stored columns,
    unchanged, in the input's order and format: lines and Avro records byte for byte, under the header and compression
    of their file; Parquet with the file's own schema; of `textfile`, Parquet files. What the first read rejected is
    left out.

    Input: batches with schema.NODE, the address of a document, each once. It is removed where there is a column
    schema.SURVIVOR of another value. Output: Rewritten.

    Args:
      source: the input, whose documents() was called.
      columns: what is wanted of documents with a decision; no more than `source` reads.
      output, run: folder of the dataset and the run's name, those of the WriteDataset that takes the files.
      expected_bytes: of the decisions.

    Raises:
      ValueError: `columns` has something that `source` doesn't read.
    """

    source: FileSource
    columns: Columns
    output: str
    run: str
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        read, wanted = self.source.read.columns, self.columns
        carried = wanted.carry != ALL and (read.carry == ALL or set(wanted.carry) <= set(read.carry))
        shared = [getattr(wanted, name) == getattr(read, name) for name in wanted.shared]
        if not carried or not all(shared) or not set(wanted.shared) <= set(read.shared):
            raise ValueError(f"the second read gives no more than the first, {read}; got {wanted}")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, decisions: Batches) -> Rewritten:
        read = self.source.read
        splits = self.source.splits | "With records" >> beam.Filter(has_records)
        starts = split_starts(splits)
        located = decisions | "To splits" >> beam.FlatMap(
            with_split, starts=beam.pvalue.AsSingleton(starts)
        ).with_output_types(pa.RecordBatch)
        elements = splits | "Key" >> beam.Map(_keyed).with_output_types(tuple[Any, Split])
        keys = len(read.files) + self.source.input_bytes // read.split_bytes
        out = (
            Attachment(elements, located)
            | "Attach" >> Attach(by=(SPLIT,), keys=keys, expected_bytes=self.expected_bytes)
            | "Copy"
            >> beam.ParDo(_Copy(copying(self.source, self.columns, self.output, self.run)))
            .with_output_types(Finished, found=pa.RecordBatch, rejects=pa.RecordBatch, failures=str)
            .with_outputs(FOUND, REJECTS, FAILURES, main="files")
        )
        return Rewritten(out.files, out.found, out.rejects, out.failures)


def split_starts(splits: beam.PCollection[Split]) -> beam.PCollection[bytes]:
    """One element: the addresses that splits with records begin with, ascending, as uint64."""
    return (
        splits
        | "Starts" >> beam.ParDo(Starts()).with_output_types(bytes)
        | "Gather starts" >> Gather()
        | "Sort starts" >> beam.Map(sorted_addresses)
    )


def copying(source: FileSource, columns: Columns, output: str, run: str) -> Copying:
    """What copying splits of a source needs to know; see RewriteDocuments."""
    read = source.read
    most = max((file.bytes for file in read.files), default=0) // read.split_bytes + 2
    return Copying(
        known=read.known,
        first=read.columns,
        wanted=columns,
        stored=read.stored_schema,
        output=output,
        run=run,
        file_digits=max(NUMBER_DIGITS, len(str(len(read.files)))),
        split_digits=max(NUMBER_DIGITS, len(str(most))),
        levels=read.partitions.levels if read.partitions else 0,
    )


def has_records(split: Split) -> bool:
    """Whether there may be documents in a split."""
    return not split.problem and split.rows != 0


def with_split(decisions: pa.RecordBatch, starts: bytes) -> Iterator[pa.RecordBatch]:
    """The decisions with the column SPLIT. Those about large clusters are stacked (see `kernels.stacking`).

    Args:
      decisions: with schema.NODE.
      starts: uint64, ascending: what the splits begin with.

    Raises:
      InputError: a node before them all.
    """
    firsts = np.frombuffer(starts, np.uint64)
    nodes = decisions.column(schema.NODE).to_numpy()
    places = np.searchsorted(firsts, nodes, side="right") - 1
    if len(places) and places.min() < 0:
        raise InputError(f"node {nodes[places.argmin()]} is no document of the input")
    located = decisions.append_column(SPLIT, pa.array(firsts[places], pa.uint64()))
    if located.schema.names[:-1] != schema.DECISION.names:
        return iter([located])
    return stack_decisions(located, SPLIT)


class Starts(beam.DoFn):
    """A bundle's splits as one array of what they begin with."""

    def start_bundle(self) -> None:
        self._starts: list[int] = []

    def process(self, split: Split) -> None:
        self._starts.append(split.address)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        packed = np.array(self._starts, np.uint64).tobytes()
        yield WindowedValue(packed, MIN_TIMESTAMP, (GlobalWindow(),))


def sorted_addresses(packed: list[bytes]) -> bytes:
    """Several packed runs of addresses as one: uint64, ascending."""
    return np.sort(np.frombuffer(b"".join(packed), np.uint64)).tobytes()


def _keyed(split: Split) -> tuple[int, Split]:
    return split.address, split


class _Copy(beam.DoFn):
    def __init__(self, copying: Copying) -> None:
        self._copying = copying
        self._metrics = StepMetrics()

    def process(self, element: tuple[Split, Any]) -> Iterator[Any]:
        split, decisions = element
        bare = (batch.drop_columns([SPLIT]) for batch in decisions)
        copied = self._metrics.timed(copy_split(split, bare, self._copying, self._metrics))
        for out in or_failure(tag_rejects(copied, self._metrics, STAGE)):
            yield beam.pvalue.TaggedOutput(FOUND, out) if isinstance(out, pa.RecordBatch) else out
        count_live(BYTES_READ_AGAIN, split.stop - split.start)


def or_failure(outputs: Iterator[Any]) -> Iterator[Any]:
    """The same; an input that changed ends them with a failure. Raised, it would be tried again in vain."""
    try:
        yield from outputs
    except InputError as error:
        yield beam.pvalue.TaggedOutput(FAILURES, str(error))
