"""WriteTokens: packed documents to shards of token ids, in one shuffled order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints.decorators import no_annotations

from beam_etl.io import staging
from beam_etl.io.data_files import Finished, HashedFile, OpenFile, write_files
from beam_etl.io.formats.parquet import Parquet
from beam_etl.io.sort_ranges import MergeRanges, SortIntoRanges
from beam_etl.io.token_files import ARRAY, IDS, INDEX, OFFSETS
from beam_etl.kernels.hashing import string_buffers
from beam_etl.kernels.token_arrays import array_header, offset_pieces
from beam_etl.kernels.token_index import index_pieces
from beam_etl.kernels.tokenizing import (
    PACKED,
    SHUFFLED_ORDER,
    TOKENS,
    Integers,
    Packing,
    documents_of,
    ids_of_shards,
    shard_bounds,
)
from beam_etl.schema import TOKEN_SHARD
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.metrics import BYTES_OUT, ROWS_OUT
from beam_etl.transforms.shuffle import Fold

MEGATRON, NUMPY, PARQUET = "megatron", "numpy", "parquet"
LAYOUTS = (MEGATRON, NUMPY, PARQUET)
_SUFFIXES = {MEGATRON: (IDS, INDEX), NUMPY: (ARRAY, OFFSETS)}
"""Of ids, and of what tells of documents."""

_SHARDS = "shards"

_COUNTS = np.dtype("<i8")
"""Of ids, as they travel."""


class WrittenTokens(NamedTuple):
    """What WriteTokens gives."""

    files: beam.PCollection[Finished]
    """Files of the run, for WriteDataset. By their names they are in the order of documents."""
    shards: Batches
    """schema.TOKEN_SHARD: a row for each shard that has documents."""


@dataclass(eq=False, kw_only=True)
class WriteTokens(beam.PTransform):
    """Packed documents to shards in the order of SHUFFLED. One shuffle, of ids: they cross as files (SortIntoRanges).

    A shard has an equal part of all hashes, so no sample of them is needed, and all shards one after another are the
    same ids whatever their number.

    Input: batches of `tokenizing.document_packer`. Output: WrittenTokens.

    Args:
      packing: what made the input.
      output, run: folder of the dataset and the run's name, those of the WriteDataset that takes the files.
      table: its name.
      layout: megatron, files of ids with an index (kernels/token_index.py); numpy, arrays of ids and of offsets
        (kernels/token_arrays.py); or parquet, rows of `id` and `tokens`, for which the input has ids.
      shards: how many, up to sort_ranges.MAX_PARTITIONS.
      expected_bytes: of all ids, estimated.

    Raises:
      ValueError: another layout, or shards out of range.
    """

    packing: Packing
    output: str
    run: str
    table: str = TOKENS
    layout: str = MEGATRON
    shards: int
    expected_bytes: int

    def __post_init__(self) -> None:
        super().__init__()
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout is one of {', '.join(LAYOUTS)}, got {self.layout!r}")
        self._sort = SortIntoRanges(
            order=SHUFFLED_ORDER,
            output=self.output,
            run=self.run,
            partitions=self.shards,
            bounds=shard_bounds(self.shards),
            expected_bytes=self.expected_bytes,
        )

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, packed: Batches) -> WrittenTokens:
        ranges, _ = packed | "Shuffle documents" >> self._sort
        sides = [beam.pvalue.AsSingleton(self._ids_of_all(packed))] if self.layout == NUMPY else []
        writing = beam.ParDo(_WriteShard(self), *sides).with_output_types(Finished, shards=pa.RecordBatch)
        written = ranges | "Write" >> writing.with_outputs(_SHARDS, main="files")
        return WrittenTokens(written.files, written[_SHARDS])

    def _ids_of_all(self, packed: Batches) -> beam.PCollection[bytes]:
        """The ids of each shard: an array tells its length before its values."""
        count = _CountIds(self.shards, self.packing.dtype.itemsize)
        return (
            packed
            | "Count ids" >> beam.ParDo(count).with_output_types(bytes)
            | "Sum" >> Fold(merge=partial(_summed, shards=self.shards))
        )


class _CountIds(beam.DoFn):
    """The ids of each shard in a bundle: int64[shards], as bytes."""

    def __init__(self, shards: int, id_bytes: int) -> None:
        self._shards, self._id_bytes = shards, id_bytes

    def setup(self) -> None:
        self._bounds = shard_bounds(self._shards)

    def start_bundle(self) -> None:
        self._found: Integers = np.zeros(self._shards, np.int64)

    def process(self, packed: pa.RecordBatch) -> None:
        self._found += ids_of_shards(packed, self._bounds, self._id_bytes)

    def finish_bundle(self) -> Iterator[Any]:
        yield GlobalWindows.windowed_value(self._found.astype(_COUNTS).tobytes())


def _summed(counts: list[bytes], shards: int) -> bytes:
    total = np.zeros(shards, _COUNTS)
    for some in counts:
        total += np.frombuffer(some, _COUNTS)
    return total.tobytes()


class _WriteShard(MergeRanges):
    """Writes the documents of a shard, and tells of it."""

    def __init__(self, writing: WriteTokens) -> None:
        super().__init__(SHUFFLED_ORDER, writing.output, writing.run)
        self._table, self._layout = writing.table, writing.layout
        self._dtype = writing.packing.dtype

    def process(self, element: tuple[bytes, Any], ids_of_all: bytes = b"") -> Iterator[Any]:
        self._ids_of_all = np.frombuffer(ids_of_all, _COUNTS)
        yield from super().process(element)

    def write(self, number: int, rows: Iterator[pa.RecordBatch]) -> Iterator[Any]:
        first = next(rows, None)
        if first is None:
            return
        lengths: list[np.ndarray] = []
        counted = self._counted(chain([first], rows), lengths)
        finished = self._parquet(number, counted) if self._layout == PARQUET else self._ids(number, counted)
        yield finished
        ids_of = np.concatenate(lengths)
        if self._layout in _SUFFIXES:
            yield self._index(number, ids_of)
        documents, ids = len(ids_of), int(ids_of.sum(dtype=np.int64))
        told = [[number], [finished[0].path], [documents], [ids - documents], [documents]]
        columns = [pa.array(value, field.type) for value, field in zip(told, TOKEN_SHARD, strict=True)]
        yield beam.pvalue.TaggedOutput(_SHARDS, pa.RecordBatch.from_arrays(columns, schema=TOKEN_SHARD))

    def _counted(self, rows: Iterable[pa.RecordBatch], lengths: list[np.ndarray]) -> Iterator[pa.RecordBatch]:
        """The rows, whose numbers of ids are added to `lengths`: 4 bytes a document are held."""
        for batch in rows:
            sizes = pc.binary_length(batch.column(PACKED)).to_numpy()
            lengths.append((sizes // self._dtype.itemsize).astype(np.int32))
            yield batch

    def _parquet(self, number: int, rows: Iterator[pa.RecordBatch]) -> Finished:
        documents = (documents_of(batch, self._dtype) for batch in rows)
        [finished] = write_files(documents, partial(self._open_parquet, number), _NO_BOUND, self._metrics)
        return finished

    def _ids(self, number: int, rows: Iterator[pa.RecordBatch]) -> Finished:
        file = self._open(number, _SUFFIXES[self._layout][0])
        if self._layout == NUMPY:
            file.writer.write(array_header(self._dtype, int(self._ids_of_all[number])))
        size = 0
        for batch in rows:
            self._metrics.took_in(batch)
            offsets, data = string_buffers(batch.column(PACKED))
            file.writer.write(data[offsets[0] : offsets[-1]])
            size += int(offsets[-1] - offsets[0])
        finished, written = self._closed(file, 0), size // self._dtype.itemsize
        if self._layout == NUMPY and written != self._ids_of_all[number]:
            raise RuntimeError(
                f"shard {number}: {self._ids_of_all[number]:,} ids were counted for its array and {written:,} written, "
                f"so documents weren't tokenized twice alike. Run the job again; if it stays so, report it."
            )
        return finished

    def _index(self, number: int, lengths: np.ndarray) -> Finished:
        is_array = self._layout == NUMPY
        pieces = offset_pieces(lengths) if is_array else index_pieces(lengths, self._dtype.itemsize)
        file = self._open(number, _SUFFIXES[self._layout][1])
        for piece in pieces:
            file.writer.write(piece)
        return self._closed(file, len(lengths))

    def _open(self, number: int, suffix: str) -> OpenFile:
        columns = pa.schema([(TOKENS, pa.from_numpy_dtype(self._dtype))])
        return OpenFile(self._output, self._run, self._path(number, suffix), columns, _Plain)

    def _open_parquet(self, number: int, part: int, columns: pa.Schema) -> OpenFile:
        del part  # there is one
        path, writer = self._path(number, Parquet.suffix), partial(Parquet().writer, columns=columns)
        return OpenFile(self._output, self._run, path, columns, writer)

    def _path(self, number: int, suffix: str) -> str:
        return f"{self._table}/{staging.file_name(number, self._run, self._attempt, suffix)}"

    def _closed(self, file: OpenFile, rows: int) -> Finished:
        finished = file.close(rows)
        self._metrics.add("files_out", 1)
        self._metrics.add(ROWS_OUT, rows)
        self._metrics.add(BYTES_OUT, finished[0].bytes)
        return finished


_NO_BOUND = 1 << 62
"""Bytes of a shard's file."""


class _Plain:
    """Writes bytes as they are."""

    def __init__(self, sink: HashedFile) -> None:
        self.write = sink.write

    def close(self) -> None:
        """Nothing is left."""
