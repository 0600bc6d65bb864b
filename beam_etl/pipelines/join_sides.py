"""The two sides of a join as a job's source, and the way that they are joined."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import apache_beam as beam
import pyarrow as pa

from beam_etl.io.columns import ALL, Columns, resolve
from beam_etl.io.dataset_input import DOCUMENTS_TABLE
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import FileEntry
from beam_etl.io.join_buckets import Bucket
from beam_etl.kernels.join_keys import hashes_alike
from beam_etl.kernels.join_rule import JoinRule
from beam_etl.kernels.join_salts import HotKeys, KeySample, find_hot_keys
from beam_etl.kernels.partition_paths import values_of
from beam_etl.kernels.partitioning import Level, Partitioning, co_partitioned
from beam_etl.observe.text import format_bytes
from beam_etl.transforms.join import BROADCAST, RIGHT_SIDE, SHUFFLE, no_broadcast

AUTO, COLOCATED = "auto", "colocated"
WAYS = (AUTO, COLOCATED, BROADCAST, SHUFFLE)

SAMPLE_BYTES = 1 << 20
"""Of rows that the launcher reads of each side, to expect its bytes, and of keys, to find those with many rows."""

SAMPLE_PLACES = 16
"""Where it reads them."""

MERGED_FILES = 64
"""Of a bucket that are merged at once: of each two batches are held."""

MARGIN = 2
"""A side is broadcast by itself only where it fits even if it is so many times larger than expected."""


@dataclass(frozen=True)
class Side:
    """One side of a join."""

    name: str
    source: FileSource

    @cached_property
    def columns(self) -> pa.Schema:
        """As they are read."""
        found = resolve(self.source.read.columns, self.source.stored_schema, self.source.files[0].path)
        return pa.schema([(carried.column, carried.type) for carried in found.carried])

    @property
    def partitioning(self) -> Partitioning | None:
        """As its manifest tells."""
        found = self.source.read.partitions
        return found.partitioning if found else None

    @cached_property
    def expected_bytes(self) -> int:
        """Of all rows in memory."""
        sample = self.source.sample(SAMPLE_BYTES, SAMPLE_PLACES)
        rows, size = (sum(getattr(batch, of) for batch in sample.batches) for of in ("num_rows", "nbytes"))
        told = self.source.told_documents()
        return round(size * sample.scale if told is None else size / max(rows, 1) * told)

    def sample_keys(self, rule: JoinRule) -> KeySample:
        """The keys of some rows, as they are joined."""
        columns = Columns(needed=(), carry=rule.on)
        sample = self.source.sample(SAMPLE_BYTES, SAMPLE_PLACES, columns)
        return KeySample(tuple(map(rule.keys_of, sample.batches)), self.expected_bytes)

    def buckets(self, level: Level, partitions: int) -> dict[int, tuple[FileEntry, ...]]:
        """The files by the number of their bucket in a level of the partitioning, modulo `partitions`."""
        found = self.source.read.partitions
        assert found is not None
        place = found.partitioning.by.index(level)
        buckets: defaultdict[int, list[FileEntry]] = defaultdict(list)
        for files in found.files:
            below = files[0].path.split("/")[-1 - found.levels :]
            number = values_of(found.partitioning, "/".join([DOCUMENTS_TABLE, *below]))[place]
            buckets[int(number or 0) % partitions] += files
        return {number: tuple(files) for number, files in buckets.items()}


def open_side(
    pipeline: beam.Pipeline,
    name: str,
    patterns: Sequence[str],
    carry: Sequence[str] | str,
    tolerated: float,
) -> Side:
    """A side of a join.

    Args:
      pipeline: that reads it.
      name: LEFT_SIDE or RIGHT_SIDE.
      patterns: what to read.
      carry: its columns, or ALL.
      tolerated: as of FileSource.

    Raises:
      InputError: see FileSource.
    """
    columns = Columns(needed=(), carry=carry if isinstance(carry, str) else tuple(carry))
    return Side(name, FileSource(pipeline, patterns, columns, label=f"Read {name}", tolerated=tolerated))


def carried(on: Sequence[str], columns: Sequence[str]) -> tuple[str, ...] | str:
    """The columns of a side that are read: its key and those that are named, or else all."""
    return tuple(dict.fromkeys((*on, *columns))) if columns else ALL


@dataclass(frozen=True)
class CoLocated:
    """Both sides lie in buckets of equal keys."""

    buckets: tuple[Bucket, ...]
    order: tuple[str, ...]
    """The key columns in the order by which all files are sorted; none where they aren't, or are too many to merge."""


@dataclass(frozen=True)
class Choice:
    """The way that was chosen."""

    way: str
    reason: str
    held: str = RIGHT_SIDE
    """The side that is broadcast."""
    colocated: CoLocated | None = None


class JoinSides:
    """The sides of a join: what a job reads.

    Args:
      left, right: the sides.
      rule: the join.
      way: one of WAYS.
      broadcast_bytes: most that is broadcast, here.

    Raises:
      InputError: a way that was asked for is none here.
    """

    def __init__(self, left: Side, right: Side, rule: JoinRule, way: str, broadcast_bytes: int) -> None:
        self.left = left
        self.right = right
        self.rule = rule
        self._way = way
        self._most = broadcast_bytes

    @property
    def files(self) -> list[FileEntry]:
        """All files."""
        return [*self.left.source.files, *self.right.source.files]

    @property
    def input_bytes(self) -> int:
        """Stored bytes of both."""
        return self.left.source.input_bytes + self.right.source.input_bytes

    @cached_property
    def choice(self) -> Choice:
        """How they are joined.

        Raises:
          InputError: the way that was asked for is none here.
        """
        if self._way in (AUTO, COLOCATED):
            found = self._colocated()
            if isinstance(found, CoLocated):
                merged = f"merged by {', '.join(found.order)}"
                how = (
                    merged if found.order else "hashed: files aren't sorted by the key, or too many to merge"
                )
                reason = f"both are hashed alike: {len(found.buckets)} buckets, {how}"
                return Choice(COLOCATED, reason, colocated=found)
            if self._way == COLOCATED:
                raise InputError(f"--way=colocated: {found}. Use --way=shuffle, or repartition one side.")
        if self._way != SHUFFLE:
            chosen = self._broadcast()
            if chosen is not None:
                return chosen
        return Choice(
            SHUFFLE, "asked for" if self._way == SHUFFLE else f"no side is known to be small: {self._sizes()}"
        )

    def hot_keys(self) -> HotKeys:
        """Keys that have to be spread, as samples tell."""
        left, right = (side.sample_keys(self.rule) for side in (self.left, self.right))
        return find_hot_keys(left, right, self.rule)

    def _sizes(self) -> str:
        return ", ".join(
            f"{side.name} about {format_bytes(side.expected_bytes)}" for side in (self.left, self.right)
        )

    def _broadcast(self) -> Choice | None:
        sides = [side for side in (self.right, self.left) if no_broadcast(self.rule.how, side.name) is None]
        if not sides:
            if self._way == BROADCAST:
                raise InputError(f"--way=broadcast: {no_broadcast(self.rule.how, RIGHT_SIDE)}")
            return None
        small = min(sides, key=lambda side: side.expected_bytes)
        if self._way != BROADCAST and small.expected_bytes * MARGIN > self._most:
            return None
        return Choice(
            BROADCAST, f"the {small.name} side has about {format_bytes(small.expected_bytes)}", small.name
        )

    def _colocated(self) -> CoLocated | str:
        """The buckets; or why there are none."""
        sides = (self.left, self.right)
        for side in sides:
            if side.partitioning is None:
                return f"the {side.name} side says nothing of how it is partitioned"
            if side.partitioning.split:
                return f"a partition of the {side.name} side was cut by a cap"
        on = self.rule.on
        found = co_partitioned(self.left.partitioning, self.right.partitioning, on, on)
        types = (
            [self.left.columns.field(name).type for name in on],
            [self.right.columns.field(name).type for name in on],
        )
        if found is None or not all(map(hashes_alike, *types)):
            return (
                f"the sides are not hashed alike by {', '.join(on)}, into numbers of buckets of which one divides the "
                f"other"
            )
        left = self.left.buckets(found.left, found.partitions)
        right = self.right.buckets(found.right, found.partitions)
        numbers = sorted({*left, *right})
        buckets = tuple(Bucket(number, left.get(number, ()), right.get(number, ())) for number in numbers)
        return CoLocated(buckets, self._order(buckets))

    def _order(self, buckets: Sequence[Bucket]) -> tuple[str, ...]:
        if any(len(bucket.left) + len(bucket.right) > MERGED_FILES for bucket in buckets):
            return ()
        count = len(self.rule.on)
        orders = {side.partitioning.order[:count] for side in (self.left, self.right) if side.partitioning}
        order = orders.pop()
        return order if not orders and set(order) == set(self.rule.on) else ()
