"""Statistics of domains: partial ones of a batch, and their sum, in any order (domain_measures says what they are)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.compaction import compact
from beam_etl.kernels.content import byte_lengths
from beam_etl.kernels.domain_measures import (
    BUCKET,
    BUCKET_BITS,
    COUNT,
    EXAMPLE,
    EXAMPLES,
    FAILED_BITS,
    FAULT,
    FIRST,
    LANGUAGE,
    LAST,
    MAX_LANGUAGES,
    SAMPLE,
    STATISTIC,
    TEXT_BYTES,
    Measures,
)
from beam_etl.kernels.hashing import hash_rows, hash_values
from beam_etl.kernels.quantiles import bucket_of
from beam_etl.kernels.sampling import Flags, Integers, first_of_each, positive, sample_keys


@dataclass(frozen=True)
class _Part:
    """Rows of one kind; domains by their codes in a batch."""

    kind: int
    domain: Integers
    key: Integers
    count: Integers
    label: pa.Array | None = None


def partial_statistics(
    documents: pa.RecordBatch,
    judged: pa.RecordBatch,
    measures: Measures,
    duplicate: Flags | str | None = None,
) -> pa.RecordBatch:
    """Partial statistics of some documents.

    Args:
      documents: with text (or TEXT_BYTES) and domain, and where there are language, date and id; for examples and a
        sample, the columns that they are by, and where there is one the address.
      judged: for each of them FAILED_BITS, and the columns measures.signals, int64 without nulls.
      measures: what is counted.
      duplicate: bool[rows], which documents are duplicates; or why that can't be known; None where nobody asks.

    Returns:
      STATISTIC, merged: each row's domain, kind, key and label but once, or as many as are chosen.
    """
    domains = _plain(documents.column(schema.DOMAIN)).dictionary_encode()
    codes = domains.indices.fill_null(len(domains.dictionary)).to_numpy().astype(np.int64)
    if not len(codes):
        return pa.RecordBatch.from_pylist([], schema=STATISTIC)
    groups = _Groups(codes)
    fault = duplicate if isinstance(duplicate, str) else None
    parts = [
        _counts(documents, judged, measures, groups, None if isinstance(duplicate, str) else duplicate),
        *_fault(fault, codes),
        _buckets(judged, measures, codes),
        *_dates(documents, groups),
        *_languages(documents, codes),
        *_examples(documents, judged, measures, codes),
        *_sample(documents, measures, codes),
    ]
    return merge_statistics(_assembled(parts, domains.dictionary), measures)


def merge_statistics(batch: pa.RecordBatch, measures: Measures) -> pa.RecordBatch:
    """The merge kernel: STATISTIC in any order, with equal rows as one."""
    chosen = pc.greater_equal(batch.column("kind"), pa.scalar(EXAMPLE, pa.int8()))
    summed = _summed(batch.filter(pc.invert(chosen)))
    merged = pa.concat_batches([_few_languages(summed), _smallest(batch.filter(chosen), measures)])
    return compact(merged)  # without the ids of examples that weren't chosen


def failed_matrix(failed: Integers, rules: int) -> Integers:
    """int64[rules, rows], 1 where a document fails a rule, of FAILED_BITS."""
    return failed[None, :] >> np.arange(rules)[:, None] & 1


class _Groups:
    """Rows by domain."""

    def __init__(self, codes: Integers) -> None:
        self._order = np.argsort(codes, kind="stable")
        in_order = codes[self._order]
        self._starts = np.flatnonzero(np.append(True, in_order[1:] != in_order[:-1]))
        self.codes = in_order[self._starts]

    def sums(self, values: Integers) -> Integers:
        """int64[measures, groups] of int64[measures, rows]."""
        return np.add.reduceat(values[:, self._order], self._starts, axis=1)

    def largest(self, values: Integers) -> Integers:
        """int64[groups] of int64[rows]."""
        return np.maximum.reduceat(values[self._order], self._starts)


def _counts(
    documents: pa.RecordBatch,
    judged: pa.RecordBatch,
    measures: Measures,
    groups: _Groups,
    duplicate: Flags | None,
) -> _Part:
    rows = documents.num_rows
    mask = judged.column(FAILED_BITS).to_numpy()
    sets = [np.bitwise_or.reduce([1 << rule for rule in rules], initial=0) for _, rules in measures.rule_sets]
    values = np.empty((len(measures.counts), rows), np.int64)
    values[0] = 1
    values[1] = _text_bytes(documents).fill_null(0).to_numpy()
    values[2] = 0 if duplicate is None else duplicate
    for place, bits in enumerate(sets, measures.first_set):
        values[place] = (mask & bits) != 0
    values[measures.first_rule : measures.first_signal] = failed_matrix(mask, len(measures.rules))
    for place, name in enumerate(measures.signals, measures.first_signal):
        values[place] = judged.column(name).to_numpy()
    sums = groups.sums(values)
    key, group = np.nonzero(sums)
    return _Part(COUNT, groups.codes[group], key.astype(np.int64), sums[key, group])


def _text_bytes(documents: pa.RecordBatch) -> pa.Array:
    if TEXT_BYTES in documents.schema.names:
        return documents.column(TEXT_BYTES)
    return byte_lengths(documents.column(schema.TEXT))


def _buckets(judged: pa.RecordBatch, measures: Measures, codes: Integers) -> _Part:
    signals = len(measures.signals)
    combined = [
        (codes * signals + place) << BUCKET_BITS | bucket_of(judged.column(name).to_numpy())
        for place, name in enumerate(measures.signals)
    ]
    found, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *combined]), return_counts=True)
    domain, signal = np.divmod(found >> BUCKET_BITS, max(signals, 1))
    bucket = found & ((1 << BUCKET_BITS) - 1)
    return _Part(BUCKET, domain, signal << BUCKET_BITS | bucket, counts.astype(np.int64))


_NO_DATE = np.iinfo(np.int64).min


def _dates(documents: pa.RecordBatch, groups: _Groups) -> list[_Part]:
    if schema.DATE not in documents.schema.names:
        return []
    date = documents.column(schema.DATE)
    days = date.cast(pa.int32()).cast(pa.int64()).fill_null(0).to_numpy()
    known = date.is_valid().to_numpy(zero_copy_only=False)
    parts = []
    for kind, sign in ((FIRST, -1), (LAST, 1)):
        found = groups.largest(np.where(known, sign * days, _NO_DATE))
        there = found != _NO_DATE
        parts.append(_Part(kind, groups.codes[there], np.zeros(there.sum(), np.int64), found[there]))
    return parts


def _languages(documents: pa.RecordBatch, codes: Integers) -> list[_Part]:
    if schema.LANGUAGE not in documents.schema.names:
        return []
    language = _plain(documents.column(schema.LANGUAGE)).dictionary_encode()
    known = len(language.dictionary) + 1
    which = language.indices.fill_null(known - 1).to_numpy()
    found, counts = np.unique(codes * known + which, return_counts=True)
    domain, code = np.divmod(found, known)
    label = language.dictionary.take(pa.array(code, mask=code == known - 1))
    return [_Part(LANGUAGE, domain, np.zeros(len(found), np.int64), counts.astype(np.int64), label)]


def _fault(fault: str | None, codes: Integers) -> list[_Part]:
    if fault is None:
        return []
    return [_Part(FAULT, codes[:1], np.zeros(1, np.int64), np.ones(1, np.int64), pa.array([fault]))]


def _examples(
    documents: pa.RecordBatch, judged: pa.RecordBatch, measures: Measures, codes: Integers
) -> list[_Part]:
    if schema.ID not in documents.schema.names:
        return []
    failed = judged.column(FAILED_BITS).to_numpy()
    rows = np.flatnonzero(failed)
    id = _plain(documents.column(schema.ID)).take(pa.array(rows))
    key = positive(hash_rows([documents.column(name) for name in measures.sample_by]))
    return [_Part(EXAMPLE, codes[rows], key[rows], failed[rows], id)]


def _sample(documents: pa.RecordBatch, measures: Measures, codes: Integers) -> list[_Part]:
    if measures.sample is None:
        return []
    return [_Part(SAMPLE, codes, *sample_keys(documents, measures.sample_by))]


def _assembled(parts: Sequence[_Part], domains: pa.Array) -> pa.RecordBatch:
    sizes = [len(part.domain) for part in parts]
    code = np.concatenate([part.domain for part in parts])
    labels = [
        pa.nulls(size, pa.string()) if part.label is None else part.label
        for part, size in zip(parts, sizes, strict=True)
    ]
    columns = [
        _named(code, domains),
        pa.array(np.repeat(np.array([part.kind for part in parts], np.int8), sizes)),
        pa.array(np.concatenate([part.key for part in parts])),
        pa.concat_arrays(labels).dictionary_encode(),
        pa.array(np.concatenate([part.count for part in parts])),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=STATISTIC)


def _named(codes: Integers, names: pa.Array) -> pa.DictionaryArray:
    """Names by code; the code behind the last name is null."""
    indices = pa.array(codes.astype(np.int32), mask=codes == len(names))
    return pa.DictionaryArray.from_arrays(indices, names)


def _codes(column: pa.DictionaryArray) -> Integers:
    return column.indices.fill_null(len(column.dictionary)).to_numpy().astype(np.int64)


def _summed(batch: pa.RecordBatch) -> pa.RecordBatch:
    domain, label = batch.column(schema.DOMAIN), batch.column("label")
    rows = pa.table(
        {
            "domain": pa.array(_codes(domain)),
            "kind": batch.column("kind"),
            "key": batch.column("key"),
            "label": pa.array(_codes(label)),
            "count": batch.column("count"),
        }
    )
    groups = rows.group_by(["domain", "kind", "key", "label"], use_threads=False).aggregate(
        [("count", "sum"), ("count", "max")]
    )
    kind = groups["kind"].to_numpy()
    columns = [
        _named(groups["domain"].to_numpy(), domain.dictionary),
        pa.array(kind),
        pa.array(groups["key"].to_numpy()),
        _named(groups["label"].to_numpy(), label.dictionary),
        pa.array(np.where(kind >= FIRST, groups["count_max"].to_numpy(), groups["count_sum"].to_numpy())),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=STATISTIC)


def _few_languages(batch: pa.RecordBatch) -> pa.RecordBatch:
    """All rows, but of each domain at most MAX_LANGUAGES languages: the shortest, then those of the smallest hashes.

    One that stays in the end is never left out before, whatever is merged with what: so its count is exact.
    """
    is_language = batch.column("kind").to_numpy() == LANGUAGE
    rows = np.flatnonzero(is_language)
    domain = _codes(batch.column(schema.DOMAIN))[rows]
    if not len(rows) or np.bincount(domain).max() <= MAX_LANGUAGES:
        return batch
    label = batch.column("label").take(pa.array(rows))
    names, code = label.dictionary, _codes(label)
    length = np.append(byte_lengths(names).to_numpy(), 0)
    hashes = np.append(hash_values(names), np.uint64(0))
    order = np.lexsort((_ranks(names)[code], hashes[code], length[code], domain))
    stays = ~is_language
    stays[rows[order[first_of_each(domain[order], MAX_LANGUAGES)]]] = True
    return batch.filter(pa.array(stays))


def _smallest(batch: pa.RecordBatch, measures: Measures) -> pa.RecordBatch:
    """Of each domain and kind the rows with the smallest keys, then counts, then labels."""
    label = batch.column("label")
    domain, kind, key, count = (
        _codes(batch.column(schema.DOMAIN)),
        *(batch.column(name).to_numpy() for name in ("kind", "key", "count")),
    )
    order = np.lexsort((_ranks(label.dictionary)[_codes(label)], count, key, kind, domain))
    most = np.where(kind[order] == EXAMPLE, EXAMPLES, measures.sample or 0)
    return batch.take(pa.array(order[first_of_each(domain[order] * 8 + kind[order], most)]))


def _ranks(names: pa.Array) -> Integers:
    """The places of names in their order; behind them that of null, which is the last."""
    ranks = np.full(len(names) + 1, len(names))
    ranks[pc.sort_indices(names).to_numpy()] = np.arange(len(names))
    return ranks


def _plain(column: pa.Array) -> pa.Array:
    """Strings, whatever their form in Arrow."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string())
