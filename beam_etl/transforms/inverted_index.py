"""BuildInvertedIndex: from documents to the postings of each term, by partition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
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
from beam_etl.kernels.places import Numbered, number_places, pack_places, place_failures
from beam_etl.kernels.split_terms import in_sample, sample_costs, term_strings
from beam_etl.kernels.unicode_table import RULES
from beam_etl.transforms.attached import signed_key
from beam_etl.transforms.batches import Batches, split_batch
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.partition_index import NumberedIndex, PartitionIndex
from beam_etl.transforms.shuffle import Gather, Partition

ELEMENT_BYTES = 16 << 20
"""Pieces that travel together at most; only a huge document has more."""

DOCUMENTS, PLACES, SAMPLE = "documents", "places", "sample"

LocalPieces = tuple[bytes, bytes, pa.RecordBatch]
"""RUN of batches that were inverted together, the lengths of their documents, uint32, and some of their LOCAL_PIECE."""
LocalDocuments = tuple[int, pa.RecordBatch]
"""The first address of a batch, as a signed key, and its LOCAL_DOCUMENT."""

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
            LocalPieces, documents=LocalDocuments, places=bytes, sample=pa.RecordBatch
        )
        local = documents | "Invert" >> inverting.with_outputs(DOCUMENTS, PLACES, SAMPLE, main="pieces")
        places = beam.pvalue.AsSingleton(local.places | "Gather places" >> Gather())
        pieces = local.pieces | "Number pieces" >> beam.ParDo(
            _NumberPieces(self.positions), places=places
        ).with_output_types(pa.RecordBatch)
        named = local.documents | "Number documents" >> beam.ParDo(
            _NumberDocuments(), places=places
        ).with_output_types(pa.RecordBatch)
        one = documents.pipeline | "One" >> beam.Create([0], reshuffle=False)
        count = one | "Count" >> beam.Map(_count, places=places).with_output_types(int)
        partitioned = NumberedIndex(pieces, named, local.sample, count) | "Partition" >> self.partition
        return Index(
            partitioned.partitions,
            partitioned.split_terms,
            one | "Statistics" >> beam.Map(_statistics, places=places),
            one | "Failures" >> beam.FlatMap(_failures, places=places).with_output_types(str),
        )


class _Invert(beam.DoFn):
    """What batches have: their pieces, their documents, their places, and what their terms cost in the sample.

    Batches are held until there are INVERTED_BYTES of text.
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
        if self._held and _address(batch, 0) <= _address(self._held[-1], -1):  # documents ascend in a piece
            yield from self._metrics.timed(self._invert())
        self._held.append(batch)
        self._bytes += batch.column(schema.TEXT).nbytes
        if self._bytes >= INVERTED_BYTES:
            yield from self._metrics.timed(self._invert())

    def finish_bundle(self) -> Iterator[Any]:
        if self._held:
            for found in self._metrics.timed(self._invert()):
                yield _unwindowed(found)
        if self._places:
            yield _unwindowed(beam.pvalue.TaggedOutput(PLACES, pack_places(self._places)))

    def _invert(self) -> Iterator[Any]:
        batches, self._held, self._bytes = self._held, [], 0
        inverted = invert_batches(batches, self._rule, self._positions)
        terms = term_strings(inverted)
        named = name_documents(batches, inverted.lengths)
        left_out = inverted.left_out
        for batch, documents in zip(batches, named, strict=True):
            first = _address(batch, 0)
            tokens = int(documents.column(LENGTH).to_numpy().sum(dtype=np.int64))
            self._places.append((first, _address(batch, -1), batch.num_rows, tokens, left_out))
            left_out = 0
            yield beam.pvalue.TaggedOutput(DOCUMENTS, (signed_key(first), documents))
        runs = np.array([(_address(batch, 0), batch.num_rows) for batch in batches], RUN).tobytes()
        for pieces in split_batch(local_pieces(inverted, terms), max(len(terms), 1), ELEMENT_BYTES):
            self._metrics.gave_out(pieces)
            yield runs, inverted.lengths.tobytes(), pieces
        costs = sample_costs(inverted, np.concatenate(list(map(in_sample, named))), terms)
        if costs is not None:
            for part in split_batch(costs):
                yield beam.pvalue.TaggedOutput(SAMPLE, part)


def _address(batch: pa.RecordBatch, row: int) -> int:
    found: int = batch.column(schema.ADDRESS)[row].as_py()
    return found


def _unwindowed(found: Any) -> Any:
    """An output of `finish_bundle`."""
    if isinstance(found, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(found.tag, _unwindowed(found.value))
    return WindowedValue(found, MIN_TIMESTAMP, (GlobalWindow(),))


class _Numbering(beam.DoFn):
    """Knows the numbers of all documents, computed once a bundle."""

    def start_bundle(self) -> None:
        self._numbered: Numbered | None = None

    def numbers(self, first: int, documents: int, places: Sequence[bytes]) -> npt.NDArray[np.uint32]:
        """The numbers of a batch, of which the first address is given."""
        self._numbered = self._numbered or number_places(places)
        return number_from(self._numbered.start(first), documents)


class _NumberPieces(_Numbering):
    def __init__(self, positions: bool) -> None:
        self._positions = positions
        self._metrics = StepMetrics()

    def process(self, local: LocalPieces, places: Sequence[bytes]) -> Iterator[pa.RecordBatch]:
        runs, packed, pieces = local
        batches = np.frombuffer(runs, RUN).tolist()
        numbers = [self.numbers(first, documents, places) for first, documents in batches]
        lengths = np.frombuffer(packed, np.uint32)
        numbered = number_pieces(pieces, np.concatenate(numbers), lengths, self._positions)
        self._metrics.gave_out(numbered)
        yield numbered


class _NumberDocuments(_Numbering):
    def process(self, local: LocalDocuments, places: Sequence[bytes]) -> Iterator[pa.RecordBatch]:
        key, documents = local
        numbers = self.numbers(key & (1 << 64) - 1, documents.num_rows, places)
        yield shuffled_documents(documents, numbers)


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
