"""Lines and paragraphs that repeat: counted by their hashes, and cut out of documents."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.candidates import numbers
from beam_etl.kernels.filtering import one_failure, removals_of, text_of, told_of
from beam_etl.kernels.hash_set import places_in
from beam_etl.kernels.hashing import Hashes, hash_values
from beam_etl.kernels.line_pieces import Pieces, cut_pieces
from beam_etl.kernels.spans import Spans, replace_spans, runs
from beam_etl.kernels.utf8 import Utf8, utf8

LINE, PARAGRAPH = "line", "paragraph"
CORPUS = "corpus"
NORMAL, EXACT = "normal", "exact"
FIRST, NONE = "first", "none"

REPEATED = "repeated_lines"
"""The reason of a removal."""

HASH, COUNT, WHERE = "line", "count", "first"
MOST_TIMES = (1 << 31) - 1

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class LineRule:
    """Which pieces of documents go.

    Args:
      unit: line, or paragraph (see line_pieces.cut_pieces).
      scope: `corpus` counts how often a piece occurs in all documents; `domain` how many documents of a domain have it.
      more_than: pieces with a higher count go.
      min_length: a piece of fewer characters stays, as it is compared.
      match: `normal` compares as CCNet states it, `exact` pieces as they are (see line_pieces.cut_pieces).
      keep: `first` keeps the first of those that go (by address; of a domain's documents in the first of them), as C4
        does; `none` keeps none, as CCNet does.

    Raises:
      ValueError: another value than these; more_than or min_length below 1, or more_than over 2^31 - 1.
    """

    unit: str = LINE
    scope: str = CORPUS
    more_than: int = 1
    min_length: int = 1
    match: str = NORMAL
    keep: str = FIRST

    def __post_init__(self) -> None:
        allowed = {
            "unit": (LINE, PARAGRAPH),
            "scope": (CORPUS, schema.DOMAIN),
            "match": (NORMAL, EXACT),
            "keep": (FIRST, NONE),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {' or '.join(values)}; got {getattr(self, name)!r}")
        if not 1 <= self.more_than <= MOST_TIMES or self.min_length < 1:
            raise ValueError(
                f"more_than is from 1 to {MOST_TIMES} and min_length at least 1, "
                f"got {self.more_than} and {self.min_length}"
            )

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns of documents, besides the address."""
        return (schema.TEXT, schema.DOMAIN) if self.scope == schema.DOMAIN else (schema.TEXT,)

    @property
    def counts(self) -> pa.Schema:
        """Of partial results: a piece's hash, how often it was met (at most once more than is needed), where first."""
        where = [pa.field(WHERE, pa.uint64(), nullable=False)] if self.keep == FIRST else []
        fields = [pa.field(HASH, pa.uint64(), nullable=False), pa.field(COUNT, pa.uint32(), nullable=False)]
        return pa.schema([*fields, *where])

    @property
    def held_bytes(self) -> int:
        """Of each piece that goes, in Repeated."""
        return 16 if self.keep == FIRST else 8


class Repeated(NamedTuple):
    """The pieces that go.

    hashes: uint64, ascending.
    firsts: uint64, the address of the first document that has each; None where none is kept.
    """

    hashes: Hashes
    firsts: npt.NDArray[np.uint64] | None


def count_lines(batch: pa.RecordBatch, rule: LineRule) -> pa.RecordBatch:
    """Partial results, rule.counts, of documents that have what the rule needs, and addresses where it keeps the first.

    Raises:
      KeyError: a column is missing.
    """
    keys, rows = _compared(batch, utf8(text_of(batch)), rule)[1:]
    if rule.scope != CORPUS:
        once = _firsts(keys, rows)
        keys, rows = keys[once], rows[once]
    columns = [pa.array(keys), pa.array(np.ones(keys.size, np.uint32))]
    if rule.keep == FIRST:
        columns.append(pa.array(numbers(batch, schema.ADDRESS)[rows]))
    return merge_counts(pa.RecordBatch.from_arrays(columns, schema=rule.counts), rule)


def merge_counts(counts: pa.RecordBatch, rule: LineRule) -> pa.RecordBatch:
    """The merge kernel of what count_lines gives."""
    if not counts.num_rows:
        return counts
    keys = numbers(counts, HASH)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    sums = np.add.reduceat(counts.column(COUNT).to_numpy()[order].astype(np.uint64), begins)
    columns = [keys[begins], np.minimum(sums, rule.more_than + 1).astype(np.uint32)]
    if rule.keep == FIRST:
        columns.append(np.minimum.reduceat(numbers(counts, WHERE)[order], begins))
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=rule.counts)


def those_that_go(counts: pa.RecordBatch, rule: LineRule) -> pa.RecordBatch:
    """Of merged counts, the pieces that repeat."""
    return counts.filter(pc.greater(counts.column(COUNT), rule.more_than))


def repeated(counts: pa.RecordBatch, rule: LineRule) -> Repeated:
    """What goes, of all that repeat, in any order."""
    keys = numbers(counts, HASH)
    order = np.argsort(keys, kind="stable")
    return Repeated(keys[order], numbers(counts, WHERE)[order] if rule.keep == FIRST else None)


def remove_lines(
    batch: pa.RecordBatch, rule: LineRule, gone: Repeated, id: str = schema.ID, told: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Documents without the pieces that go.

    Args:
      batch: as for count_lines.
      rule: that `gone` was counted by.
      gone: what goes.
      id: the column that names documents.
      told: a column (int32) that documents get: how many pieces went; None: they get none.

    Returns:
      Three batches: the documents; schema.EDIT of those that changed; and schema.QUALITY_REMOVAL of documents of which
      nothing but white space would be left, which are in neither. A null text stays null.

    Raises:
      KeyError: a column is missing.
    """
    text = text_of(batch)
    texts = utf8(text)
    found, keys, rows = _compared(batch, texts, rule)
    goes = np.zeros(found.hashes.size, np.bool_)
    goes[found.lengths >= rule.min_length] = _going(batch, keys, rows, gone)
    spans, pieces = _spans(found, goes, texts)
    changed = spans.counts > 0
    edited = replace_spans(texts, spans)
    empty = changed & pc.equal(pc.utf8_trim_whitespace(edited), "").to_numpy(zero_copy_only=False)
    cut = {"pieces": pa.array(pieces), "bytes": pa.array(spans.bytes()), **spans.in_text(texts)}
    if text.null_count:
        edited = pc.if_else(pc.is_valid(text), edited, pa.scalar(None, pa.large_string()))
    place = batch.schema.get_field_index(schema.TEXT)
    documents = batch.set_column(place, batch.schema.field(place), edited.cast(text.type))
    if told is not None:
        documents = documents.append_column(told, pa.array(pieces, pa.int32()))
    yield documents.filter(pa.array(~empty))
    yield told_of(batch, cut, schema.EDIT, id).filter(pa.array(changed & ~empty))
    yield _removals(batch.filter(pa.array(empty)), pieces[empty], rule, id)


def _compared(
    batch: pa.RecordBatch, texts: Utf8, rule: LineRule
) -> tuple[Pieces, Hashes, npt.NDArray[np.int64]]:
    """All pieces; and of those that are long enough the hash, in its scope, and the row."""
    found = cut_pieces(texts, rule.unit == PARAGRAPH, rule.match == EXACT)
    long = found.lengths >= rule.min_length
    keys = found.hashes[long]
    rows = np.repeat(np.arange(batch.num_rows), np.diff(found.edges))[long]
    if rule.scope != CORPUS:
        if schema.DOMAIN not in batch.schema.names:
            raise KeyError(f"scope=domain needs a column 'domain'; there are {', '.join(batch.schema.names)}")
        keys = keys ^ hash_values(batch.column(schema.DOMAIN))[rows]
    return found, keys, rows


def _going(batch: pa.RecordBatch, keys: Hashes, rows: npt.NDArray[np.int64], gone: Repeated) -> Flags:
    places = places_in(gone.hashes, keys)
    goes = places >= 0
    if gone.firsts is not None and goes.any():
        address = numbers(batch, schema.ADDRESS)
        own = np.flatnonzero(goes)
        own = own[gone.firsts[places[own]] == address[rows[own]]]
        goes[own[_firsts(keys[own], rows[own])]] = False
    return goes


def _firsts(keys: Hashes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The places where a key is met for the first time in its row. Rows ascend."""
    order = np.lexsort((keys, rows))
    keys, rows = keys[order], rows[order]
    new = np.concatenate([[True], (keys[1:] != keys[:-1]) | (rows[1:] != rows[:-1])])[: keys.size]
    return order[new]


def _spans(found: Pieces, goes: Flags, texts: Utf8) -> tuple[Spans, npt.NDArray[np.int64]]:
    """What is cut out, with the line breaks behind, or at the end of a text before it; and pieces of each text."""
    spans, rows = runs(goes, found.edges)
    begins, ends = found.begins[spans.begins], found.behind[spans.ends - 1]
    bare_end = found.ends[spans.ends - 1] == texts.end[rows]
    before = bare_end & (spans.begins > found.edges[rows])
    begins[before] = found.ends[spans.begins[before] - 1]
    total = np.concatenate([[0], np.cumsum(goes)])
    return Spans(spans.edges, begins, ends), total[found.edges[1:]] - total[found.edges[:-1]]


def _removals(
    removed: pa.RecordBatch, pieces: npt.NDArray[np.int64], rule: LineRule, id: str
) -> pa.RecordBatch:
    reason = pa.repeat(pa.scalar(REPEATED), removed.num_rows)
    why = [f"{REPEATED}: all there was, {count} {rule.unit}s" for count in pieces]
    return removals_of(removed, one_failure(reason, pa.array(why, pa.string())), REPEATED, id)
