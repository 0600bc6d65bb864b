"""The funnel of a corpus: documents, bytes and tokens that each step leaves, and how it is told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.content import byte_lengths
from beam_etl.kernels.languages import LANG
from beam_etl.kernels.tokens import TokenCounter, token_counter
from beam_etl.kernels.vocabularies import Vocabulary

TEXT_TOKENS = "beam_etl.tokens"
"""int64, only inside a run: the tokens of a document's text as it is then."""

GROUPS = (schema.DOMAIN, schema.LANGUAGE)
"""What a funnel may be told by."""

STEP_NUMBER = "step_number"
_SUMS = ("documents", "bytes", "tokens")

FUNNEL = pa.schema(
    [
        pa.field(STEP_NUMBER, pa.int32(), nullable=False),
        pa.field(schema.STEP, pa.string(), nullable=False),
        pa.field(schema.DOMAIN, pa.string()),
        pa.field(schema.LANGUAGE, pa.string()),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64()),
    ]
)
"""What a step leaves: of the text, or before there is one of the payload, which has no tokens. `domain` and `language`
are null where the funnel isn't told by them. A step that left nothing has a row, too."""


def language_of(batch: pa.RecordBatch) -> pa.Array | None:
    """The language of each document: `language`, and where that is null `lang`; None where there is neither."""
    there = [
        pa.array(batch.column(name), pa.string())
        for name in (schema.LANGUAGE, LANG)
        if name in batch.schema.names
    ]
    return pc.coalesce(*there) if there else None


def funnel_rows(batch: pa.RecordBatch, number: int, step: str, by: Sequence[str]) -> pa.RecordBatch:
    """FUNNEL of the documents that a step left, merged.

    Args:
      batch: with text or payload, and where they are counted TEXT_TOKENS.
      number, step: the place of the step, and its name.
      by: some of GROUPS.
    """
    names = batch.schema.names
    values = {}
    if schema.DOMAIN in by and schema.DOMAIN in names:
        values[schema.DOMAIN] = pa.array(batch.column(schema.DOMAIN), pa.string())
    if schema.LANGUAGE in by and (language := language_of(batch)) is not None:
        values[schema.LANGUAGE] = language
    group, first = _groups(list(values.values()), batch.num_rows)
    content = batch.column(schema.TEXT if schema.TEXT in names else schema.PAYLOAD)
    added = {"documents": np.bincount(group), "bytes": _added(group, len(first), byte_lengths(content))}
    if TEXT_TOKENS in names:
        added["tokens"] = _added(group, len(first), batch.column(TEXT_TOKENS))
    constant = {STEP_NUMBER: np.full(len(first), number), schema.STEP: [step] * len(first)}
    told = constant | {name: column.take(first) for name, column in values.items()} | added
    return pa.RecordBatch.from_arrays(
        [pa.array(told.get(field.name, pa.nulls(len(first))), field.type) for field in FUNNEL], schema=FUNNEL
    )


def _groups(columns: Sequence[pa.Array], rows: int) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """The number of each row's group, of equal values in all columns, and the first row of each group."""
    group = np.zeros(rows, np.int64)
    for column in columns:
        coded = column.dictionary_encode(null_encoding="encode")
        group = group * len(coded.dictionary) + coded.indices.to_numpy()
    _, first, numbers = np.unique(group, return_index=True, return_inverse=True)
    return numbers, pa.array(first)


def _added(group: npt.NDArray[np.int64], groups: int, values: pa.Array) -> npt.NDArray[np.int64]:
    """The sum of each group; null counts as 0."""
    sums = np.zeros(groups, np.int64)
    np.add.at(sums, group, np.nan_to_num(values.to_numpy(zero_copy_only=False)).astype(np.int64))
    return sums


def nothing_left(steps: Sequence[tuple[int, str, bool]]) -> pa.RecordBatch:
    """FUNNEL of steps that may leave no document, of which no other row tells.

    Args:
      steps: the place and name of each, and whether there are tokens by then.
    """
    rows = [
        {STEP_NUMBER: number, schema.STEP: step, "documents": 0, "bytes": 0, "tokens": 0 if counted else None}
        for number, step, counted in steps
    ]
    return pa.RecordBatch.from_pylist(rows, FUNNEL)


def sum_funnel(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The merge kernel: FUNNEL with rows of equal step and group added up, in their order, nulls last."""
    if not batch.num_rows:
        return batch
    [merged] = _totals(pa.Table.from_batches([batch]), *GROUPS).cast(FUNNEL).combine_chunks().to_batches()
    return merged


def language_column(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with `language`, as `language_of` tells it, where it can."""
    language = language_of(batch)
    if language is None:
        return batch
    place = batch.schema.get_field_index(schema.LANGUAGE)
    if place < 0:
        return batch.append_column(schema.LANGUAGE, language)
    return batch.set_column(place, schema.LANGUAGE, language)


@dataclass(frozen=True)
class CountText:
    """A kernel that adds TEXT_TOKENS. Thread-safe, and doesn't pickle: make it with once_per_process.

    Args:
      counter: of tokens.
      changed: a column of numbers: where it isn't 0 documents are counted again. None: all are counted.
    """

    counter: TokenCounter
    changed: str | None = None

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the column."""
        place = batch.schema.get_field_index(TEXT_TOKENS)
        if self.changed is None or place < 0:
            counts = self._counts(batch.column(schema.TEXT))
            if place < 0:
                return batch.append_column(TEXT_TOKENS, counts)
            return batch.set_column(place, TEXT_TOKENS, counts)
        changed = pc.not_equal(batch.column(self.changed), 0)
        again = self._counts(batch.column(schema.TEXT).filter(changed))
        return batch.set_column(place, TEXT_TOKENS, pc.replace_with_mask(batch.column(place), changed, again))

    def _counts(self, text: pa.Array) -> pa.Array:
        return pa.array(self.counter.count(text), pa.int64())


def count_text(vocabulary: Vocabulary, changed: str | None = None) -> CountText:
    """The kernel for a vocabulary."""
    return CountText(token_counter(vocabulary), changed)


def funnel_lines(funnel: pa.Table) -> Iterator[str]:
    """A table for people, of FUNNEL in any order: a line a step, with what is left of the first."""
    totals = _totals(funnel).to_pylist()
    if not totals:
        return
    first = max(totals[0]["documents"], 1)
    width = max(map(len, ["left after", *(left[schema.STEP] for left in totals)]))
    yield f"{'left after':{width}}  {'documents':>13}  {'':>6}  {'bytes':>17}  {'tokens':>15}"
    for left in totals:
        told = f"{left['tokens']:,}" if left["tokens"] is not None else "-"
        share = f"{left['documents'] / first:.1%}"
        yield (
            f"{left[schema.STEP]:{width}}  {left['documents']:>13,}  {share:>6}  {left['bytes']:>17,}  {told:>15}"
        )


def group_lines(funnel: pa.Table, by: str, most: int = 10) -> Iterator[str]:
    """The documents that each step left of the groups with the most of them, a line a group; other groups together."""
    steps = _totals(funnel).column(schema.STEP).to_pylist()
    told = _totals(funnel, by)
    largest = told.group_by([by]).aggregate([("documents", "max")])
    largest = largest.filter(pc.field("documents_max") > 0)
    order = [("documents_max", "descending"), (by, "ascending")]
    named = largest.take(pc.sort_indices(largest, sort_keys=order)[:most]).column(by)
    rows = told.filter(pc.is_in(told.column(by), value_set=named)).to_pylist()
    counts = {(row[by], row[schema.STEP]): row["documents"] for row in rows}
    width = max([len(by), *(len(str(group)) for group in named.to_pylist())])
    yield f"{by:{width}}  " + "  ".join(f"{step:>10}" for step in steps)
    for group in named.to_pylist():
        name = "none" if group is None else group
        yield f"{name:{width}}  " + "  ".join(
            f"{counts.get((group, step), 0):>{max(10, len(step))},}" for step in steps
        )
    if largest.num_rows > most:
        yield f"and {largest.num_rows - most:,} more: see the table funnel"


def _totals(funnel: pa.Table, *by: str) -> pa.Table:
    """The sums of FUNNEL by step and some of GROUPS, in their order, nulls last."""
    keys = [STEP_NUMBER, schema.STEP, *by]
    summed = funnel.group_by(keys, use_threads=False).aggregate([(name, "sum") for name in _SUMS])
    summed = summed.select([*keys, *(f"{name}_sum" for name in _SUMS)]).rename_columns([*keys, *_SUMS])
    return summed.sort_by([(key, "ascending") for key in keys])
