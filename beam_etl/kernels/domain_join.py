"""Scores of domains brought to their documents: each document's score, and which documents are removed for it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.domain_measures import BYTES, DOCUMENTS
from beam_etl.kernels.domain_score import SCORE
from beam_etl.kernels.domain_table import CUT_KEY, CUT_TIE
from beam_etl.kernels.filtering import one_failure, removals_of
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.provenance import without_carried
from beam_etl.kernels.removals import repeat_rows
from beam_etl.kernels.sampling import Integers, sample_keys

DOMAIN_SCORE = "domain_score"
"""float64 of a document: the score of its domain; null where it has none."""

LOW_SCORE, NOT_SAMPLED = "domain_score", "domain_sample"
"""Reasons in a table of removals: a score below the minimum, or not chosen for the sample of a domain."""

SALT = "beam_etl.salt"
"""uint32: only while rows travel."""
SALT_DOCUMENTS, SALT_BYTES = 1 << 10, 4 << 20
"""Documents of a domain, and bytes of their texts, that meet its score under one key; a larger one has several."""

NO_DOMAIN_SALTS = 1 << 16
"""Keys for the documents without a domain: no score waits for them anywhere."""

MAX_LARGE = 1 << 20
"""Domains that are spread over several keys: 12 bytes each, all under one key, of which Flink holds 32 MiB."""

_HASH = "domain_hash"
_KEYS = "keys"

SCORES = pa.schema(
    [
        pa.field(_HASH, pa.uint64(), nullable=False),
        pa.field(schema.DOMAIN, pa.string()),
        pa.field(SCORE, pa.float64(), nullable=False),
        pa.field(DOCUMENTS, pa.int64(), nullable=False),
        pa.field(CUT_KEY, pa.int64()),
        pa.field(CUT_TIE, pa.int64()),
        pa.field(_KEYS, pa.int64(), nullable=False),
    ]
)
"""What documents need of the table of domains."""

SALTS = pa.schema([SCORES.field(_HASH), pa.field(SALT, pa.uint32(), nullable=False)])
"""Over how many keys a domain is spread. Another domain that has its hash is spread as well."""


@dataclass(frozen=True)
class DomainFilter:
    """Which documents stay.

    Args:
      min_score: those of domains with at least this score; None for all.
      sample_by: columns that a sample is chosen by, where Measures asked for one.

    A document without a domain stays: nulls never join.
    """

    min_score: float | None = None
    sample_by: tuple[str, ...] = (schema.ID,)

    def __post_init__(self) -> None:
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ValueError(f"scores are from 0 to 1, got a minimum of {self.min_score}")


class ScoredDocuments(NamedTuple):
    """Some documents with their scores."""

    kept: pa.RecordBatch
    """Those that stay, with a column DOMAIN_SCORE; one of that name is replaced."""
    removals: pa.RecordBatch
    """schema.QUALITY_REMOVAL of the others."""


def scores_of(table: pa.RecordBatch, least: int) -> pa.RecordBatch:
    """SCORES of scored domains. The domain that is null has none. `least`: see least_keys."""
    table = table.filter(table.column(schema.DOMAIN).is_valid())
    keys = _wanted_keys(table)
    columns = [
        pa.array(hash_values(table.column(schema.DOMAIN))),
        *(table.column(name) for name in SCORES.names[1:-1]),
        pa.array(np.where(keys > least, keys, 1)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCORES)


def further_keys(table: pa.RecordBatch) -> int:
    """How many keys more than one each these domains should be spread over, together."""
    return int((_wanted_keys(table) - 1).sum())


def least_keys(further: int) -> int:
    """So many keys of a domain, or fewer, are made one, that at most MAX_LARGE have more. further: of all domains."""
    return max(1, -(-further // MAX_LARGE))


def _wanted_keys(table: pa.RecordBatch) -> Integers:
    documents, size = (table.column(name).to_numpy() for name in (DOCUMENTS, BYTES))
    keys: Integers = 1 + np.maximum(documents // SALT_DOCUMENTS, size // SALT_BYTES)
    return keys


def sorted_scores(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """All scores in one batch, in the order of hashes and names, as the others here take them."""
    none = pa.RecordBatch.from_pylist([], schema=SCORES)
    return pa.concat_batches([none, *(batch.select(SCORES.names) for batch in batches)]).sort_by(
        [(_HASH, "ascending"), (schema.DOMAIN, "ascending")]
    )


def is_scores(batch: pa.RecordBatch) -> bool:
    """Whether a batch has scores, and not documents."""
    return batch.schema.names[: len(SCORES)] == SCORES.names


def filter_documents(
    documents: pa.RecordBatch, scores: pa.RecordBatch, rule: DomainFilter
) -> ScoredDocuments:
    """Documents with the scores of their domains, without those that the rule removes.

    Args:
      documents: with domain, text and for a sample rule.sample_by and what else partial_statistics had of it.
      scores: sorted_scores.
      rule: which documents stay.
    """
    at = _places(documents.column(schema.DOMAIN), scores)
    mine = scores.take(pa.array(at, mask=at < 0))
    low, cut = _low(mine, rule), _cut(documents, mine, rule)
    stays = ~(low | cut)
    scored = _with_score(documents, mine.column(SCORE))
    kept = scored if stays.all() else scored.filter(pa.array(stays))
    gone = np.flatnonzero(~stays)
    removals = _removals(documents.take(pa.array(gone)), mine.take(pa.array(gone)), low[gone], rule)
    return ScoredDocuments(without_carried(kept), removals)


def filter_partition(batches: Iterable[pa.RecordBatch], rule: DomainFilter) -> Iterator[ScoredDocuments]:
    """The same where documents and scores have met in one partition, which can be iterated over twice."""
    scores = sorted_scores(batch.drop_columns([SALT]) for batch in batches if is_scores(batch))
    for batch in batches:
        if not is_scores(batch):
            yield filter_documents(batch.drop_columns([SALT]), scores, rule)


def large_domains(scores: pa.RecordBatch) -> pa.RecordBatch:
    """SALTS of the domains that are spread over several keys."""
    large = scores.filter(pc.greater(scores.column(_KEYS), 1))
    columns = [large.column(_HASH), large.column(_KEYS).cast(pa.uint32())]
    return pa.RecordBatch.from_arrays(columns, schema=SALTS)


def sorted_salts(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """All SALTS in one batch, by hash; of equal ones the largest comes first, and counts."""
    none = pa.RecordBatch.from_pylist([], schema=SALTS)
    return pa.concat_batches([none, *batches]).sort_by([(_HASH, "ascending"), (SALT, "descending")])


def salted_documents(documents: pa.RecordBatch, large: pa.RecordBatch) -> pa.RecordBatch:
    """Documents with the SALT of their key.

    Args:
      documents: with domain and text, and where there is one the address.
      large: sorted_salts.
    """
    domain = documents.column(schema.DOMAIN)
    encoded = _encoded(domain)
    salts = np.append(_salts_of(hash_values(encoded.dictionary), large), NO_DOMAIN_SALTS)
    salts = salts[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy()]
    name = schema.ADDRESS if schema.ADDRESS in documents.schema.names else schema.TEXT
    own = hash_values(documents.column(name)) % salts.astype(np.uint64)
    return documents.append_column(SALTS.field(SALT), pa.array(own.astype(np.uint32)))


def salted_scores(scores: pa.RecordBatch, large: pa.RecordBatch) -> pa.RecordBatch:
    """Scores once for each SALT of their domain. `large` is sorted_salts."""
    rows, salt = repeat_rows(_salts_of(scores.column(_HASH).to_numpy(), large))
    repeated = scores.take(pa.array(rows))
    return repeated.append_column(SALTS.field(SALT), pa.array(salt.astype(np.uint32)))


def _salts_of(hashes: npt.NDArray[np.uint64], large: pa.RecordBatch) -> Integers:
    known = large.column(_HASH).to_numpy()
    at = np.searchsorted(known, hashes)
    salts = np.append(large.column(SALT).to_numpy(), 1).astype(np.int64)
    found: Integers = np.where(np.append(known, np.uint64(0))[at] == hashes, salts[at], 1)
    return found


def _encoded(domains: pa.Array) -> pa.DictionaryArray:
    plain = domains.dictionary_decode() if pa.types.is_dictionary(domains.type) else domains
    return plain.cast(pa.string()).dictionary_encode()


def _places(domains: pa.Array, scores: pa.RecordBatch) -> Integers:
    """Where each document's domain is among the scores: int64[rows], -1 where it isn't. Names decide, not hashes."""
    if not scores.num_rows:
        return np.full(len(domains), -1)
    encoded = _encoded(domains)
    names, hashes = encoded.dictionary, hash_values(encoded.dictionary)
    known, found = scores.column(_HASH).to_numpy(), scores.column(schema.DOMAIN)
    first, end = (np.searchsorted(known, hashes, side=side) for side in ("left", "right"))
    at = np.where(first < end, first, -1)
    same = pc.equal(found.take(pa.array(np.maximum(at, 0))), names).to_numpy(zero_copy_only=False)
    for place in np.flatnonzero((at >= 0) & ~same):  # another name has this hash
        others = range(first[place] + 1, end[place])
        at[place] = next((other for other in others if found[other].equals(names[place])), -1)
    return np.append(at, -1)[encoded.indices.fill_null(len(names)).to_numpy()]


def _low(mine: pa.RecordBatch, rule: DomainFilter) -> npt.NDArray[np.bool_]:
    if rule.min_score is None:
        return np.zeros(mine.num_rows, np.bool_)
    low = pc.less(mine.column(SCORE), rule.min_score)
    return low.fill_null(False).to_numpy(zero_copy_only=False)


def _cut(documents: pa.RecordBatch, mine: pa.RecordBatch, rule: DomainFilter) -> npt.NDArray[np.bool_]:
    """Whether a document isn't in its domain's sample: it comes behind the last one, or has no text."""
    cut = mine.column(CUT_KEY)
    if cut.null_count == len(cut):
        return np.zeros(mine.num_rows, np.bool_)
    key, tie = sample_keys(documents, rule.sample_by)
    last_key, last_tie = (mine.column(name).fill_null(0).to_numpy() for name in (CUT_KEY, CUT_TIE))
    behind = (key > last_key) | ((key == last_key) & (tie > last_tie))
    behind |= documents.column(schema.TEXT).is_null().to_numpy(zero_copy_only=False)
    return behind & cut.is_valid().to_numpy(zero_copy_only=False)


def _with_score(documents: pa.RecordBatch, score: pa.Array) -> pa.RecordBatch:
    field, place = pa.field(DOMAIN_SCORE, pa.float64()), documents.schema.get_field_index(DOMAIN_SCORE)
    if place < 0:
        return documents.append_column(field, score)
    return documents.set_column(place, field, score)


def _removals(
    documents: pa.RecordBatch, mine: pa.RecordBatch, low: npt.NDArray[np.bool_], rule: DomainFilter
) -> pa.RecordBatch:
    reason = pa.array(np.where(low, LOW_SCORE, NOT_SAMPLED).tolist(), pa.string())
    score, count = (mine.column(name).cast(pa.string()) for name in (SCORE, DOCUMENTS))
    broken = pc.if_else(
        pa.array(low),
        pc.binary_join_element_wise(score, f" < {rule.min_score}", ""),
        pc.binary_join_element_wise("not chosen of", count, "documents", " "),
    )
    told = pc.binary_join_element_wise(reason, broken, ": ")
    return removals_of(documents, one_failure(reason, told), reason)
