"""BuildInvertedIndex: from documents to the postings of each term, by partition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl import schema
from beam_etl.kernels.indexing import (
    LENGTH,
    local_pieces,
    name_documents,
    number_from,
    number_pieces,
    shuffled_documents,
)
from beam_etl.kernels.inverting import INVERTED_BYTES, invert_batches
from beam_etl.kernels.pieces import PACKED
from beam_etl.kernels.places import Numbered, number_places, pack_places, place_failures
from beam_etl.kernels.split_terms import in_sample, sample_costs, term_strings
from beam_etl.kernels.unicode_table import RULES
from beam_etl.transforms.batches import Batches, run_or_reject, split_batch, tagged
from beam_etl.transforms.documents import REJECTS
from beam_etl.transforms.metrics import RECORDS_REJECTED, StepMetrics
from beam_etl.transforms.partition_index import NumberedIndex, PartitionIndex
from beam_etl.transforms.shuffle import Gather, Partition

ELEMENT_BYTES = 16 << 20
"""Pieces that travel together at most; only a huge document has more."""

PLACES, SAMPLE = "places", "sample"

STAGE = "invert"
"""What rejects have in the column `stage`."""

LocalRows = tuple[bytes, bytes, pa.RecordBatch]
"""RUN of batches that were inverted together, the lengths of their documents, uint32, and some of their LOCAL_PIECE. Or
RUN of one batch and its LOCAL_DOCUMENT: in two PCollections they would be written once more where these meet."""

RUN = np.dtype([("first", "<u8"), ("documents", "<u8")])
"""A batch: its first address, and how many documents it has."""


class Index(NamedTuple):
    """What BuildInvertedIndex gives."""

    partitions: beam.PCollection[Partition]
    """Batches of pieces.PIECE and of indexing.SHUFFLED_DOCUMENT, for blocks.merge_pieces and to be sorted."""
    split_terms: Batches
    """schema.SPLIT_TERM."""
    statistics: beam.PCollection[dict[str, Any]]
    """One element: documents, tokens, average_length, left_out (see docs/index.md)."""
    failures: beam.PCollection[str]
    """Why there is no index, as text: what was indexed isn't what was read, or too much."""
    rejects: Batches | None = None
    """schema.REJECT: documents that can't be inverted, which have no number; None where nothing was."""


@dataclass(eq=False, kw_only=True)
class BuildInvertedIndex(beam.PTransform):
    """An inverted index. One shuffle, of packed postings and the documents' names; a small one of frequent terms.

    Input: batches of documents as ReadDocuments gives them, with address, text, id, and maybe url. Output: Index.
    Documents are numbered from 0 in the order of their addresses. How many there are in each batch is gathered (some
    bytes a batch), so there is no single reader and no second read, and a rejected document has no number.

    Args:
      words: the rule of what a word is, one of unicode_table.RULES.
      positions: keep the places of terms in their documents.
      partitions, expected_bytes: as for Shuffle.

    Raises:
      ValueError: no such rule.
    """

    words: str = "words"
    positions: bool = False
    partitions: int | None = None
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.words not in RULES:
            raise ValueError(f"no word rule {self.words!r}; there are {', '.join(RULES)}")
        self.partition = PartitionIndex(partitions=self.partitions, expected_bytes=self.expected_bytes)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> Index:
        inverting = beam.ParDo(_Invert(self.words, self.positions)).with_output_types(
            LocalRows, places=bytes, sample=pa.RecordBatch, rejects=pa.RecordBatch
        )
        local = documents | "Invert" >> inverting.with_outputs(PLACES, SAMPLE, REJECTS, main="rows")
        places = beam.pvalue.AsSingleton(local.places | "Gather places" >> Gather())
        numbered = local.rows | "Number" >> beam.ParDo(
            _Number(self.positions), places=places
        ).with_output_types(pa.RecordBatch)
        one = documents.pipeline | "One" >> beam.Create([0], reshuffle=False)
        count = one | "Count" >> beam.Map(_count, places=places).with_output_types(int)
        partitioned = NumberedIndex(numbered, local.sample, count) | "Partition" >> self.partition
        return Index(
            partitioned.partitions,
            partitioned.split_terms,
            one | "Statistics" >> beam.Map(_statistics, places=places),
            one | "Failures" >> beam.FlatMap(_failures, places=places).with_output_types(str),
            local[REJECTS],
        )


class _Invert(beam.DoFn):
    """What batches have: their pieces, their documents, their places, and what their terms cost in the sample.

    Batches are held until there are INVERTED_BYTES of them.
    """

    def __init__(self, rule: str, positions: bool) -> None:
        self._rule = rule
        self._positions = positions
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0
        self._places: list[tuple[int, int, int, int, int]] = []

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        self._metrics.took_in(batch)
        if not batch.num_rows:
            return
        if self._held and (
            self._bytes + batch.nbytes > INVERTED_BYTES
            or _address(batch, 0) <= _address(self._held[-1], -1)  # documents ascend in a piece
        ):
            yield from self._metrics.timed(self._invert())
        self._held.append(batch)
        self._bytes += batch.nbytes

    def finish_bundle(self) -> Iterator[Any]:
        if self._held:
            for found in self._metrics.timed(self._invert()):
                yield _unwindowed(found)
        if self._places:
            yield _unwindowed(beam.pvalue.TaggedOutput(PLACES, pack_places(self._places)))

    def _invert(self) -> Iterator[Any]:
        batches, self._held, self._bytes = self._held, [], 0
        try:
            inverted = invert_batches(batches, self._rule, self._positions)
        except Exception:  # noqa: BLE001 - whatever a kernel fails with
            batches, rejects = invertible(batches, self._rule, self._positions)
            self._metrics.add(RECORDS_REJECTED, sum(batch.num_rows for batch in rejects))
            yield from tagged(REJECTS, rejects)
            if not batches:
                return
            inverted = invert_batches(batches, self._rule, self._positions)
        terms = term_strings(inverted)
        named = name_documents(batches, inverted.lengths)
        left_out = inverted.left_out
        for batch, documents in zip(batches, named, strict=True):
            first = _address(batch, 0)
            tokens = int(documents.column(LENGTH).to_numpy().sum(dtype=np.int64))
            self._places.append((first, _address(batch, -1), batch.num_rows, tokens, left_out))
            left_out = 0
            self._metrics.gave_out(documents)
            yield _runs([batch]), b"", documents
        runs, lengths = _runs(batches), inverted.lengths.tobytes()
        for pieces in split_batch(local_pieces(inverted, terms), max(len(terms), 1), ELEMENT_BYTES):
            self._metrics.gave_out(pieces)
            yield runs, lengths, pieces
        costs = sample_costs(inverted, np.concatenate(list(map(in_sample, named))), terms)
        if costs is not None:
            for part in split_batch(costs):
                yield beam.pvalue.TaggedOutput(SAMPLE, part)


def invertible(
    batches: Sequence[pa.RecordBatch], rule: str, positions: bool
) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """The documents that can be inverted, in their order, and schema.REJECT of the others."""
    kernel = partial(_inverted, rule=rule, positions=positions)
    tried = [run_or_reject(kernel, batch, STAGE) for batch in batches]
    good = [batch for passed, _ in tried for batch in passed]
    return good, [rejects for _, rejects in tried if rejects is not None]


def _inverted(batch: pa.RecordBatch, rule: str, positions: bool) -> pa.RecordBatch:
    """The batch itself, where it can be inverted."""
    invert_batches([batch], rule, positions)
    return batch


def _runs(batches: Sequence[pa.RecordBatch]) -> bytes:
    return np.array([(_address(batch, 0), batch.num_rows) for batch in batches], RUN).tobytes()


def _address(batch: pa.RecordBatch, row: int) -> int:
    found: int = batch.column(schema.ADDRESS)[row].as_py()
    return found


def _unwindowed(found: Any) -> Any:
    """An output of `finish_bundle`."""
    if isinstance(found, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(found.tag, _unwindowed(found.value))
    return WindowedValue(found, MIN_TIMESTAMP, (GlobalWindow(),))


class _Number(beam.DoFn):
    """Pieces and documents by the numbers of all documents."""

    def __init__(self, positions: bool) -> None:
        self._positions = positions
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._places: Numbered | None = None

    def process(self, local: LocalRows, places: Sequence[bytes]) -> Iterator[pa.RecordBatch]:
        with self._metrics.timing():
            numbered = self._numbered(local, places)
        self._metrics.gave_out(numbered)
        yield numbered

    def _numbered(self, local: LocalRows, places: Sequence[bytes]) -> pa.RecordBatch:
        self._places = self._places or number_places(places)
        runs, lengths, rows = local
        numbers = np.concatenate(
            [
                number_from(self._places.start(first), documents)
                for first, documents in np.frombuffer(runs, RUN).tolist()
            ]
        )
        if PACKED in rows.schema.names:
            return number_pieces(rows, numbers, np.frombuffer(lengths, np.uint32), self._positions)
        return shuffled_documents(rows, numbers)


def _count(_: int, places: Sequence[bytes]) -> int:
    return number_places(places).documents


def _statistics(_: int, places: Sequence[bytes]) -> dict[str, Any]:
    numbered = number_places(places)
    return {
        "documents": numbered.documents,
        "tokens": numbered.tokens,
        "average_length": numbered.tokens / max(numbered.documents, 1),
        "left_out": numbered.left_out,
    }


def _failures(_: int, places: Sequence[bytes]) -> list[str]:
    return place_failures(places)
