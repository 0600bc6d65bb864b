"""Each moment of a thread is counted once, whoever measures inside of whom."""

import time
from collections.abc import Iterator

import pyarrow as pa
import pytest

from beam_etl.transforms import clock, metrics
from beam_etl.transforms.batches import RecordBatchCoder
from beam_etl.transforms.clock import Stopwatch


class Hands:
    """A clock that goes on when it is told to."""

    now = 0

    def read(self) -> int:
        return self.now


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    found = Hands()
    monkeypatch.setattr(time, "perf_counter_ns", found.read)
    return found


class Kept(metrics.StepMetrics):
    """Counters without Beam."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, int] = {}

    def add(self, name: str, value: int) -> None:
        self.kept[name] = self.kept.get(name, 0) + value


def test_a_stopwatch_leaves_out_what_others_measure(hands: Hands) -> None:
    outer = Stopwatch()
    hands.now += 5
    middle = Stopwatch()
    hands.now += 30
    inner = Stopwatch()
    hands.now += 200
    assert inner.stop() == 200
    assert middle.stop() == 30
    second = Stopwatch()
    hands.now += 1000
    assert second.stop() == 1000
    hands.now += 2
    assert outer.stop() == 7


def test_what_is_pulled_counts_for_its_maker_and_what_is_done_with_it_for_nobody(hands: Hands) -> None:
    reader, kernel = Kept(), Kept()

    def read() -> Iterator[int]:
        for number in range(3):
            hands.now += 1_000_000
            yield number

    def doubled(numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            hands.now += 20_000
            yield 2 * number

    for number in kernel.timed(doubled(reader.timed(read()))):
        hands.now += 500_000 * number
    assert (reader.kept, kernel.kept) == ({metrics.MICROSECONDS: 3000}, {metrics.MICROSECONDS: 60})


def test_encoding_is_told_apart(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pa.record_batch({"number": [1, 2, 3]})
    plain = pa.BufferOutputStream

    def slow() -> pa.BufferOutputStream:
        hands.now += 70
        return plain()

    monkeypatch.setattr(pa, "BufferOutputStream", slow)
    before, outer = clock.encoded(), Stopwatch()
    encoded = RecordBatchCoder().encode(batch)
    hands.now += 3
    assert (clock.encoded() - before, outer.stop()) == (70, 3)
    assert RecordBatchCoder().decode(encoded) == batch
