"""FetchRows: some documents by their address, from the parts of files that hold them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import Split, SplitReader
from beam_etl.io.formats.base import Seeking
from beam_etl.io.read import REJECTS, tag_rejects
from beam_etl.io.rejects import Reject
from beam_etl.io.rewrite import has_records, split_starts
from beam_etl.io.splits import read_split
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.metrics import BYTES_READ_AGAIN, StepMetrics, count_live

STAGE = "fetch"
"""What rejects of it have in the column `stage`."""


class Fetched(NamedTuple):
    """What FetchRows gives."""

    rows: Batches
    """The documents, each once."""
    rejects: Batches
    """Batches of schema.REJECT: what could not be read where a document is missing."""


@dataclass(eq=False, kw_only=True)
class FetchRows(beam.PTransform):
    """The documents of some addresses. No shuffle: every worker gets the addresses, 8 bytes each.

    Only splits that hold one are read, and of Parquet the row groups that do, up to the last of them.

    Input: one element, the addresses as uint64, ascending. Output: Fetched.

    Args:
      source: the input, whose documents() was called.
      columns: what is wanted of the documents.
    """

    source: FileSource
    columns: Columns

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, addresses: beam.PCollection[bytes]) -> Fetched:
        splits = self.source.splits | "With records" >> beam.Filter(has_records)
        starts = split_starts(splits)
        out = splits | "Fetch" >> beam.ParDo(
            _Fetch(self.source, self.columns),
            starts=beam.pvalue.AsSingleton(starts),
            addresses=beam.pvalue.AsSingleton(addresses),
        ).with_output_types(pa.RecordBatch, rejects=pa.RecordBatch).with_outputs(REJECTS, main="rows")
        return Fetched(out.rows, out[REJECTS])


class _Fetch(beam.DoFn):
    def __init__(self, source: FileSource, columns: Columns) -> None:
        self._how = (source.read.known, columns, source.read.stored_schema)
        self._metrics = StepMetrics()

    def process(self, split: Split, starts: bytes, addresses: bytes) -> Iterator[Any]:
        wanted = wanted_of(split, np.frombuffer(starts, np.uint64), np.frombuffer(addresses, np.uint64))
        if not len(wanted):
            return
        found = self._metrics.timed(self._fetched(split, wanted))
        yield from tag_rejects(found, self._metrics, STAGE)
        count_live(BYTES_READ_AGAIN, split.stop - split.start)

    def _fetched(self, split: Split, wanted: np.ndarray) -> Iterator[pa.RecordBatch | Reject]:
        missing, rejects = len(wanted), []
        positions = (wanted & np.uint64(schema.MAX_POSITION)).astype(np.int64)
        for read in read_split(split, *self._how, spare=partial(_only, positions=positions)):
            if isinstance(read, Reject):
                rejects.append(read)
                continue
            addresses = read.column(schema.ADDRESS).to_numpy()
            is_wanted = np.isin(addresses, wanted, assume_unique=True)
            if is_wanted.any():
                rows = read.filter(pa.array(is_wanted))
                missing -= rows.num_rows
                self._metrics.gave_out(rows)
                yield rows
            if not missing:
                return
        yield from rejects


def _only(reader: SplitReader, common: pa.Schema | None, positions: np.ndarray) -> SplitReader:
    if isinstance(reader, Seeking):
        reader.seek(positions)
    return reader


def wanted_of(split: Split, starts: np.ndarray, addresses: np.ndarray) -> np.ndarray:
    """Those of the addresses that lie in a split, given what all splits begin with, ascending: uint64."""
    begin = np.uint64(split.address)
    after = np.searchsorted(starts, begin, side="right")
    first = np.searchsorted(addresses, begin)
    last = np.searchsorted(addresses, starts[after]) if after < len(starts) else len(addresses)
    return addresses[first:last]
