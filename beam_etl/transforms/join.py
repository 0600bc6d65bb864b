"""Join: rows of two sides that have equal keys."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl.kernels.hash_join import HeldSide, HeldSizeError, hash_join
from beam_etl.kernels.join_rule import INNER, OUTER, JoinError, JoinRule
from beam_etl.kernels.join_salts import SALT, HotKeys, salted_left, salted_right, with_salt
from beam_etl.kernels.join_table import distinct_keys
from beam_etl.transforms.batches import Batches, MapBatches, split_batch
from beam_etl.transforms.map_partitions import MapPartition
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Gather, Partition, Shuffle

BROADCAST, SHUFFLE = "broadcast", "shuffle"
WAYS = (BROADCAST, SHUFFLE)

LEFT_SIDE, RIGHT_SIDE = "left", "right"

BROADCAST_BYTES = 1 << 30
"""Of a side that each worker process holds a copy of."""

MEMORY_SHARE = 4
"""A broadcast side has at most one in so many bytes of a worker's memory."""

MAX_BROADCAST_BYTES = (2 << 30) - 1
"""Arrow holds so many bytes in one column of strings."""

FAILURES, SIZES = "failures", "sizes"
"""Tags of outputs."""

_MARK = "beam_etl.right"
"""A column without bytes, of rows of the right side while they travel."""


class Joined(NamedTuple):
    """What joining gives."""

    rows: Batches
    """Of `JoinRule.columns`."""
    failures: beam.PCollection[str]
    """Why the result must not be used, as text; none where it may."""


@dataclass(eq=False, kw_only=True)
class Join(beam.PTransform):
    """Rows of two sides with equal keys. One shuffle, of both sides; none where one of them is broadcast.

    Input: {"left": batches, "right": batches}. Output: Joined. Keys with a null are equal to no other; rows that have
    one don't cross. See JoinRule for the columns of the result.

    Args:
      on: key columns, which both sides have.
      left, right: the columns of both sides: an `address` among them is left out.
      how: inner, left, semi, anti or outer; see JoinRule.
      way: SHUFFLE, or BROADCAST: each worker process holds `held`, and the other side doesn't travel.
      held: the side that is broadcast: RIGHT_SIDE, or for an inner join LEFT_SIDE.
      broadcast_bytes: of the side that is broadcast; more is a failure, and so is more than a quarter of a worker's
        memory.
      expected_bytes: of both sides, for the shuffle.
      hot: keys that are spread over several partitions of the shuffle (see join_salts).

    Raises:
      JoinError: see JoinRule; or a way that doesn't give the rows of this join.
      ValueError: another way or side, or broadcast_bytes out of range.
    """

    on: tuple[str, ...]
    left: pa.Schema
    right: pa.Schema
    how: str = INNER
    way: str = SHUFFLE
    held: str = RIGHT_SIDE
    broadcast_bytes: int = BROADCAST_BYTES
    expected_bytes: int | None = None
    hot: HotKeys = field(default_factory=HotKeys)

    def __post_init__(self) -> None:
        super().__init__()
        self.rule = JoinRule(left=self.left, right=self.right, on=self.on, how=self.how)
        if self.way not in WAYS or self.held not in (LEFT_SIDE, RIGHT_SIDE):
            raise ValueError(
                f"rows are joined by {' or '.join(WAYS)}, the left or right side held; got {self.way!r}, {self.held!r}"
            )
        if not 0 <= self.broadcast_bytes <= MAX_BROADCAST_BYTES:
            raise ValueError(
                f"broadcast_bytes is at least 0 and below 2 GiB, since Arrow holds no more in one column of strings; "
                f"got {self.broadcast_bytes}"
            )
        if self.way == BROADCAST and (reason := no_broadcast(self.how, self.held)):
            raise JoinError(reason)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, sides: dict[str, Batches]) -> Joined:
        left = sides[LEFT_SIDE] | "Left as joined" >> MapBatches(self.rule.of_left)
        right = sides[RIGHT_SIDE] | "Right as joined" >> MapBatches(self.rule.of_right)
        return self._broadcast(left, right) if self.way == BROADCAST else self._shuffled(left, right)

    def _broadcast(self, left: Batches, right: Batches) -> Joined:
        is_left = self.held == LEFT_SIDE
        held, streamed = (left, right) if is_left else (right, left)
        capped = (
            held
            | "With keys" >> MapBatches(partial(_with_keys, rule=self.rule, distinct=not self.rule.pairs))
            | "Cap"
            >> beam.ParDo(_Cap(self.broadcast_bytes))
            .with_output_types(pa.RecordBatch, sizes=int)
            .with_outputs(SIZES, main="held")
        )
        total = capped[SIZES] | "Gather sizes" >> Gather() | "Sum" >> beam.Map(sum).with_output_types(int)
        out = streamed | "Join" >> beam.ParDo(
            _Broadcast(self.rule, is_left, self.broadcast_bytes),
            beam.pvalue.AsSingleton(total),
            beam.pvalue.AsIter(capped.held),
        ).with_output_types(pa.RecordBatch, failures=str).with_outputs(FAILURES, main="rows")
        too_large = total | "Too large" >> beam.FlatMap(
            _too_large, side=self.held, most=self.broadcast_bytes
        ).with_output_types(str)
        return Joined(out.rows, (out[FAILURES], too_large) | "Failures" >> beam.Flatten())

    def _shuffled(self, left: Batches, right: Batches) -> Joined:
        rule, salt = self.rule, (SALT,) if self.hot else ()
        mine = left | "Left to partners" >> MapBatches(
            partial(_leaving, rule=rule, hot=self.hot, is_left=True)
        )
        others = right | "Right to partners" >> MapBatches(
            partial(_leaving, rule=rule, hot=self.hot, is_left=False)
        )
        joined = (
            (mine, others)
            | "Both" >> beam.Flatten()
            | "By key" >> Shuffle(by=(*self.on, *salt), expected_bytes=self.expected_bytes)
            | "Join"
            >> beam.ParDo(_JoinPartition(with_salt(rule) if self.hot else rule))
            .with_output_types(pa.RecordBatch, failures=str)
            .with_outputs(FAILURES, main="rows")
        )
        rows = [joined.rows]
        if rule.keeps_left:
            rows.append(
                left | "Left without key" >> MapBatches(partial(_without_key, rule=rule, is_left=True))
            )
        if rule.keeps_right:
            rows.append(
                right | "Right without key" >> MapBatches(partial(_without_key, rule=rule, is_left=False))
            )
        return Joined(rows | "All rows" >> beam.Flatten(), joined[FAILURES])


def no_broadcast(how: str, held: str) -> str | None:
    """Why a side can't be broadcast for such a join; None where it can."""
    if how == OUTER:
        return (
            "an outer join keeps rows of the broadcast side without a partner, and no worker sees all partners: "
            "use --way=shuffle"
        )
    if held == LEFT_SIDE and how != INNER:
        return f"a join of the kind {how} broadcasts its right side: the left side's rows can have partners anywhere"
    return None


def join_partition(batches: Iterable[pa.RecordBatch], rule: JoinRule) -> Iterator[pa.RecordBatch]:
    """The joined rows of one partition, in which rows of both sides have met. The batches are iterated over again.

    The rule has the SALT among its keys where rows have one: several parts of a key can be in one partition.
    """
    left, right = _Side(batches, is_left=True), _Side(batches, is_left=False)
    holds_left = rule.how == INNER and left.nbytes < right.nbytes
    for rows in hash_join(left, right, rule, holds_left=holds_left):
        yield rows.drop_columns([SALT]) if SALT in rule.on else rows


class _Side:
    """Those batches of a partition that are of one side, without their mark."""

    def __init__(self, batches: Iterable[pa.RecordBatch], is_left: bool) -> None:
        self._batches = batches
        self._is_left = is_left

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(batch.nbytes for batch in self)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            if (_MARK not in batch.schema.names) == self._is_left:
                yield batch if self._is_left else batch.drop_columns([_MARK])


class _JoinPartition(MapPartition):
    """Joins the rows of a partition; what can't be held is a failure."""

    def __init__(self, rule: JoinRule) -> None:
        super().__init__(partial(join_partition, rule=rule), numbered=False)

    def process(self, partition: Partition) -> Iterator[Any]:
        try:
            yield from super().process(partition)
        except HeldSizeError as error:
            yield beam.pvalue.TaggedOutput(FAILURES, f"{error}.")


def _with_keys(rows: pa.RecordBatch, rule: JoinRule, distinct: bool) -> pa.RecordBatch:
    """The rows that can have a partner; where only that matters, each key once."""
    joinable, _ = rule.split_nulls(rows)
    return distinct_keys(joinable) if distinct and joinable.num_rows else joinable


def _without_key(rows: pa.RecordBatch, rule: JoinRule, is_left: bool) -> pa.RecordBatch:
    _, alone = rule.split_nulls(rows)
    return rule.left_alone(alone) if is_left else rule.right_alone(alone)


def _leaving(rows: pa.RecordBatch, rule: JoinRule, hot: HotKeys, is_left: bool) -> pa.RecordBatch:
    """Rows on their way to their partners, marked by their side."""
    joinable = _with_keys(rows, rule, distinct=not is_left and not rule.pairs)
    if hot:
        joinable = (salted_left if is_left else salted_right)(joinable, rule, hot)
    return joinable if is_left else joinable.append_column(_MARK, pa.nulls(joinable.num_rows))


class _Cap(beam.DoFn):
    """Passes on what a bundle has of a side, as far as it could be broadcast, and tells its bytes."""

    def __init__(self, most: int) -> None:
        self._most = most

    def start_bundle(self) -> None:
        self._size = 0

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        self._size += batch.nbytes
        if self._size <= self._most:
            yield batch

    def finish_bundle(self) -> Iterator[Any]:
        value = WindowedValue(self._size, MIN_TIMESTAMP, (GlobalWindow(),))
        yield beam.pvalue.TaggedOutput(SIZES, value)


class _Broadcast(beam.DoFn):
    """Joins a side that every worker process holds once."""

    def __init__(self, rule: JoinRule, is_left: bool, most: int) -> None:
        self._rule = rule
        self._is_left = is_left
        self._most = most
        self._shared = Shared()
        self._side: HeldSide | None = (
            None  # Shared itself keeps alive only what was asked for last in a process
        )
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._failed = False

    def process(self, batch: pa.RecordBatch, size: int, held: Iterable[pa.RecordBatch]) -> Iterator[Any]:
        if size > self._most:  # a failure that is told elsewhere
            return
        memory = worker_memory()
        if size > memory // MEMORY_SHARE:
            if not self._failed:
                yield beam.pvalue.TaggedOutput(FAILURES, _too_large_for(size, memory))
            self._failed = True
            return
        self._metrics.took_in(batch)
        if self._side is None:
            self._side = self._shared.acquire(lambda: HeldSide(held, self._rule, self._is_left))
        for rows in self._metrics.timed(self._side.join(batch)):
            for bounded in split_batch(rows):
                self._metrics.gave_out(bounded)
                yield bounded


def worker_memory() -> int:
    """Bytes of memory that this process can have: of the machine, or of its container."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit:
            return min(machine, int(limit.read()))
    except (OSError, ValueError):
        return machine


def _too_large(size: int, side: str, most: int) -> Iterator[str]:
    if size > most:
        yield (
            f"the {side} side has {size:,} bytes, of which at most {most:,} are broadcast. "
            f"Use --way=shuffle, or a larger --broadcast_bytes."
        )


def _too_large_for(size: int, memory: int) -> str:
    return (
        f"a side of {size:,} bytes was to be broadcast to workers that have {memory:,} bytes of memory, of which a "
        f"quarter is used for it. Use --way=shuffle, or workers with more memory."
    )
