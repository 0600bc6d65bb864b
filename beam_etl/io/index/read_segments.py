"""ReadSegments: the postings and documents of indexes, by the numbers that they have in the index of all."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.typehints.decorators import no_annotations

from beam_etl.io.access import open_file
from beam_etl.io.checks import evenly
from beam_etl.io.errors import InputError, is_content_error
from beam_etl.io.formats import FileEntry
from beam_etl.io.index.files import ABOUT, DOCUMENTS, POSTINGS
from beam_etl.io.index.segments import Opened, Segment, Segments, open_segments
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.read import GROUP_FILES
from beam_etl.io.stored import REMOVALS, StoredError
from beam_etl.io.stores import store_of
from beam_etl.kernels.indexing import put_in_ranges
from beam_etl.kernels.renumbering import Renumbered, moved_documents, moved_pieces
from beam_etl.transforms.batches import Batches, split_batch
from beam_etl.transforms.metrics import BYTES_READ, FILES_READ, ROWS_READ, StepMetrics, count_live
from beam_etl.transforms.shuffle import Distribute

SAMPLE, COUNT, STATISTICS, FAILURES = "sample", "count", "statistics", "failures"
"""Tags of outputs."""

DOCUMENTS_REMOVED, REMOVALS_ABSENT = "documents_removed", "removals_absent"
"""Counters: documents that were left out, and removals of which no segment has the document."""

SAMPLED_FILES, SAMPLED_GROUPS = 8, 2
"""Files of a table of each segment, and row groups of each of them, that the launcher looks into for an estimate."""

Part: TypeAlias = tuple[int, DataFile]
"""The number of a segment, and a file of its postings or documents."""


class SegmentsRead(NamedTuple):
    """What ReadSegments gives."""

    rows: Batches
    """pieces.NUMBERED_PIECE, and other batches of indexing.SHUFFLED_DOCUMENT."""
    sample: Batches
    """split_terms.COSTS."""
    count: beam.PCollection[int]
    """One element: how many documents stay."""
    statistics: beam.PCollection[dict[str, Any]]
    """One element, as of BuildInvertedIndex. `left_out` is that of the segments, removed documents included."""
    failures: beam.PCollection[str]
    """Why there is no index, as text: a segment was replaced or is damaged, or nothing was removed that should be."""


class SegmentSource:
    """Some indexes as a pipeline's source.

    Args:
      pipeline: which is built.
      folders: of the indexes. The documents of each come behind those of the one before.
      removals: a dataset with a table `removals`, as dedup writes it. A document that it names is left out, by file and
        position: ids may repeat, and then one of them stays.

    Raises:
      InputError: as open_segments.
    """

    def __init__(self, pipeline: beam.Pipeline, folders: Sequence[str], removals: str | None = None) -> None:
        self.pipeline = pipeline
        self.segments, self._found, self._removals = open_segments(folders, removals)

    @property
    def about(self) -> dict[str, Any]:
        """What the first manifest says of its index; the others have the same rules."""
        return dict(self._found[0].about[ABOUT])

    @property
    def origins(self) -> list[dict[str, Any]]:
        """Where the documents come from: folder, run, number and the configuration that built it, of each segment."""
        return [
            {
                "folder": one.folder,
                "run": one.run,
                "documents": one.documents,
                "config": found.about.get("config"),
            }
            for one, found in zip(self.segments.segments, self._found, strict=True)
        ]

    @property
    def parts(self) -> list[Part]:
        """What workers read."""
        return [
            (number, file)
            for number, found in enumerate(self._found)
            for table in (POSTINGS, DOCUMENTS)
            for file in found.table(table)
        ]

    @property
    def files(self) -> list[FileEntry]:
        """The files of `parts`."""
        folders = [segment.folder for segment in self.segments.segments]
        paths = [(f"{folders[number]}/{file.path}", file.bytes) for number, file in self.parts]
        return [FileEntry(number, *path) for number, path in enumerate(paths)]

    @property
    def input_bytes(self) -> int:
        """Stored bytes of them."""
        return sum(file.bytes for _, file in self.parts)

    def read(self) -> SegmentsRead:
        """All that stays of them."""
        left_out = sum(found.about[ABOUT]["left_out"] for found in self._found)
        positions = self.about["positions"]
        found: SegmentsRead = self.pipeline | "Read segments" >> ReadSegments(
            segments=self.segments, parts=self.parts, positions=positions, left_out=left_out
        )
        return found

    def expected_bytes(self) -> int:
        """Bytes that will cross the shuffle, estimated from some row groups.

        Raises:
          InputError: an index was replaced just now, or is damaged.
        """
        removed = 0 if self._removals is None else self._removals.rows(REMOVALS)
        documents = sum(segment.documents for segment in self.segments.segments)
        crossing = 0.0
        for segment, found in zip(self.segments.segments, self._found, strict=True):
            try:
                crossing += _expected(segment, found)
            except StoredError as error:
                raise InputError(str(error)) from error
        return round(crossing * max(1 - removed / max(documents, 1), 0))


def _expected(segment: Segment, found: Manifest) -> float:
    about = found.about[ABOUT]
    length = np.uint32(max(about["tokens"] // max(segment.documents, 1), 1))
    nothing = np.broadcast_to(np.False_, (segment.documents,))
    becomes = Renumbered(0, None, np.broadcast_to(length, (segment.documents,)), nothing)

    def pieces(blocks: pa.RecordBatch) -> int:
        return int(put_in_ranges(moved_pieces(blocks, becomes, about["positions"])[0], ()).nbytes)

    def documents(rows: pa.RecordBatch) -> int:
        return int(moved_documents(rows, becomes).nbytes)

    return sum(
        _scaled(segment, found.table(table), measure)
        for table, measure in ((POSTINGS, pieces), (DOCUMENTS, documents))
    )


def _scaled(segment: Segment, files: Sequence[DataFile], measure: Any) -> float:
    """What all files measure, by rows: those of a file are alike, as terms are spread by their hashes."""
    rows = crossing = 0.0
    for file in evenly(list(files), SAMPLED_FILES):
        for batch in _some(segment, file):
            crossing += measure(batch)
            rows += batch.num_rows
    return crossing * sum(file.rows for file in files) / max(rows, 1.0)


def _some(segment: Segment, file: DataFile) -> list[pa.RecordBatch]:
    try:
        path = segment.path(file)
        if store_of(path).look(path).bytes != file.bytes:  # before a library looks at something else
            raise segment.damaged(file)
        opened = pq.ParquetFile(open_file(path), page_checksum_verification=True)
        groups = evenly(list(range(opened.metadata.num_row_groups)), SAMPLED_GROUPS)
        return [
            batch
            for group in groups
            for batch in opened.read_row_group(group, use_threads=False).combine_chunks().to_batches()
        ]
    except FileNotFoundError as error:
        raise segment.replaced() from error
    except Exception as error:
        if not is_content_error(error):
            raise
        raise segment.damaged(file) from error


@dataclass(eq=False, kw_only=True)
class ReadSegments(beam.PTransform):
    """Segments as numbered pieces and documents of one index. No shuffle: files are handed out.

    Input: the pipeline. Output: SegmentsRead. Each process that reads holds what Segments says.

    Args:
      segments: the indexes.
      parts: their files.
      positions: whether they have them.
      left_out: words that they left out, for the statistics.
    """

    segments: Segments
    parts: Sequence[Part]
    positions: bool
    left_out: int

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, pipeline: beam.Pipeline) -> SegmentsRead:
        groups = [_pack(self.parts[at : at + GROUP_FILES]) for at in range(0, len(self.parts), GROUP_FILES)]
        read = beam.ParDo(_ReadPart(self.segments, self.positions)).with_output_types(
            pa.RecordBatch, **{SAMPLE: pa.RecordBatch, FAILURES: str}
        )
        found = (
            pipeline
            | "Files" >> beam.Create(groups, reshuffle=False)
            | "Unpack" >> beam.FlatMap(_unpack).with_output_types(Part)
            | "Distribute" >> Distribute()
            | "Read" >> read.with_outputs(SAMPLE, FAILURES, main="rows")
        )
        tell = beam.ParDo(_Tell(self.segments, self.left_out)).with_output_types(
            int, **{STATISTICS: dict[str, Any], FAILURES: str}
        )
        told = (
            pipeline
            | "One" >> beam.Create([0], reshuffle=False)
            | "Statistics" >> tell.with_outputs(STATISTICS, FAILURES, main=COUNT)
        )
        failures = (found[FAILURES], told[FAILURES]) | "Failures" >> beam.Flatten()
        return SegmentsRead(found.rows, found[SAMPLE], told[COUNT], told[STATISTICS], failures)


def _pack(parts: Sequence[Part]) -> bytes:
    return zlib.compress(json.dumps([(number, *astuple(file)) for number, file in parts]).encode())


def _unpack(packed: bytes) -> list[Part]:
    return [(number, DataFile(*file)) for number, *file in json.loads(zlib.decompress(packed))]


class _ReadPart(beam.DoFn):
    def __init__(self, segments: Segments, positions: bool) -> None:
        self._segments = segments
        self._positions = positions
        self._metrics = StepMetrics()
        self._opened: Opened | None = None

    def process(self, part: Part) -> Iterator[Any]:
        number, file = part
        try:
            self._opened = self._opened or self._segments.opened()
            becomes = self._opened.parts[number]
            read = self._documents if file.table == DOCUMENTS else self._postings
            for batch in self._metrics.timed(self._segments.segments[number].read(file)):
                self._metrics.took_in(batch)
                yield from self._metrics.timed(read(batch, becomes))
        except StoredError as error:  # raised, it would be tried again in vain
            yield beam.pvalue.TaggedOutput(FAILURES, str(error))
            return
        self._metrics.add(BYTES_READ, file.bytes)
        count_live(BYTES_READ, file.bytes)
        count_live(FILES_READ, 1)

    def _documents(self, rows: pa.RecordBatch, becomes: Renumbered) -> Iterator[Any]:
        self._metrics.add(ROWS_READ, rows.num_rows)
        for batch in split_batch(moved_documents(rows, becomes)):
            self._metrics.gave_out(batch)
            yield batch

    def _postings(self, blocks: pa.RecordBatch, becomes: Renumbered) -> Iterator[Any]:
        pieces, costs = moved_pieces(blocks, becomes, self._positions)
        for batch in split_batch(pieces, max(pieces.num_rows, 1)):
            self._metrics.gave_out(batch)
            yield batch
        for batch in split_batch(costs):
            yield beam.pvalue.TaggedOutput(SAMPLE, batch)


class _Tell(beam.DoFn):
    """What there is in all, or why there is nothing."""

    def __init__(self, segments: Segments, left_out: int) -> None:
        self._segments = segments
        self._left_out = left_out
        self._metrics = StepMetrics()

    def process(self, _: int) -> Iterator[Any]:
        try:
            opened = self._segments.opened()
        except StoredError as error:
            yield 0
            yield beam.pvalue.TaggedOutput(FAILURES, str(error))
            return
        yield opened.documents
        yield beam.pvalue.TaggedOutput(STATISTICS, _statistics(opened, self._left_out))
        if opened.removed is not None:
            read = sum(segment.documents for segment in self._segments.segments)
            self._metrics.add(DOCUMENTS_REMOVED, read - opened.documents)
            self._metrics.add(REMOVALS_ABSENT, len(opened.removed) - opened.removed.found)
            if len(opened.removed) and not opened.removed.found:
                yield beam.pvalue.TaggedOutput(FAILURES, self._nothing_removed(opened))

    def _nothing_removed(self, opened: Opened) -> str:
        assert self._segments.removals is not None
        assert opened.removed is not None
        return (
            f"none of the {len(opened.removed):,} removals of {self._segments.removals.folder} is of a document of "
            f"these indexes. A document is known by the path that it was read from and its position; the first removal "
            f"is of {opened.removed.file}. Give the removals of the files that were indexed, or leave out --removals."
        )


def _statistics(opened: Opened, left_out: int) -> Mapping[str, Any]:
    documents, tokens = opened.documents, sum(part.tokens for part in opened.parts)
    return {
        "documents": documents,
        "tokens": tokens,
        "average_length": tokens / max(documents, 1),
        "left_out": left_out,
    }
