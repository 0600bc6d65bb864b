"""Keys with too many rows for one partition: rows of one side are spread, those of the other copied to each part."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.hashing import Hashes, hash_rows
from beam_etl.kernels.join_keys import valid_keys
from beam_etl.kernels.join_rule import INNER, OUTER, JoinRule
from beam_etl.kernels.numbering import find_sorted
from beam_etl.kernels.removals import repeat_rows

SALT = "beam_etl.salt"
"""uint32: only while rows travel."""

SALT_BYTES = 8 << 20
"""Of rows of a key and side that meet in one partition: a quarter of what an engine holds for one."""

FEW_ROWS = 8
"""So many of a sample say nothing of a key."""

MOST_SALTS = 1 << 12
"""Parts of a key at most: the other side's rows are copied to each."""

_SALT = pa.field(SALT, pa.uint32(), nullable=False)


@dataclass(frozen=True)
class HotKeys:
    """Keys that are spread, by the hash of the key."""

    hashes: tuple[int, ...] = ()
    """Ascending."""
    left: tuple[int, ...] = ()
    """Into how many parts the left side's rows of each are spread."""
    right: tuple[int, ...] = ()
    """The same of the right side."""

    def __bool__(self) -> bool:
        return bool(self.hashes)


@dataclass(frozen=True)
class KeySample:
    """Keys of some rows of one side."""

    batches: tuple[pa.RecordBatch, ...]
    bytes: int
    """Of all rows of the side, estimated."""


def find_hot_keys(left: KeySample, right: KeySample, rule: JoinRule, most_bytes: int = SALT_BYTES) -> HotKeys:
    """The keys whose rows of a side have more than `most_bytes`, as samples of both tell.

    Rows of the right side are spread for inner joins only, those of the left side for all but OUTER: a row that has
    copies couldn't tell in one place that it has no partner in the others.
    """
    if rule.how == OUTER:
        return HotKeys()
    salts = {key: [count, 1] for key, count in _salts(left, rule, most_bytes).items()}
    if rule.how == INNER:
        for key, count in _salts(right, rule, most_bytes).items():
            salts.setdefault(key, [1, 1])[1] = count
    hashes = sorted(salts)
    return HotKeys(tuple(hashes), *(tuple(salts[key][side] for key in hashes) for side in (0, 1)))


def with_salt(rule: JoinRule) -> JoinRule:
    """The join of rows that have a SALT, which is a further key."""
    left, right = rule.left_columns.append(_SALT), rule.right_columns.append(_SALT)
    return JoinRule(left=left, right=right, on=(*rule.on, SALT), how=rule.how)


def _salts(sample: KeySample, rule: JoinRule, most_bytes: int) -> dict[int, int]:
    rows = sum(batch.num_rows for batch in sample.batches)
    hashes = [_hashes(batch, rule)[0] for batch in sample.batches if batch.num_rows]
    return key_salts(hashes, sample.bytes / rows, most_bytes) if hashes else {}


def key_salts(hashes: Iterable[Hashes], row_bytes: float, most_bytes: int = SALT_BYTES) -> dict[int, int]:
    """The keys with more than `most_bytes`, by their hashes, and into how many parts they are cut to have less.

    Args:
      hashes: of the keys of sampled rows; one array at least.
      row_bytes: of all rows, for each that was sampled.
      most_bytes: of a key in one partition.
    """
    keys, counts = np.unique(np.concatenate(list(hashes)), return_counts=True)
    hot = (counts >= FEW_ROWS) & (counts * row_bytes > most_bytes)
    return {
        key: min(math.ceil(count * row_bytes / most_bytes), MOST_SALTS)
        for key, count in zip(keys[hot].tolist(), counts[hot].tolist(), strict=True)
    }


def _hashes(rows: pa.RecordBatch, rule: JoinRule) -> tuple[Hashes, npt.NDArray[np.bool_] | None]:
    keys = rule.keys(rows)
    valid = valid_keys(keys)
    hashes = hash_rows(keys)
    return (hashes if valid is None else hashes[valid]), valid


def salted_left(rows: pa.RecordBatch, rule: JoinRule, hot: HotKeys) -> pa.RecordBatch:
    """Rows of the left side, as `rule.of_left` gives them, with the SALT of the partition that each goes to."""
    return _salted(rows, rule, hot.hashes, own=hot.left, others=hot.right, is_left=True)


def salted_right(rows: pa.RecordBatch, rule: JoinRule, hot: HotKeys) -> pa.RecordBatch:
    """Rows of the right side, as `salted_left`."""
    return _salted(rows, rule, hot.hashes, own=hot.right, others=hot.left, is_left=False)


def _salted(
    rows: pa.RecordBatch,
    rule: JoinRule,
    hot: Iterable[int],
    *,
    own: tuple[int, ...],
    others: tuple[int, ...],
    is_left: bool,
) -> pa.RecordBatch:
    """Each row of a hot key has a place of its own among `own`, and a copy for each of `others`."""
    hashes = hash_rows(rule.keys(rows))
    at, key = find_sorted(np.array(hot, np.uint64), hashes)
    parts, copies = np.ones(rows.num_rows, np.int64), np.ones(rows.num_rows, np.int64)
    parts[at], copies[at] = np.array(own, np.int64)[key], np.array(others, np.int64)[key]
    turn = (
        int(hashes.sum(dtype=np.uint64)) % MOST_SALTS
    )  # so that small batches don't all begin at the same part
    part = (np.arange(rows.num_rows) + turn) % parts
    row, copy = repeat_rows(copies)
    salt = part[row] * copies[row] + copy if is_left else copy * parts[row] + part[row]
    repeated = rows.take(pa.array(row)) if len(row) > rows.num_rows else rows
    return repeated.append_column(_SALT, pa.array(salt.astype(np.uint32)))
