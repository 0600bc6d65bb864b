"""MeetRemembered: each window of a partition beside what earlier windows of it left behind."""

import secrets
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    IntervalWindow,
    TimestampedValue,
    WindowFn,
)
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import Timestamp

from beam_etl.kernels.remembering import ALWAYS, Keys, Remembered, pack, unpack
from beam_etl.transforms.batches import RecordBatchCoder, split_batch
from beam_etl.transforms.component_rounds import typed
from beam_etl.transforms.earlier import EarlierChangedError, Met
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import KEY_LIMIT, Partition
from beam_etl.transforms.timer_holds import hold_for_timers
from beam_etl.transforms.worker_cache import WorkerCache

SLOTS = 8
"""Bags of a ring: seven for a seventh of `remember` each, and one that is being filled."""

REMEMBERED_BYTES = "remembered_bytes"
"""Distribution: the state of a partition after each window."""

Rows: TypeAlias = Sequence[pa.RecordBatch]

_FAILURES = "failures"
_HEAD = 8
"""Bytes of a window's end before each batch that waits for it."""
_EMPTY = -(1 << 63)
"""The epoch of a bag that holds nothing."""
_START, _SAME_FOREVER = "start", 0
"""Name and version of what a partition remembers from the start, among what workers keep."""
_MILLISECOND = 1000
"""In which engines count: a timer may fire so much before its window's end, in microseconds."""

_CLOSE, _FORGET = (TimerSpec(name, TimeDomain.WATERMARK) for name in ("close", "forget"))
_SET_CLOSE, _SET_FORGET = beam.DoFn.TimerParam(_CLOSE), beam.DoFn.TimerParam(_FORGET)
_PENDING = beam.DoFn.StateParam(BagStateSpec("pending", BytesCoder()))
_MARK = beam.DoFn.StateParam(ReadModifyWriteStateSpec("mark", BytesCoder()))
_SLOTS = tuple(
    beam.DoFn.StateParam(BagStateSpec(f"remembered_{slot}", BytesCoder())) for slot in range(SLOTS)
)

_cache = WorkerCache()
_coder = RecordBatchCoder()


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a partition remembers of each window. Its functions are picklable."""

    key: str
    """The uint64 column that rows are found by."""
    columns: pa.Schema
    """Of what is remembered."""
    keep: Callable[[Rows], pa.RecordBatch]
    """What is to be remembered of a window: `columns`, in an order that doesn't depend on that of the batches."""
    wanted: Callable[[Rows], Keys]
    """The keys that a window asks for."""
    start: Callable[[int], Iterable[pa.RecordBatch]] | None = None
    """Of a partition what is remembered from the start, and for ever. Raises EarlierChangedError."""


@dataclass(eq=False, kw_only=True)
class MeetRemembered(beam.PTransform):
    """`kernel` over each window of a partition and what earlier windows left behind, strictly in order. No shuffle.

    Input: what Shuffle gives, in fixed windows of one pane. Output: Met, in the same windows.

    State is one key a partition, in the global window: what waits for its window's end, and a ring of bags that are
    only appended to. It is bytes, so that any engine holds it. Workers keep what they remember sorted; a random number
    in the state, another one after each change, tells whether that is still true.

    Args:
      memory: what is remembered.
      kernel: takes a window's batches and the remembered ones with a key that they asked for.
      remember: microseconds. A window sees those that ended less than this before it starts.

    Raises:
      ValueError: remember isn't positive; when the pipeline is made, the input isn't in fixed windows.
    """

    memory: Memory
    kernel: Callable[[Rows, Rows], Iterable[pa.RecordBatch]]
    remember: int

    def __post_init__(self) -> None:
        super().__init__()
        if self.remember < 1:
            raise ValueError(f"documents are remembered for a time above 0, got {self.remember} us")

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, partitions: beam.PCollection[Partition]) -> Met:
        windowing = partitions.windowing
        if not isinstance(windowing.windowfn, FixedWindows):
            raise ValueError(  # noqa: TRY004 - no type of an argument
                f"what is remembered is decided in fixed windows, got {windowing.windowfn}: --window=fixed:10m"
            )
        hold_for_timers(partitions.pipeline.runner)
        step = _Remember(self, windowing.windowfn, everything=partitions.is_bounded)
        done = (
            partitions
            | "Across windows" >> beam.WindowInto(GlobalWindows())
            | "Remember" >> beam.ParDo(step).with_outputs(_FAILURES, main="batches")
        )
        failures = done[_FAILURES] | "Failures" >> beam.WindowInto(windowing)
        return Met(typed(done.batches) | "Windows again" >> beam.WindowInto(windowing), failures)


class _Mark:
    """What a partition's state tells of itself: 136 bytes."""

    _FORM = struct.Struct(f"<Q{2 * SLOTS}q")

    def __init__(self, packed: bytes | None) -> None:
        numbers = self._FORM.unpack(packed) if packed else (0, *[_EMPTY] * SLOTS, *[0] * SLOTS)
        self.version = numbers[0]
        self.epochs = list(numbers[1 : SLOTS + 1])
        """Of each bag, which part of time it holds, counted in seventh parts of `remember` since 1970."""
        self.sizes = list(numbers[SLOTS + 1 :])
        """Bytes of each bag."""

    def packed(self) -> bytes:
        return self._FORM.pack(self.version, *self.epochs, *self.sizes)


class _State:
    """One partition's state, while one of its timers is at work."""

    def __init__(self, number: int, mark: Any, pending: Any, forget: Any, ring: tuple[Any, ...]) -> None:
        self.number = number
        self.pending = pending
        self.forget = forget
        self.ring = ring
        self._stored = mark
        self.mark = _Mark(mark.read())

    def changed(self) -> None:
        """Whoever sorted the state before has to do it again."""
        self.mark.version = secrets.randbits(64)

    def save(self) -> None:
        self._stored.write(self.mark.packed())


class _Remember(beam.DoFn):
    """Holds a window's batches until all of them are there, then decides it after the ones before.

    Args:
      settings: the transform's.
      windowfn: of the input.
      everything: all input has come when the first timer fires, as it has where it is bounded.
    """

    def __init__(self, settings: MeetRemembered, windowfn: FixedWindows, everything: bool) -> None:
        self._memory = settings.memory
        self._kernel = settings.kernel
        self._remember = settings.remember
        self._width = -(-settings.remember // (SLOTS - 1))
        self._windowfn = windowfn
        self._everything = everything
        self._step = secrets.token_hex(8)
        self._metrics = StepMetrics()

    def process(
        self,
        partition: Partition,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        pending: Any = _PENDING,
        close: Any = _SET_CLOSE,
    ) -> None:
        window = self._window(timestamp)
        for batch in partition[1]:
            self._metrics.took_in(batch)
            pending.add(window.end.micros.to_bytes(_HEAD, "little", signed=True) + _coder.encode(batch))
        close.set(window.max_timestamp(), dynamic_timer_tag=str(window.end.micros))

    @on_timer(_CLOSE)  # type: ignore[untyped-decorator]
    def on_close(  # noqa: PLR0913 - Beam wants an argument for each bag
        self,
        number: int = beam.DoFn.KeyParam,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        mark: Any = _MARK,
        pending: Any = _PENDING,
        forget: Any = _SET_FORGET,
        slot_0: Any = _SLOTS[0],
        slot_1: Any = _SLOTS[1],
        slot_2: Any = _SLOTS[2],
        slot_3: Any = _SLOTS[3],
        slot_4: Any = _SLOTS[4],
        slot_5: Any = _SLOTS[5],
        slot_6: Any = _SLOTS[6],
        slot_7: Any = _SLOTS[7],
    ) -> Iterator[Any]:
        ring = (slot_0, slot_1, slot_2, slot_3, slot_4, slot_5, slot_6, slot_7)
        yield from self._decide(_State(number, mark, pending, forget, ring), timestamp)

    @on_timer(_FORGET)  # type: ignore[untyped-decorator]
    def on_forget(  # noqa: PLR0913 - Beam wants an argument for each bag
        self,
        number: int = beam.DoFn.KeyParam,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        mark: Any = _MARK,
        pending: Any = _PENDING,
        forget: Any = _SET_FORGET,
        slot_0: Any = _SLOTS[0],
        slot_1: Any = _SLOTS[1],
        slot_2: Any = _SLOTS[2],
        slot_3: Any = _SLOTS[3],
        slot_4: Any = _SLOTS[4],
        slot_5: Any = _SLOTS[5],
        slot_6: Any = _SLOTS[6],
        slot_7: Any = _SLOTS[7],
    ) -> Iterator[Any]:
        ring = (slot_0, slot_1, slot_2, slot_3, slot_4, slot_5, slot_6, slot_7)
        state = _State(number, mark, pending, forget, ring)
        yield from self._decide(state, timestamp)  # where engines fire timers in no order
        for slot, epoch in enumerate(state.mark.epochs):
            if epoch != _EMPTY and self._forgotten(epoch) <= timestamp.micros + _MILLISECOND:
                self._clear(state, slot)
                state.save()

    def _decide(self, state: _State, timestamp: Timestamp) -> Iterator[Any]:
        """Decides the windows that ended by now, one after another."""
        due: dict[int, list[pa.RecordBatch]] = {}
        left = []
        for packed in state.pending.read():
            ended = int.from_bytes(packed[:_HEAD], "little", signed=True)
            if self._everything or ended <= timestamp.micros + _MILLISECOND:
                due.setdefault(ended, []).append(_coder.decode(packed[_HEAD:]))
            else:
                left.append(packed)
        if not due:
            return
        state.pending.clear()
        for packed in left:
            state.pending.add(packed)
        for ended in sorted(due):
            window = self._window(Timestamp(micros=ended - 1))
            try:
                yield from self._metrics.timed(self._meet(state, window, due[ended]))
            except EarlierChangedError as error:  # raised on, it would be tried again in vain
                yield beam.pvalue.TaggedOutput(
                    _FAILURES, TimestampedValue(str(error), window.max_timestamp())
                )
        state.save()

    def _meet(self, state: _State, window: IntervalWindow, batches: Rows) -> Iterator[Any]:
        """What the kernel makes of one window; the window is remembered."""
        stamp = window.max_timestamp()
        after, ended = window.start.micros - self._remember, window.end.micros
        held, wanted = self._recall(state), self._memory.wanted(batches)
        found = [held.find(wanted, after, ended), *self._from_start(state.number, wanted)]
        for out in self._kernel(batches, [rows.select(self._memory.columns.names) for rows in found]):
            for bounded in split_batch(out):
                self._metrics.gave_out(bounded)
                yield TimestampedValue(bounded, stamp)
        rows = self._memory.keep(batches)
        if rows.num_rows:
            self._append(state, ended, rows)
            held.add(ended, rows, after)
        _cache.put((self._step, state.number), state.mark.version, held)
        size = sum(state.mark.sizes)
        self._metrics.observe(REMEMBERED_BYTES, size)
        if size > KEY_LIMIT:
            yield beam.pvalue.TaggedOutput(_FAILURES, TimestampedValue(self._too_large(size), stamp))

    def _recall(self, state: _State) -> Remembered:
        """What the partition remembers, sorted: as this worker knows it, or from the state."""
        known: Remembered | None = _cache.take((self._step, state.number), state.mark.version)
        if known is not None:
            return known
        held = Remembered(self._memory.key, self._memory.columns)
        held.load(unpack(packed, self._memory.columns) for bag in state.ring for packed in bag.read())
        return held

    def _from_start(self, number: int, wanted: Keys) -> Iterator[pa.RecordBatch]:
        """The rows with one of these keys that the partition remembers from the start."""
        if self._memory.start is None:
            return
        key = (self._step, number, _START)
        held: Remembered | None = _cache.take(key, _SAME_FOREVER)
        if held is None:
            held = Remembered(self._memory.key, self._memory.columns)
            held.load((ALWAYS, rows) for rows in self._memory.start(number))
        found = held.find(wanted, _EMPTY, _EMPTY)
        _cache.put(key, _SAME_FOREVER, held)
        yield found

    def _append(self, state: _State, ended: int, rows: pa.RecordBatch) -> None:
        epoch = ended // self._width
        slot = epoch % SLOTS
        if state.mark.epochs[slot] != epoch:
            self._clear(state, slot)
            state.mark.epochs[slot] = epoch
            forgotten = Timestamp(micros=self._forgotten(epoch))
            state.forget.set(forgotten, dynamic_timer_tag=str(epoch))
        packed = pack(ended, rows)
        state.ring[slot].add(packed)
        state.mark.sizes[slot] += len(packed)
        state.changed()

    def _forgotten(self, epoch: int) -> int:
        """When all windows have ended that see what the bag of an epoch has, in microseconds."""
        return (epoch + 1) * self._width + self._remember + self._windowfn.size.micros

    def _clear(self, state: _State, slot: int) -> None:
        state.ring[slot].clear()
        state.mark.epochs[slot], state.mark.sizes[slot] = _EMPTY, 0
        state.changed()

    def _window(self, timestamp: Timestamp) -> IntervalWindow:
        (window,) = self._windowfn.assign(WindowFn.AssignContext(timestamp))
        return window

    def _too_large(self, size: int) -> str:
        return (
            f"{size:,} bytes are remembered in one of the partitions of documents, above {KEY_LIMIT:,}, which is what "
            f"engines hold. Remember them for less than --remember={self._remember // 1_000_000}s, or over more "
            f"--remember_partitions."
        )
