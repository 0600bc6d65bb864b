"""The state of what is remembered: its bytes, what is cleared when, and workers that try again."""

import random
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.coders import BytesCoder
from apache_beam.testing import test_stream as streams
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from beam_etl.kernels.candidates import BUCKET, BUCKET_ROW, bucket_rows
from beam_etl.kernels.window_memory import keep_buckets, wanted_buckets
from beam_etl.transforms import remembering
from beam_etl.transforms.earlier import EarlierChangedError
from beam_etl.transforms.remembering import SLOTS, MeetRemembered, Memory
from beam_etl.transforms.timer_holds import hold_for_timers
from tests.streams import MINUTE, play

SIZE, REMEMBER = 10 * MINUTE, 70 * MINUTE
BANDS, NEW = 16, 1 << 63


class Bag:
    """A bag of bytes, as an engine holds it."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.add = self.values.append
        self.clear = self.values.clear

    def read(self) -> list[bytes]:
        return list(self.values)

    def write(self, value: bytes) -> None:
        self.values[:] = [value]


class Mark(Bag):
    def read(self) -> Any:
        return self.values[0] if self.values else None


class Timers:
    def __init__(self) -> None:
        self.waiting: dict[str, Timestamp] = {}

    def set(self, fires: Timestamp, dynamic_timer_tag: str) -> None:
        self.waiting[dynamic_timer_tag] = fires


def keep(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    return keep_buckets(list(batches), verified=False)


def tell(batches: Any, found: Any) -> Iterator[pa.RecordBatch]:
    """What was found, beside the number of rows that asked."""
    rows = sum(batch.num_rows for batch in batches)
    yield pa.record_batch({"asked": [rows], "found": [sorted(_pairs(found))]})


def _with_pairs(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "found": [tuple(pair) for pair in row["found"]]} if "found" in row else row


def _pairs(batches: Iterable[pa.RecordBatch]) -> list[list[int]]:
    return [list(row.values()) for batch in batches for row in batch.to_pylist()]


class Partition:
    """One key of the step on an engine that does what it is told."""

    def __init__(self, **memory: Any) -> None:
        asked = Memory(key=BUCKET, columns=BUCKET_ROW, keep=keep, wanted=wanted_buckets, **memory)
        self.step = remembering._Remember(
            MeetRemembered(memory=asked, kernel=tell, remember=REMEMBER),
            FixedWindows(SIZE // 1_000_000),
            False,
        )
        self.pending, self.mark = Bag(), Mark()
        self.ring = tuple(Bag() for _ in range(SLOTS))
        self.close, self.forget = Timers(), Timers()

    def bring(self, end: int, buckets: list[int], nodes: list[int]) -> None:
        """The rows of the window that ends then."""
        rows = bucket_rows(np.array(buckets, np.uint64), np.array(nodes, np.uint64) + np.uint64(NEW))
        self.step.process((3, [rows]), Timestamp(micros=end - 1), self.pending, self.close)

    def until(self, now: int) -> list[dict[str, Any]]:
        """Fires the timers, in order; the rows that were given out, each with its time."""
        told = []
        while due := [
            (fires, tag, timers)
            for timers in (self.close, self.forget)
            for tag, fires in timers.waiting.items()
            if fires.micros <= now
        ]:
            fires, tag, timers = min(due, key=lambda timer: timer[:2])
            del timers.waiting[tag]
            told += self.fire(timers, fires)
        return told

    def fire(self, timers: Timers, fires: Timestamp) -> list[dict[str, Any]]:
        callback = self.step.on_close if timers is self.close else self.step.on_forget
        out = callback(3, fires, self.mark, self.pending, self.forget, *self.ring)
        told = []
        for value in out:
            stamped = value.value if isinstance(value, beam.pvalue.TaggedOutput) else value
            batch = stamped.value
            rows = batch.to_pylist() if isinstance(batch, pa.RecordBatch) else [{"failure": batch}]
            told += [{"at": stamped.timestamp.micros, **_with_pairs(row)} for row in rows]
        return told

    @property
    def bytes(self) -> int:
        return sum(len(value) for bag in (*self.ring, self.mark, self.pending) for value in bag.values)


def test_windows_are_decided_in_order_whichever_comes_first() -> None:
    one = Partition()
    one.bring(3 * SIZE, [7, 8], [30, 31])
    one.bring(2 * SIZE, [7], [20])
    one.bring(1 * SIZE, [7, 9], [10, 11])
    told = one.until(2 * SIZE)
    assert [(row["at"], row["found"]) for row in told] == [(SIZE - 1, []), (2 * SIZE - 1, [(7, 10)])]
    assert [row["found"] for row in one.until(3 * SIZE)] == [[(7, 10), (7, 20)]]
    assert not one.pending.values


def test_a_late_timer_decides_all_that_is_due() -> None:
    one = Partition()
    for window in (2, 3, 1):
        one.bring(window * SIZE, [7], [window])
    told = one.fire(one.close, Timestamp(micros=3 * SIZE - 1))
    assert [len(row["found"]) for row in told] == [0, 1, 2]
    assert one.until(3 * SIZE) == []


@pytest.mark.parametrize("first", [0, -100], ids=["after 1970", "before"])
def test_what_is_forgotten_is_cleared_though_nothing_comes_any_more(first: int) -> None:
    one, last = Partition(), first + 29
    for window in range(first, last + 1):
        one.bring(window * SIZE, [window - first], [window - first])
    one.until(last * SIZE)
    held = [len(bag.values) for bag in one.ring]
    assert sum(held) <= REMEMBER // SIZE + 2 + REMEMBER // SIZE // (SLOTS - 1)
    assert len(one.forget.waiting) <= SLOTS + 1
    one.until(last * SIZE + 2 * REMEMBER)
    assert [bag.values for bag in one.ring] == [[]] * SLOTS
    assert not one.forget.waiting
    one.bring(80 * SIZE, [29], [80])
    assert [row["found"] for row in one.until(80 * SIZE)] == [[]]


@pytest.mark.parametrize("gap", [1, 7, 8, 9, 20])
def test_what_is_seen_ended_less_than_remember_before_the_window_starts(gap: int) -> None:
    """Whatever slots of the ring the windows fall into."""
    for first in range(1, 12):
        one = Partition()
        for window in range(first, first + gap + 1):
            one.bring(window * SIZE, [5 if window in (first, first + gap) else 0], [window])
        last = one.until((first + gap) * SIZE)[-1]
        assert last["found"] == ([(5, first)] if (gap - 1) * SIZE < REMEMBER else [])


def test_the_bytes_of_a_remembered_document() -> None:
    """At most 24 a band: 16, and what a window takes for itself."""
    one, source, documents = Partition(), random.Random(1), 20_000
    for window in range(1, 6):
        rows = documents // 5
        buckets = [source.getrandbits(64) for _ in range(rows * BANDS)]
        nodes = [source.getrandbits(63) for _ in range(rows) for _ in range(BANDS)]
        one.bring(window * SIZE, buckets, nodes)
    one.until(5 * SIZE)
    assert 16 * BANDS * documents <= one.bytes <= 17 * BANDS * documents


def test_a_copy_in_a_bucket_takes_nothing() -> None:
    one = Partition()
    one.bring(SIZE, [7] * 1000, list(range(1000)))
    one.until(SIZE)
    assert one.bytes < 1000
    one.bring(2 * SIZE, [7], [5000])
    assert [row["found"] for row in one.until(2 * SIZE)] == [[(7, 0)]]


def test_a_worker_that_fails_and_tries_again_knows_no_more_than_the_state() -> None:
    one = Partition()
    one.bring(SIZE, [7], [1])
    one.until(SIZE)
    before = [list(bag.values) for bag in (*one.ring, one.mark)]
    one.bring(2 * SIZE, [7], [2])
    first = one.fire(one.close, Timestamp(micros=2 * SIZE - 1))
    for bag, values in zip((*one.ring, one.mark), before, strict=True):
        bag.values[:] = values
    one.bring(2 * SIZE, [7], [2])
    assert one.fire(one.close, Timestamp(micros=2 * SIZE - 1)) == first
    one.bring(3 * SIZE, [7], [3])
    assert [row["found"] for row in one.until(3 * SIZE)] == [[(7, 1), (7, 2)]]


def test_another_worker_finds_the_same_in_the_state() -> None:
    one, other = Partition(), Partition()
    for window in range(1, 9):
        one.bring(window * SIZE, [window % 3], [window])
    one.until(8 * SIZE)
    other.mark, other.ring = one.mark, one.ring
    other.bring(9 * SIZE, [0, 1], [90, 91])
    assert [row["found"] for row in other.until(9 * SIZE)] == [[(0, 3), (0, 6), (1, 4), (1, 7)]]


def test_what_is_remembered_from_the_start_stays() -> None:
    one = Partition(start=_start)
    for window in (1, 50):
        one.bring(window * SIZE, [7], [window])
        assert (7, 99) in one.until(window * SIZE)[0]["found"]
    assert one.bytes < 1000


def test_what_is_remembered_from_the_start_is_read_once_though_the_state_changes() -> None:
    read = []

    def start(number: int) -> Iterator[pa.RecordBatch]:
        read.append(number)
        return _start(number)

    one, other = Partition(start=start), Partition(start=start)
    for window in (1, 2):
        one.bring(window * SIZE, [7], [window])
        one.until(window * SIZE)
    other.mark, other.ring = one.mark, one.ring
    other.bring(3 * SIZE, [7], [3])
    other.until(3 * SIZE)
    one.bring(4 * SIZE, [7, 8], [4, 40])
    expected = [(7, 1), (7, 2), (7, 3), (7, 99), (8, 98)]
    assert [row["found"] for row in one.until(4 * SIZE)] == [expected]
    assert read == [3, 3], "once by each worker"


def _start(number: int) -> Iterator[pa.RecordBatch]:
    assert number == 3
    yield bucket_rows(np.array([7, 8], np.uint64), np.array([99, 98], np.uint64))


def test_a_dataset_that_is_gone_is_a_failure_and_not_an_error() -> None:
    one = Partition(start=_gone)
    one.bring(SIZE, [7], [1])
    assert one.until(SIZE) == [{"at": SIZE - 1, "failure": "signatures are gone"}]


def _gone(number: int) -> Iterator[pa.RecordBatch]:
    raise EarlierChangedError("signatures are gone")


def test_more_than_engines_hold_is_a_failure_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "KEY_LIMIT", 1000)
    one = Partition()
    one.bring(SIZE, list(range(100)), list(range(100)))
    (_, failure) = one.until(SIZE)
    assert "above 1,000" in failure["failure"]
    assert "--remember=4200s" in failure["failure"]


_HELD = beam.DoFn.StateParam(BagStateSpec("held", BytesCoder()))
_END = TimerSpec("end", TimeDomain.WATERMARK)
_SET_END = beam.DoFn.TimerParam(_END)


class _HoldsBack(beam.DoFn):
    """Gives out what it was given when its minute is over."""

    def process(
        self,
        element: tuple[int, bytes],
        timestamp: Any = beam.DoFn.TimestampParam,
        held: Any = _HELD,
        end: Any = _SET_END,
    ) -> None:
        held.add(element[1])
        (window,) = FixedWindows(60).assign(beam.window.WindowFn.AssignContext(timestamp))
        end.set(window.max_timestamp(), dynamic_timer_tag=str(window.end))

    @on_timer(_END)  # type: ignore[untyped-decorator]
    def on_end(self, timestamp: Any = beam.DoFn.TimestampParam, held: Any = _HELD) -> Iterator[Any]:
        for value in held.read():
            yield TimestampedValue((0, value), timestamp)
        held.clear()


def test_what_a_timer_gives_out_is_not_too_late_for_its_own_window() -> None:
    """On BundleBasedDirectRunner, where the watermark jumps over it."""
    stream = streams.TestStream(coder=beam.coders.TupleCoder((beam.coders.VarIntCoder(), BytesCoder())))
    stream.add_elements([TimestampedValue((0, b"a"), 5)]).advance_watermark_to(
        500
    ).advance_watermark_to_infinity()

    def build(elements: Any) -> dict[str, Any]:
        hold_for_timers(elements.pipeline.runner)
        held = elements | "All" >> beam.WindowInto(GlobalWindows()) | "Hold" >> beam.ParDo(_HoldsBack())
        grouped = held | "Again" >> beam.WindowInto(FixedWindows(60)) | beam.GroupByKey()
        return {"groups": grouped | beam.Map(lambda pair: (pair[0], list(pair[1])))}

    assert play(stream, build)["groups"] == [(0, [b"a"])]
