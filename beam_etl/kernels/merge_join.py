"""A join of sides that are sorted by their key: a streaming merge, two batches of each run in memory."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from beam_etl.kernels.hash_join import HeldSide
from beam_etl.kernels.join_keys import ascends, comparable
from beam_etl.kernels.join_rule import SEMI, JoinRule

Run = Iterable[pa.RecordBatch]
"""Rows of one side whose keys ascend, nulls last: of one file, say."""

Key = tuple[tuple[bool, Any], ...]


class OrderError(ValueError):
    """Rows are not in the order in which a run has to be."""


def merge_join(left: Sequence[Run], right: Sequence[Run], rule: JoinRule) -> Iterator[pa.RecordBatch]:
    """The rows of a join.

    Args:
      left, right: the runs of each side, as `rule.of_left` and `rule.of_right` give their rows. Each is iterated over
        once.
      rule: the join.

    What is held: two batches of each run; of a key with more rows than that, all of its rows of the side that has
    fewer.

    Raises:
      OrderError: a key is smaller than one before it in its run.
      HeldSizeError: a key has too many rows on both sides.
    """
    mine, others = _Side(left, rule), _Side(right, rule)
    while waiting := [cursor for cursor in (*mine.cursors, *others.cursors) if cursor.rows is not None]:
        bound = min(cursor.last for cursor in waiting)
        if any(cursor.goes_on(bound) for cursor in waiting):
            yield from _join(mine.below(bound), others.below(bound), rule)
            has_null = any(is_null for is_null, _ in bound)
            yield from _join_key(mine.all_of(bound), others.all_of(bound), rule, has_null)
        else:
            yield from _join(mine.upto(bound), others.upto(bound), rule)


def _join(
    left: Sequence[pa.RecordBatch], right: Sequence[pa.RecordBatch], rule: JoinRule
) -> Iterator[pa.RecordBatch]:
    """All rows of both sides with keys from one range of them."""
    if (left or rule.keeps_right) and (right or rule.keeps_left):
        held = HeldSide(right, rule)
        partners = held.flags()
        rows = left[0] if len(left) == 1 else pa.concat_batches(left or [rule.none_of_left])
        yield from held.join(rows, partners)
        yield from held.alone(partners)


def _join_key(left: Run, right: Run, rule: JoinRule, has_null: bool) -> Iterator[pa.RecordBatch]:
    """All rows of one key: the side that ends first is held, and the other goes by."""
    if has_null:
        yield from (rule.left_alone(rows) for rows in left if rule.keeps_left)
        yield from (rule.right_alone(rows) for rows in right if rule.keeps_right)
        return
    left, right = iter(left), iter(right)
    mine: list[pa.RecordBatch] = []
    others: list[pa.RecordBatch] = []
    while (rows := next(right, None)) is not None:
        others.append(rows)
        if (rows := next(left, None)) is None:
            yield from _join_held_left(mine, chain(others, right), rule)
            return
        mine.append(rows)
    held = HeldSide(others, rule)
    for batch in chain(mine, left):
        yield from held.join(batch)


def _join_held_left(mine: Sequence[pa.RecordBatch], right: Run, rule: JoinRule) -> Iterator[pa.RecordBatch]:
    """The rows of one key, of which the right side has some."""
    if rule.how == SEMI:
        yield from mine
    held = HeldSide(mine, rule, is_left=True) if mine and rule.pairs else None
    for batch in right:
        if held is not None:
            yield from held.pairs(batch)
        elif rule.keeps_right and not mine:
            yield rule.right_alone(batch)


class _Side:
    """Where all runs of a side are being read."""

    def __init__(self, runs: Sequence[Run], rule: JoinRule) -> None:
        self.cursors = [_Cursor(run, rule) for run in runs]

    def below(self, key: Key) -> list[pa.RecordBatch]:
        """Takes the rows with smaller keys."""
        return [rows for cursor in self.cursors for rows in cursor.below(key)]

    def upto(self, key: Key) -> list[pa.RecordBatch]:
        """Takes the rows with keys that aren't larger, as far as the batches have them."""
        return [rows for cursor in self.cursors for rows in cursor.upto(key)]

    def all_of(self, key: Key) -> Iterator[pa.RecordBatch]:
        """Takes the rows with this key, the smallest there is."""
        return chain.from_iterable(cursor.all_of(key) for cursor in self.cursors)


class _Cursor:
    """Where a run is being read: the rest of a batch, and the batch behind it."""

    def __init__(self, run: Run, rule: JoinRule) -> None:
        self._batches = iter(run)
        self._rule = rule
        self.rows: pa.RecordBatch | None = None
        """The rest of a batch, not empty; None at the end of the run."""
        self.last: Key = ()
        """The largest key of `rows`."""
        self._keys: list[pa.Array] = []
        self._next_keys: list[pa.Array] = []
        self._next = self._read()
        self._step()

    def goes_on(self, key: Key) -> bool:
        """Whether rows of this key, the smallest that a batch ends with, are in the next batch as well."""
        return self.last == key and self._next is not None and _key(self._next_keys, 0) == key

    def below(self, key: Key) -> list[pa.RecordBatch]:
        """Takes the rows with smaller keys: a batch, or none."""
        return self._take(bisect_left(range(self._left()), key, key=self._key))

    def upto(self, key: Key) -> list[pa.RecordBatch]:
        """Takes the rows with keys that aren't larger, as far as the batch has them."""
        return self._take(bisect_right(range(self._left()), key, key=self._key))

    def all_of(self, key: Key) -> Iterator[pa.RecordBatch]:
        """Takes the rows with this key, the smallest there is."""
        while self.rows is not None and self._key(0) == key:
            yield from self.upto(key)

    def _left(self) -> int:
        return 0 if self.rows is None else self.rows.num_rows

    def _key(self, row: int) -> Key:
        return _key(self._keys, row)

    def _take(self, count: int) -> list[pa.RecordBatch]:
        if self.rows is None or not count:
            return []
        taken, self.rows = self.rows.slice(0, count), self.rows.slice(count)
        self._keys = [column.slice(count) for column in self._keys]
        if not self.rows.num_rows:
            self._step()
        return [taken]

    def _step(self) -> None:
        """Goes on to the next batch."""
        before, self.rows = self.last, self._next
        if self.rows is None:
            return
        self._keys = self._next_keys
        self.last = self._key(self.rows.num_rows - 1)
        if not ascends(self._keys) or (before and self._key(0) < before):
            raise OrderError(f"the rows are not sorted by {', '.join(self._rule.on)}")
        self._next = self._read()

    def _read(self) -> pa.RecordBatch | None:
        rows = next((batch for batch in self._batches if batch.num_rows), None)
        if rows is not None:
            self._next_keys = [comparable(column) for column in self._rule.keys(rows)]
        return rows


def _key(keys: list[pa.Array], row: int) -> Key:
    """Of each column whether it is null, and its value."""
    values = [column[row].as_py() for column in keys]
    return tuple((value is None, 0 if value is None else value) for value in values)
