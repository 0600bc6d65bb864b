"""A join of two sides in no order: one is held, or a part of it at a time, the other streams by."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.join_rule import SEMI, JoinRule
from beam_etl.kernels.join_table import JoinTable, Rows, distinct_keys

HELD_BYTES = 256 << 20
"""Of one side that are held at a time. Of more, both sides are read once for each part of so many bytes."""

MAX_PARTS = 64
"""Parts that a side is cut into at most: what is still too large then are few keys, or one."""

MAX_HELD_BYTES = (2 << 30) - 1
"""Arrow holds so many bytes in one column of strings."""

_PART_SHIFT = np.uint64(40)
"""A part is told by higher bits of the hash than those that told the partition."""

Flags = npt.NDArray[np.bool_]


class HeldSizeError(ValueError):
    """A key has more rows than can be held. The message says how many bytes."""


def hash_join(
    left: Iterable[pa.RecordBatch],
    right: Iterable[pa.RecordBatch],
    rule: JoinRule,
    holds_left: bool = False,
    held_bytes: int = HELD_BYTES,
) -> Iterator[pa.RecordBatch]:
    """The rows of a join, in batches of about `join_table.JOINED_BYTES`, however many a key has.

    Args:
      left, right: all rows of the sides, as `rule.of_left` and `rule.of_right` give them. They are iterated over again
        where a side doesn't fit.
      rule: the join.
      holds_left: the left side is held, of an inner join; else the right one.
      held_bytes: of one side that are held at a time, about; of a key with more, all of its rows of that side.

    Raises:
      HeldSizeError: these are too many.
    """
    held, streamed = (left, right) if holds_left else (right, left)
    parts = 1
    while (table := _hold(held, rule, holds_left, (0, parts), held_bytes)) is None:
        parts *= 2
    for part in range(parts):
        if part:
            table = _hold(held, rule, holds_left, (part, parts), None)
        assert table is not None
        yield from _stream(streamed, table, (part, parts))


def _stream(
    batches: Iterable[pa.RecordBatch], table: "HeldSide", part: tuple[int, int]
) -> Iterator[pa.RecordBatch]:
    partners = table.flags()
    for batch in batches:
        yield from table.join(_only(batch, table.rule, part), partners)
    yield from table.alone(partners)


class HeldSide:
    """One side of a join in memory, which rows of the other are joined with. Threads may share one.

    Args:
      batches: its rows, as for hash_join.
      rule: the join.
      is_left: which side it is. The left one only of an inner join.

    Raises:
      HeldSizeError: they have more than MAX_HELD_BYTES.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], rule: JoinRule, is_left: bool = False) -> None:
        self.rule = rule
        self._is_left = is_left
        columns = rule.left_columns if is_left else rule.right_columns
        held = list(batches) or [pa.RecordBatch.from_pylist([], columns)]
        size = sum(batch.nbytes for batch in held)
        if size > MAX_HELD_BYTES:
            raise HeldSizeError(
                f"rows of one key, or a few, have {size:,} bytes on the {'left' if is_left else 'right'} side, of "
                f"which {MAX_HELD_BYTES:,} can be held. Join fewer columns, or leave out that key"
            )
        rows = held[0] if len(held) == 1 else pa.concat_batches(held)
        if not rule.pairs:
            rows = distinct_keys(rows)
        self._table = JoinTable(rows, rule.on)

    def flags(self) -> Flags | None:
        """False for each row that is held, where it is asked later which of them have no partner."""
        return np.zeros(self._table.rows.num_rows, np.bool_) if self.rule.keeps_right else None

    def join(self, batch: pa.RecordBatch, partners: Flags | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of the result that some rows of the other side give; notes which held rows have partners."""
        found = np.zeros(batch.num_rows, np.bool_)
        for at, mine in self._table.pairs(batch):
            found[at] = True
            if partners is not None:
                partners[mine] = True
            if self.rule.pairs:
                yield self._paired(batch, at, mine)
        if self.rule.how == SEMI:
            yield from _some(batch, found)
        elif self.rule.keeps_left:
            yield from map(self.rule.left_alone, _some(batch, ~found))

    def pairs(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The pairs alone that some rows of the other side make."""
        for at, mine in self._table.pairs(batch):
            yield self._paired(batch, at, mine)

    def alone(self, partners: Flags | None) -> Iterator[pa.RecordBatch]:
        """Rows of the result, of held rows that have no partner, where the join keeps them."""
        if partners is None:
            return
        for begin in range(0, len(partners), _ROWS):
            rows = self._table.rows.slice(begin, _ROWS)
            yield from map(self.rule.right_alone, _some(rows, ~partners[begin : begin + _ROWS]))

    def _paired(self, batch: pa.RecordBatch, at: Rows, mine: Rows) -> pa.RecordBatch:
        sides = (self._table.rows, mine, batch, at) if self._is_left else (batch, at, self._table.rows, mine)
        return self.rule.paired(*sides)


_ROWS = 1 << 14
"""Held rows without a partner that are looked for at a time."""


def _some(rows: pa.RecordBatch, wanted: Flags) -> Iterator[pa.RecordBatch]:
    some = rows if wanted.all() else rows.filter(pa.array(wanted))
    if some.num_rows:
        yield some


def _hold(
    batches: Iterable[pa.RecordBatch],
    rule: JoinRule,
    is_left: bool,
    part: tuple[int, int],
    most: int | None,
) -> HeldSide | None:
    """A part of a side; None where it has more bytes than are held, and could be cut further."""
    held, size = [], 0
    for batch in batches:
        mine = _only(batch, rule, part)
        held.append(mine)
        size += mine.nbytes
        if most is not None and size > most and part[1] < MAX_PARTS:
            return None
    return HeldSide(held, rule, is_left)


def _only(batch: pa.RecordBatch, rule: JoinRule, part: tuple[int, int]) -> pa.RecordBatch:
    """The rows whose key is of this part of so many."""
    number, of = part
    if of == 1:
        return batch
    parts = (hash_rows(rule.keys(batch)) >> _PART_SHIFT) % np.uint64(of)
    return batch.filter(pa.array(parts == np.uint64(number)))
