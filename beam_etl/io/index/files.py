"""Files of an inverted index: each partition of postings, with its terms and the documents that fell to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.data_files import Finished, OpenFile
from beam_etl.kernels.blocks import merge_pieces, posting_schema
from beam_etl.kernels.indexing import DOCUMENT_GRANULE_BITS
from beam_etl.kernels.pieces import PACKED
from beam_etl.transforms.batches import merge_batches
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Partition

POSTINGS, TERMS, DOCUMENTS, SPLIT_TERMS = "postings", "terms", "documents", "split_terms"
"""Names of the tables."""

ABOUT = "index"
"""Where a manifest has the statistics."""

VERSION = 2
"""Of how an index is stored, and of how blocks and partitions are cut."""

ROW_GROUP_BYTES = 1 << 20
"""Stored bytes of a row group of postings, about: what a search for one term reads at least."""

TERM_ROWS = 1 << 14
"""Rows of a row group of terms: some 300 KB."""

_BLOCK_BYTES, _POSTING_BYTES, _POSITION_BYTES = 16, 2, 1
"""What is stored of a block besides its term, of a posting, and of a position, about."""

_SUFFIX = ".parquet"


class IndexFiles(NamedTuple):
    """What WriteIndex gives: tables for WriteDataset."""

    postings: beam.PCollection[Finished]
    terms: beam.PCollection[Finished]
    documents: beam.PCollection[Finished]


@dataclass(eq=False, kw_only=True)
class WriteIndex(beam.PTransform):
    """Writes each partition of an index into one file of postings, one of terms and one of documents. No shuffle.

    Input: `partitions` of BuildInvertedIndex. Output: IndexFiles.

    Args:
      output, run: folder of the dataset and the run's name, those of the WriteDataset that takes the files.
      positions: whether the pieces have them.
    """

    output: str
    run: str
    positions: bool

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, partitions: beam.PCollection[Partition]) -> IndexFiles:
        write = beam.ParDo(_WritePartition(self.output, self.run, self.positions)).with_output_types(
            Finished, terms=Finished, documents=Finished
        )
        written = partitions | "Write" >> write.with_outputs(TERMS, DOCUMENTS, main=POSTINGS)
        return IndexFiles(written.postings, written.terms, written.documents)


class _WritePartition(beam.DoFn):
    def __init__(self, output: str, run: str, positions: bool) -> None:
        self._output = output
        self._run = run
        self._positions = positions
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._attempt = staging.new_attempt()

    def process(self, partition: Partition) -> Iterator[Any]:
        yield from self._metrics.timed(self._write(partition))

    def _write(self, partition: Partition) -> Iterator[Any]:
        number, batches = partition
        pieces: list[pa.RecordBatch] = []
        documents: list[pa.RecordBatch] = []
        for batch in batches:
            self._metrics.took_in(batch)
            (pieces if PACKED in batch.schema.names else documents).append(batch)
        if documents:
            yield beam.pvalue.TaggedOutput(DOCUMENTS, self._documents(number, documents))
        if pieces:
            file = self._open(number, POSTINGS, posting_schema(self._positions), PostingWriter)
            for blocks in merge_pieces(pieces, merge_batches, self._positions):
                file.writer.write(blocks)
            yield file.close(file.writer.rows)
            yield beam.pvalue.TaggedOutput(TERMS, self._terms(number, file.writer.terms()))

    def _documents(self, number: int, documents: list[pa.RecordBatch]) -> Finished:
        file = self._open(number, DOCUMENTS, schema.INDEXED_DOCUMENT, parquet_writer)
        return file.close(write_documents(file.writer, documents))

    def _terms(self, number: int, terms: pa.RecordBatch) -> Finished:
        file = self._open(number, TERMS, schema.INDEX_TERM, parquet_writer)
        write_terms(file.writer, terms)
        return file.close(terms.num_rows)

    def _open(self, number: int, table: str, columns: pa.Schema, writer: Any) -> OpenFile:
        self._metrics.add("files_out", 1)
        name = staging.file_name(number, self._run, self._attempt, _SUFFIX)
        return OpenFile(self._output, self._run, f"{table}/{name}", columns, partial(writer, columns=columns))


_DELTA = ("documents", "positions", "first_document", "last_document", schema.NUMBER, "length", "position")
"""Integers that ascend, or differ little from their neighbours."""


def parquet_writer(sink: Any, columns: pa.Schema) -> pq.ParquetWriter:
    """A writer of one of an index's tables, with the encodings that suit its columns."""
    encodings: dict[str, str] = {schema.TERM: "DELTA_BYTE_ARRAY"} if schema.TERM in columns.names else {}
    for name in set(_DELTA) & set(columns.names):
        path = f"{name}.list.element" if pa.types.is_list(columns.field(name).type) else name
        encodings[path] = "DELTA_BINARY_PACKED"
    others = [_path(column) for column in columns if _path(column) not in encodings]
    return pq.ParquetWriter(
        sink,
        columns,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=others,
        column_encoding=encodings,
    )


def write_documents(writer: pq.ParquetWriter, documents: Sequence[pa.RecordBatch]) -> int:
    """SHUFFLED_DOCUMENT by number, a row group a granule; how many there are."""
    rows = merge_batches(documents).select(schema.INDEXED_DOCUMENT.names).sort_by(schema.NUMBER)
    granule = rows.column(schema.NUMBER).to_numpy() >> np.uint32(DOCUMENT_GRANULE_BITS)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(granule)) + 1, [rows.num_rows]]).tolist()
    for begin, end in pairwise(edges):
        _write_group(writer, rows.slice(begin, end - begin))
    return int(rows.num_rows)


def write_terms(writer: pq.ParquetWriter, terms: pa.RecordBatch) -> None:
    """INDEX_TERM of a file of postings."""
    for begin in range(0, terms.num_rows, TERM_ROWS):
        _write_group(writer, terms.slice(begin, TERM_ROWS))


def _path(column: pa.Field) -> str:
    return f"{column.name}.list.element" if pa.types.is_list(column.type) else str(column.name)


def _write_group(writer: pq.ParquetWriter, rows: pa.RecordBatch) -> None:
    writer.write_table(pa.Table.from_batches([rows]), row_group_size=max(rows.num_rows, 1))


@dataclass
class _Blocks:
    """What `terms` says of blocks that were written."""

    terms: list[pa.Array] = field(default_factory=list)
    postings: list[np.ndarray] = field(default_factory=list)
    occurrences: list[np.ndarray] = field(default_factory=list)
    groups: list[np.ndarray] = field(default_factory=list)


class PostingWriter:
    """Writes blocks in row groups of about ROW_GROUP_BYTES, whatever batches they come in, and notes where they are."""

    def __init__(self, sink: Any, columns: pa.Schema) -> None:
        self._writer = parquet_writer(sink, columns)
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0
        self._group = 0
        self._blocks = _Blocks()
        self.rows = 0

    def write(self, blocks: pa.RecordBatch) -> None:
        """Writes some blocks, in order."""
        costs, occurrences = _costs(blocks)
        group = np.empty(blocks.num_rows, np.int64)
        begin = 0
        while begin < blocks.num_rows:
            sums = self._bytes + np.cumsum(costs[begin:])
            end = begin + int(np.searchsorted(sums, ROW_GROUP_BYTES)) + 1
            full, end = end <= blocks.num_rows, min(end, blocks.num_rows)
            self._held.append(blocks.slice(begin, end - begin))
            self._bytes = int(sums[end - begin - 1])
            group[begin:end] = self._group
            if full:
                self._flush()
            begin = end
        self.rows += blocks.num_rows
        self._blocks.terms.append(blocks.column(schema.TERM))
        self._blocks.postings.append(blocks.column("document_frequency").to_numpy().astype(np.int64))
        self._blocks.occurrences.append(occurrences)
        self._blocks.groups.append(group)

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._held).combine_chunks()
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._group += 1
        self._held, self._bytes = [], 0

    def close(self) -> None:
        """Ends the file."""
        if self._held:
            self._flush()
        self._writer.close()

    def terms(self) -> pa.RecordBatch:
        """INDEX_TERM of the file, which is closed."""
        term = pa.concat_arrays(self._blocks.terms)
        postings, occurrences, groups = (
            np.concatenate(values)
            for values in (self._blocks.postings, self._blocks.occurrences, self._blocks.groups)
        )
        new = np.append(True, ~np.asarray(pc.equal(term[1:], term[:-1])))
        begins = np.flatnonzero(new)
        ends = np.append(begins[1:], len(term))
        starts, stops = _ranges(self._writer.writer.metadata)
        first, last = groups[begins], groups[ends - 1]
        columns = [
            term.take(pa.array(begins)),
            np.add.reduceat(postings, begins),
            np.add.reduceat(occurrences, begins),
            first.astype(np.int32),
            (last - first + 1).astype(np.int32),
            starts[first],
            stops[last] - starts[first],
        ]
        return pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=schema.INDEX_TERM)


def _costs(blocks: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Stored bytes of each block, about, by what is in it; and how often its documents have the term."""
    frequencies = blocks.column("frequencies")
    offsets = frequencies.offsets.to_numpy()
    occurrences = np.add.reduceat(frequencies.values.to_numpy().astype(np.int64), offsets[:-1])
    costs = pc.binary_length(blocks.column(schema.TERM)).to_numpy() + _BLOCK_BYTES
    costs = costs + _POSTING_BYTES * np.diff(offsets)
    if schema.POSITIONS.name in blocks.schema.names:
        costs = costs + _POSITION_BYTES * occurrences
    return costs, occurrences


def _ranges(metadata: pq.FileMetaData) -> tuple[np.ndarray, np.ndarray]:
    """Where each row group begins and ends in its file."""
    starts, stops = [], []
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = [group.column(number) for number in range(group.num_columns)]
        begins = [column.dictionary_page_offset or column.data_page_offset for column in columns]
        starts.append(min(begins))
        stops.append(
            max(begin + column.total_compressed_size for begin, column in zip(begins, columns, strict=True))
        )
    return np.array(starts, np.int64), np.array(stops, np.int64)
