"""Documents that share n-grams with evaluation sets: told, and removed or masked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.evaluations import Evaluations, Integers
from beam_etl.kernels.filtering import removals_of, text_of, told_of
from beam_etl.kernels.nfc import nfc
from beam_etl.kernels.spans import Spans, replace_spans
from beam_etl.kernels.text import Words, split, word_places
from beam_etl.kernels.utf8 import Utf8, utf8

REMOVE, MASK = "remove", "mask"
ACTIONS = (REMOVE, MASK)

FILLING = "<EVALUATION>"
"""In place of what is masked."""

CONTAMINATED = "contaminated"
"""The reason of a removal."""


class Shared(NamedTuple):
    """What documents share with evaluation sets.

    rows: int64, ascending, those that share anything.
    texts, spans: of those, in NFC, and the words of theirs that all sets together have.
    told: the columns of schema.CONTAMINATION that are not of documents, for each row and set.
    rows_told: int64, the row of each.
    """

    rows: Integers
    texts: Utf8
    spans: Spans
    told: dict[str, pa.Array]
    rows_told: Integers


Find = Callable[[pa.RecordBatch], Shared]
"""FindShared, or what stands for it in other processes."""


@dataclass(frozen=True)
class FindShared:
    """find_shared with its sets."""

    evaluations: Evaluations

    def __call__(self, batch: pa.RecordBatch) -> Shared:
        return find_shared(batch, self.evaluations)


def find_shared(batch: pa.RecordBatch, evaluations: Evaluations) -> Shared:
    """What the documents of a batch share with evaluation sets. A null text shares nothing.

    Raises:
      KeyError: there is no text.
    """
    text = text_of(batch)
    words = split(text)
    ngrams = evaluations.find(words)
    at = np.flatnonzero(ngrams >= 0)
    row = np.searchsorted(words.edges, at, side="right") - 1
    rows, local = np.unique(row, return_inverse=True)
    texts = nfc(utf8(text.take(pa.array(rows))))
    places = word_places(texts)
    first = places.edges[local] + at - words.edges[row]
    hit, entry = _of_sets(ngrams[at], evaluations)
    order = np.lexsort((hit, evaluations.index.sets[entry], local[hit]))
    hit, entry = hit[order], entry[order]
    group = local[hit] * max(len(evaluations.names), 1) + evaluations.index.sets[entry]
    begins = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])[: group.size])
    edges = np.append(begins, group.size)
    lead, own = hit[begins], entry[begins]
    parts = _joined(first[hit], edges, evaluations.ngram, places)
    told: dict[str, Any] = {
        "evaluation": pa.array(
            [evaluations.names[each] for each in evaluations.index.sets[own]], pa.string()
        ),
        "evaluation_row": pa.array(evaluations.index.rows[own]),
        "ngram": pa.array([_said(words, at[each], evaluations.ngram) for each in lead], pa.string()),
        "matches": pa.array(np.diff(edges)),
        **parts.in_text(_taken(texts, local[lead])),
    }
    every = np.searchsorted(local, np.arange(rows.size + 1))
    return Shared(
        rows,
        texts,
        _joined(first, every, evaluations.ngram, places),
        told,
        rows[local[lead]].astype(np.int64),
    )


def _of_sets(ngrams: Integers, evaluations: Evaluations) -> tuple[Integers, Integers]:
    """For each n-gram and each set that has it: the place of the n-gram here, and of its entry there."""
    begin, end = evaluations.index.edges[ngrams], evaluations.index.edges[ngrams + 1]
    counts = end - begin
    hit = np.repeat(np.arange(ngrams.size), counts)
    return hit, np.repeat(begin - np.cumsum(counts) + counts, counts) + np.arange(hit.size)


def _joined(first: Integers, edges: Integers, ngram: int, places: Spans) -> Spans:
    """N-grams that begin with these words, ascending in each group, as spans: those that overlap or follow are one."""
    new = np.concatenate([[True], first[1:] > first[:-1] + ngram])[: first.size]
    new[edges[:-1][edges[:-1] < first.size]] = True
    begins = np.flatnonzero(new)
    lasts = np.append(begins[1:], first.size)[: begins.size] - 1
    return Spans(
        np.searchsorted(begins, edges).astype(np.int64),
        places.begins[first[begins]],
        places.ends[first[lasts] + ngram - 1],
    )


def _taken(texts: Utf8, rows: Integers) -> Utf8:
    return Utf8(texts.data, texts.begin[rows], texts.end[rows])


def _said(words: Words, first: int, ngram: int) -> str:
    bounds = words.begins[first : first + ngram + 1].tolist()
    return " ".join(words.letters[begin:end].tobytes().decode() for begin, end in pairwise(bounds))


def decontaminate(
    batch: pa.RecordBatch, find: Find, action: str = REMOVE, id: str = schema.ID
) -> Iterator[pa.RecordBatch]:
    """Documents without what evaluation sets have.

    Args:
      batch: documents with text.
      find: what they share with the sets.
      action: `remove` documents that share an n-gram, or `mask` the words with FILLING. A text that is masked is in NFC
        then, and `begins` and `ends` of the table are places of the text in NFC.
      id: the column that names documents.

    Returns:
      Three batches: the documents; schema.CONTAMINATION; schema.QUALITY_REMOVAL.
    """
    found = find(batch)
    stays = np.ones(batch.num_rows, np.bool_)
    if action == REMOVE:
        stays[found.rows] = False
    yield (batch if action == REMOVE else _masked(batch, found)).filter(pa.array(stays))
    yield told_of(batch.take(pa.array(found.rows_told)), found.told, schema.CONTAMINATION, id)
    removed = batch.filter(pa.array(~stays))
    yield removals_of(removed, _why(found).slice(0, removed.num_rows), CONTAMINATED, id)


def _masked(batch: pa.RecordBatch, found: Shared) -> pa.RecordBatch:
    text = batch.column(schema.TEXT)
    masks = np.zeros(batch.num_rows, np.bool_)
    masks[found.rows] = True
    masked = replace_spans(found.texts, found.spans, FILLING.encode()).cast(text.type)
    place = batch.schema.get_field_index(schema.TEXT)
    return batch.set_column(
        place, batch.schema.field(place), pc.replace_with_mask(text, pa.array(masks), masked)
    )


def _why(found: Shared) -> pa.RecordBatch:
    """schema.QUALITY_FAILURES of the documents that share anything: each set, and its first n-gram."""
    edges = pa.array(
        np.searchsorted(found.rows_told, np.append(found.rows, np.iinfo(np.int64).max)), pa.int32()
    )
    sets = found.told["evaluation"]
    told = pc.binary_join_element_wise(sets, found.told["ngram"], ": ")
    lists = [pa.ListArray.from_arrays(edges, values) for values in (sets, told)]
    return pa.RecordBatch.from_arrays(lists, schema=schema.QUALITY_FAILURES)
