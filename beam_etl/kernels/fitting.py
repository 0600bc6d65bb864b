"""A model for each key: fitted to a sample of the key's documents that depends on nothing but them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.content import row_sizes
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.numbering import find_sorted
from beam_etl.kernels.provenance import without_carried
from beam_etl.kernels.removals import repeat_rows
from beam_etl.kernels.sampling import sample_keys
from beam_etl.kernels.scoring import Predict, with_values
from beam_etl.kernels.utf8 import is_byte_string

Fit: TypeAlias = Callable[[pa.RecordBatch], Any]
"""From documents, in an order that depends on nothing but them, to a model; None where there can't be any."""

Integers = npt.NDArray[np.int64]

SAMPLE_BYTES = 4 << 20
"""Of a key that a model is fitted to, about: so a key's sample is far below what an engine holds for a key."""

SALT = "beam_etl.salt"
"""uint32: which part of a key with many documents a row belongs to, only while rows travel."""

COPY = "beam_etl.copy"
"""null: a column of documents that came to be fitted to; they are scored elsewhere."""

MARGIN, FEW = 2, 100
"""How many times too many documents a sample's key may be taken to have before too few are looked at for the sample,
and so many more are looked at, since hashes are even by chance only."""

ALL = "all documents"
"""Whose model it is, for messages."""

HELD_MODELS = 64
"""Models of keys that wait for more documents of theirs; others are fitted anew."""


@dataclass(frozen=True)
class KeyFit:
    """How keys are fitted, and documents scored.

    Args:
      by: column of the key; null is a key.
      fit, score: the user's.
      column: of scores.
      own_column: of whether the key's own model gave the score.
      sample_by: column whose hash says which documents a model is fitted to; ties by address.
      most: documents that a model is fitted to; fewer where they have more than SAMPLE_BYTES.
      least: with fewer, the model of all documents takes the key's place.
    """

    by: str
    fit: Fit
    score: Predict
    column: str
    own_column: str
    sample_by: str
    most: int
    least: int

    def sample(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """A merge kernel: the documents of each key that a model is fitted to, in their order, key by key.

        Args:
          rows: with `address`: rows that are equal in it are one document.
        """
        return self._first(rows, key_codes(rows, self.by)[0])

    def sample_of_all(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The same of all documents as if they had one key."""
        return self._first(rows, np.zeros(rows.num_rows, np.int64))

    def share(self, rows: float, look: Sequence[pa.RecordBatch]) -> float:
        """Of some documents, those with the smallest hashes, the part that a sample is chosen from; 1 and more for all.

        Args:
          rows: how many documents there are, estimated.
          look: documents, for the bytes of one. By their median: long ones among few would make the part too small.
        """
        sizes = [_text_bytes(batch) for batch in look if batch.num_rows]
        usual = float(np.median(np.concatenate(sizes))) if sizes else 0.0
        return (MARGIN * min(self.most, SAMPLE_BYTES / max(usual, 1.0)) + FEW) / max(rows, 1.0)

    def likely(self, rows: pa.RecordBatch, shares: npt.NDArray[np.float64] | float) -> pa.RecordBatch:
        """The rows whose hashes are among the smallest: that share of all hashes, for each row or the same for all."""
        hashes, _ = sample_keys(rows, (self.sample_by,))
        return rows.filter(pa.array(hashes < shares * 2.0**63))

    def is_short(self, sample: pa.RecordBatch) -> bool:
        """Whether a sample of one key, or of all, has room for more documents."""
        return bool(sample.num_rows < self.most and _text_bytes(sample).sum() < SAMPLE_BYTES)

    def _first(self, rows: pa.RecordBatch, codes: Integers) -> pa.RecordBatch:
        hashes, ties = sample_keys(rows, (self.sample_by,))
        order = np.lexsort((ties, hashes, codes))
        again = np.zeros(
            rows.num_rows, np.bool_
        )  # parts of a spread key may meet in one partition, each with copies
        again[1:] = np.logical_and.reduce([np.diff(key[order]) == 0 for key in (codes, hashes, ties)])
        order = order[~again]
        sizes = _text_bytes(rows)[order]
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        lengths = np.diff(np.append(starts, len(order)))
        before = np.cumsum(sizes) - sizes
        place = np.arange(len(order)) - np.repeat(starts, lengths)
        size = before - np.repeat(before[starts], lengths)
        return rows.take(pa.array(order[(place < self.most) & (size < SAMPLE_BYTES)]))


def _text_bytes(rows: pa.RecordBatch) -> Integers:
    """Bytes of each row's strings: whatever else a batch has of it doesn't depend on the row alone."""
    texts = [field.name for field in rows.schema if is_byte_string(field.type)]
    return row_sizes(rows.select(texts)) if texts else np.zeros(rows.num_rows, np.int64)


def key_codes(rows: pa.RecordBatch, by: str) -> tuple[Integers, pa.Array]:
    """int64[rows], a number for each key, and the keys by number."""
    keys = rows.column(by)
    plain = keys.dictionary_decode() if pa.types.is_dictionary(keys.type) else keys
    encoded = plain.dictionary_encode(null_encoding="encode")
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary


def key_runs(rows: pa.RecordBatch, by: str) -> Iterator[tuple[Any, pa.Array]]:
    """Each key with the places of its rows, ascending."""
    if not rows.num_rows:
        return
    codes, keys = key_codes(rows, by)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for places in np.split(order, starts[1:]):
        yield keys[int(codes[places[0]])].as_py(), pa.array(places)


class KeyModels:
    """The models of some keys, each fitted when it is first asked for.

    Args:
      how: they are fitted.
      sample: of `KeyFit.sample`, of all their documents; None where there are none.
      whole: the model of all documents.
    """

    def __init__(self, how: KeyFit, sample: pa.RecordBatch | None, whole: Any) -> None:
        self._how, self._whole = how, whole
        self._sample = sample
        runs = () if sample is None else key_runs(sample, how.by)
        self._places = {key: places for key, places in runs if len(places) >= how.least}
        self._models: OrderedDict[Any, Any] = OrderedDict()

    def score(
        self, rows: pa.RecordBatch
    ) -> Iterator[tuple[Callable[[pa.RecordBatch], pa.RecordBatch], pa.RecordBatch]]:
        """All rows in groups, each with the kernel that scores it.

        Raises:
          ValueError: `fit` fails. The message names the key.
        """
        rest: list[pa.Array] = []
        for key, places in key_runs(rows, self._how.by):
            model = self._own(key)
            if model is None:
                rest.append(places)
            else:
                yield _Scored(self._how, model, True, self._named(key)), rows.take(places)
        if rest:
            yield _Scored(self._how, self._whole, False, ALL), rows.take(pa.concat_arrays(rest))

    def _named(self, key: Any) -> str:
        return f"{self._how.by}={key!r}"

    def _own(self, key: Any) -> Any:
        """The key's own model; None where it has none."""
        if key not in self._places:
            return None
        if key not in self._models:
            assert self._sample is not None
            sample = self._sample.take(self._places[key])
            self._models[key] = fitted(self._how, sample, self._named(key))
            if len(self._models) > HELD_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]


def fitted(how: KeyFit, sample: pa.RecordBatch, of: str) -> Any:
    """The model of a sample.

    Raises:
      ValueError: `fit` fails. The message says `of` what.
    """
    try:
        return how.fit(without_carried(sample))
    except Exception as error:
        raise ValueError(
            f"fit failed on {sample.num_rows} rows, a sample of {of}: {type(error).__name__}: {error}. "
            f"Where a key can have no model, fit returns None"
        ) from error


@dataclass(frozen=True, repr=False)
class _Scored:
    """A kernel: scores of one model. Without a model they are null."""

    how: KeyFit
    model: Any
    is_own: bool
    of: str

    def __repr__(self) -> str:
        return f"score by the model of {self.of}"

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = without_carried(batch)
        values = (
            self.how.score(self.model, rows)
            if self.model is not None
            else pa.nulls(rows.num_rows, pa.float64())
        )
        own = pa.repeat(pa.scalar(self.is_own), rows.num_rows)
        return with_values(with_values(rows, values, self.how.column), own, self.how.own_column)


@dataclass(frozen=True)
class SpreadKeys:
    """Keys with too many documents for one partition, by their hashes, ascending."""

    hashes: tuple[int, ...] = ()
    parts: tuple[int, ...] = ()
    """Into how many each goes."""
    shares: tuple[float, ...] = ()
    """Of each one's documents, those with the smallest hashes, of which every part gets copies (`KeyFit.share`)."""

    @classmethod
    def of(cls, salts: dict[int, int], shares: dict[int, float]) -> "SpreadKeys":
        """From what `key_salts` and `KeyFit.share` tell of keys."""
        hashes = sorted(key for key, count in salts.items() if count > 1)
        return cls(tuple(hashes), tuple(salts[key] for key in hashes), tuple(shares[key] for key in hashes))

    def spread(self, rows: pa.RecordBatch, how: KeyFit) -> Iterator[pa.RecordBatch]:
        """The rows with the SALT of their part, and for each part of a spread key a COPY of what may be its sample."""
        at, key = self._find(rows, how.by)
        parts = np.ones(rows.num_rows, np.uint64)
        parts[at] = np.array(self.parts, np.uint64)[key]
        yield _salted(rows, hash_values(rows.column(how.sample_by)) % parts)
        if len(at):
            likely = how.likely(rows.take(pa.array(at)), np.array(self.shares)[key])
            sample = how.sample(likely)
            row, copy = repeat_rows(np.array(self.parts, np.int64)[self._find(sample, how.by)[1]])
            copies = _salted(sample.take(pa.array(row)), copy)
            yield copies.append_column(COPY, pa.nulls(len(row)))

    def without(self, rows: pa.RecordBatch, how: KeyFit) -> pa.RecordBatch:
        """The rows of other keys."""
        others = np.ones(rows.num_rows, np.bool_)
        others[self._find(rows, how.by)[0]] = False
        return rows if others.all() else rows.filter(pa.array(others))

    def short(self, sample: pa.RecordBatch, how: KeyFit) -> list[Any]:
        """The keys that have fewer documents in a sample than they may, where copies of some weren't sent."""
        at, key = self._find(sample, how.by)
        cut = sample.take(pa.array(at[np.array(self.shares)[key] < 1]))
        return [value for value, places in key_runs(cut, how.by) if how.is_short(cut.take(places))]

    def _find(self, rows: pa.RecordBatch, by: str) -> tuple[Integers, Integers]:
        """Rows of spread keys, and the place of each one's key."""
        at, key = find_sorted(np.array(self.hashes, np.uint64), hash_values(rows.column(by)))
        return at, key


def _salted(rows: pa.RecordBatch, salts: npt.NDArray[Any]) -> pa.RecordBatch:
    return rows.append_column(pa.field(SALT, pa.uint32(), nullable=False), pa.array(salts.astype(np.uint32)))
