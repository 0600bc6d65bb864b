"""The table of domains, from all statistics of each: one row a domain, wide, as people read it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.domain_measures import (
    BUCKET,
    BUCKET_BITS,
    BYTES,
    COUNT,
    DOCUMENTS,
    DUPLICATES,
    EXAMPLE,
    FAULT,
    FIRST,
    LANGUAGE,
    LAST,
    MAX_LANGUAGES,
    SAMPLE,
    Measures,
)
from beam_etl.kernels.domain_statistics import failed_matrix
from beam_etl.kernels.quantiles import quantiles
from beam_etl.kernels.sampling import Integers

PERCENTS = (10, 50, 90)

OTHER = "other"
"""Among the languages of a domain: all beyond MAX_LANGUAGES."""

CUT_KEY, CUT_TIE = "cut_key", "cut_tie"
"""The last of a domain's sample, as sampling.sample_keys tells documents; null where all are in it."""

WHY_UNMARKED = "why_unmarked"
"""Why it isn't known which documents of a domain are duplicates; null where it is, or nobody asked."""

_LARGEST = np.iinfo(np.int64).max


def failed_column(rule_set: str) -> str:
    """The column that tells how many documents fail a rule set."""
    return f"{rule_set}_failed"


def table_schema(measures: Measures) -> pa.Schema:
    """Of the table of domains before it is scored."""
    number = pa.int64()
    sets = [pa.field(failed_column(name), number, nullable=False) for name, _ in measures.rule_sets]
    signals = [
        pa.field(f"{name}_{what}", number, nullable=False)
        for name in measures.signals
        for what in ("sum", *(f"p{percent}" for percent in PERCENTS))
    ]
    return pa.schema(
        [
            pa.field(schema.DOMAIN, pa.string()),
            *(pa.field(name, number, nullable=False) for name in (DOCUMENTS, BYTES, DUPLICATES)),
            *sets,
            pa.field("failures", _list_of(rule=pa.string(), documents=number), nullable=False),
            pa.field("languages", _list_of(language=pa.string(), documents=number), nullable=False),
            pa.field("first_date", pa.date32()),
            pa.field("last_date", pa.date32()),
            *signals,
            pa.field("examples", _list_of(id=pa.string(), rules=pa.list_(pa.string())), nullable=False),
            pa.field(CUT_KEY, number),
            pa.field(CUT_TIE, number),
            pa.field(WHY_UNMARKED, pa.string()),
        ]
    )


def domain_table(statistics: pa.RecordBatch, measures: Measures) -> pa.RecordBatch:
    """A row for each domain.

    Args:
      statistics: STATISTIC, merged, all of each domain.
      measures: what was counted.

    Returns:
      table_schema(measures). `failures` and `languages` have the most frequent first. Quantiles are of the
      values of a signal over the domain's documents, to within quantiles.RELATIVE_ERROR.
    """
    rows = _Statistics(statistics)
    counts = rows.counts(len(measures.counts))
    columns: list[Any] = [
        rows.names,
        *(pa.array(counts[:, place]) for place in range(measures.first_rule)),
        _failures(counts, measures),
        _languages(rows, counts[:, 0]),
        rows.date(FIRST, -1),
        rows.date(LAST, 1),
        *_signals(rows, counts, measures),
        _examples(rows, measures),
        *_cuts(rows, counts[:, 0], measures),
        _faults(rows),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=table_schema(measures))


class _Statistics:
    """The rows of statistics by kind, with dense numbers for the domains."""

    def __init__(self, statistics: pa.RecordBatch) -> None:
        domain, self._label = statistics.column(schema.DOMAIN), statistics.column("label")
        codes = domain.indices.fill_null(len(domain.dictionary)).to_numpy()
        present, self._domain = np.unique(codes, return_inverse=True)
        known = present < len(domain.dictionary)
        self.names = domain.dictionary.take(pa.array(present, mask=~known))
        self._kind, self._key, self._count = (
            statistics.column(name).to_numpy() for name in ("kind", "key", "count")
        )

    def __len__(self) -> int:
        return len(self.names)

    def of(self, kind: int) -> tuple[Integers, Integers, Integers, pa.Array]:
        """Domains, keys, counts and labels of the rows of a kind."""
        rows = np.flatnonzero(self._kind == kind)
        label = self._label.take(pa.array(rows)).dictionary_decode()
        return self._domain[rows], self._key[rows], self._count[rows], label

    def counts(self, measures: int) -> Integers:
        """int64[domains, measures]."""
        domain, key, count, _ = self.of(COUNT)
        found = np.zeros((len(self), measures), np.int64)
        found[domain, key] = count
        return found

    def date(self, kind: int, sign: int) -> pa.Array:
        """The first or last date of each domain."""
        domain, _, count, _ = self.of(kind)
        days, absent = np.zeros(len(self), np.int32), np.ones(len(self), np.bool_)
        days[domain], absent[domain] = sign * count, False
        return pa.array(days, mask=absent).cast(pa.date32())


def _failures(counts: Integers, measures: Measures) -> pa.ListArray:
    failed = counts[:, measures.first_rule : measures.first_signal]
    domain, rule = np.nonzero(failed)
    documents = failed[domain, rule]
    order = np.lexsort((rule, -documents, domain))
    names = pa.array(measures.rules, pa.string()).take(pa.array(rule[order]))
    return _lists(domain[order], len(counts), rule=names, documents=pa.array(documents[order]))


def _languages(rows: _Statistics, all_documents: Integers) -> pa.ListArray:
    domain, _, documents, language = rows.of(LANGUAGE)
    by_name = pc.sort_indices(language).to_numpy()
    order = by_name[np.lexsort((-documents[by_name], domain[by_name]))]
    known = np.bincount(domain, documents, len(rows)).astype(np.int64)  # exact below 2^53
    full = np.bincount(domain, minlength=len(rows)) >= MAX_LANGUAGES
    more = np.flatnonzero(full & (known < all_documents))
    owner = np.concatenate([domain[order], more])
    by_owner = np.argsort(owner, kind="stable")
    names = pa.concat_arrays([language.take(pa.array(order)), pa.array([OTHER] * len(more), pa.string())])
    counts = np.concatenate([documents[order], (all_documents - known)[more]])[by_owner]
    told = {"language": names.take(pa.array(by_owner)), "documents": pa.array(counts)}
    return _lists(owner[by_owner], len(rows), **told)


def _signals(rows: _Statistics, counts: Integers, measures: Measures) -> list[pa.Array]:
    signals = len(measures.signals)
    if not signals or not len(rows):
        return [pa.nulls(0, pa.int64())] * (signals * (1 + len(PERCENTS)))
    domain, key, documents, _ = rows.of(BUCKET)
    order = np.lexsort((key, domain))
    bucket = key[order] & ((1 << BUCKET_BITS) - 1)
    group = domain[order] * signals + (key[order] >> BUCKET_BITS)
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    anything = np.zeros(len(order), np.int64), np.full(len(order), _LARGEST)
    found = quantiles(starts, bucket, documents[order], *anything, np.array(PERCENTS))
    by_domain = found.reshape(len(rows), signals, len(PERCENTS))
    columns = []
    for place in range(signals):
        columns.append(pa.array(counts[:, measures.first_signal + place]))
        columns += [pa.array(by_domain[:, place, which]) for which in range(len(PERCENTS))]
    return columns


def _examples(rows: _Statistics, measures: Measures) -> pa.ListArray:
    domain, key, failed, id = rows.of(EXAMPLE)
    by_id = pc.sort_indices(id).to_numpy()
    order = by_id[np.lexsort((failed[by_id], key[by_id], domain[by_id]))]
    example, rule = np.nonzero(failed_matrix(failed[order], len(measures.rules)).T)
    names = pa.array(measures.rules, pa.string()).take(pa.array(rule))
    rules = pa.ListArray.from_arrays(_offsets(example, len(order)), names)
    return _lists(domain[order], len(rows), id=id.take(pa.array(order)), rules=rules)


def _cuts(rows: _Statistics, documents: Integers, measures: Measures) -> list[pa.Array]:
    """The last row of the sample of each domain that has more documents than that."""
    found = [np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)]
    none = np.ones(len(rows), np.bool_)
    if measures.sample is not None:
        domain, key, tie, _ = rows.of(SAMPLE)
        order = np.lexsort((tie, key, domain))
        domain, key, tie = domain[order], key[order], tie[order]
        last = np.flatnonzero(np.append(domain[1:] != domain[:-1], np.ones(min(1, len(domain)), np.bool_)))
        found[0][domain[last]], found[1][domain[last]] = key[last], tie[last]
        none = documents <= measures.sample
    return [pa.array(values, mask=none) for values in found]


def _faults(rows: _Statistics) -> pa.Array:
    domain, _, _, why = rows.of(FAULT)
    told: list[str | None] = [None] * len(rows)
    for place, reason in sorted(zip(domain.tolist(), why.to_pylist(), strict=True), reverse=True):
        told[place] = reason
    return pa.array(told, pa.string())


def _lists(owner: Integers, owners: int, **columns: pa.Array) -> pa.ListArray:
    """For each owner the list of its rows as structs; rows are in the order of owners."""
    rows = pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
    return pa.ListArray.from_arrays(_offsets(owner, owners), rows)


def _offsets(owner: npt.NDArray[np.integer], owners: int) -> pa.Array:
    return pa.array(np.searchsorted(owner, np.arange(owners + 1)).astype(np.int32))


def _list_of(**columns: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct(list(columns.items())))
