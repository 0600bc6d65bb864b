"""A split's clock, against a slow one of plain Python."""

import random

import numpy as np
import pytest

from beam_etl.kernels.split_clock import MAX_GAP, UNKNOWN, SplitClock

SECOND = 1_000_000


def slow(reads: list[tuple[str, int]], lanes: list[str], disorder: int) -> list[int]:
    """The clock before each row: the smallest of the lanes' largest times, never back."""
    largest = dict.fromkeys(lanes, UNKNOWN)
    clock, before = UNKNOWN, []
    for lane, time in reads:
        before.append(clock)
        largest[lane] = max(largest[lane], time - disorder)
        clock = max(clock, min(largest.values()))
    return before


@pytest.mark.parametrize("lanes", [["a"], ["a", "b", "c"]], ids=len)
@pytest.mark.parametrize("rows", [1, 7, 100], ids=str)
def test_the_clock_does_not_depend_on_how_rows_are_cut(lanes: list[str], rows: int) -> None:
    chosen = random.Random(rows)
    reads = [
        (lane, chosen.randrange(10**9))
        for _ in range(30)
        for lane in [chosen.choice(lanes)]
        for _ in range(9)
    ]
    clock = SplitClock(5 * SECOND, None)
    clock.meet(lanes)
    before: list[int] = []
    place = 0
    while place < len(reads):
        stop = place
        while stop < len(reads) and stop < place + rows and reads[stop][0] == reads[place][0]:
            stop += 1
        times = np.array([time for _, time in reads[place:stop]])
        before += clock.read(reads[place][0], times).tolist()
        clock = SplitClock(5 * SECOND, None, clock.to_json())
        place = stop
    assert before == slow(reads, lanes, 5 * SECOND)


def test_a_lane_is_idle_only_while_it_is_looked_at() -> None:
    clock = SplitClock(0, 60 * SECOND)
    clock.meet(["a", "b"])
    clock.read("a", np.array([1000]))
    clock.look({"b"}, 0)
    clock.look({"b"}, 3600 * SECOND)  # nobody looked for an hour
    assert clock.clock == UNKNOWN
    for now in range(3600, 3659):
        clock.look({"b"}, now * SECOND)
    assert clock.clock == UNKNOWN
    clock.look({"b"}, 3660 * SECOND)
    assert clock.clock == 1000


@pytest.mark.parametrize("restored", [False, True], ids=["same", "restored"])
def test_time_in_which_a_lane_had_rows_is_not_idle(restored: bool) -> None:
    """The lane is at its end at each look, and has a row before it, nine seconds apart."""
    clock = SplitClock(0, 5 * SECOND)
    clock.meet(["a"])
    for now in range(0, 90, 9):
        clock.read("a", np.array([now]))
        clock.look({"a"}, now * SECOND)
        assert clock.clock == now
        if restored:
            clock = SplitClock(0, 5 * SECOND, clock.to_json())
    clock.look({"a"}, 90 * SECOND)
    assert clock.clock == 90 * SECOND


def test_a_lane_that_has_rows_again_begins_with_the_clock_of_its_split() -> None:
    clock = SplitClock(0, 60 * SECOND)
    clock.meet(["a", "b"])
    for now in range(61):
        clock.look({"b"}, now * SECOND)
    clock.read("a", np.array([5000]))
    assert clock.clock == 5000
    assert clock.read("b", np.array([10, 6000])).tolist() == [5000, 5000]
    assert clock.clock == 5000  # a holds it
    clock.read("a", np.array([7000]))
    assert clock.clock == 6000


def test_a_split_that_is_idle_follows_the_time_of_day() -> None:
    clock = SplitClock(10 * SECOND, 60 * SECOND)
    clock.meet(["a"])
    for now in range(1000, 1060):
        clock.look({"a"}, now * SECOND)
    assert clock.clock == UNKNOWN
    clock.look({"a"}, 1060 * SECOND)
    assert clock.clock == 1050 * SECOND


def test_new_lanes_do_not_send_the_clock_back() -> None:
    clock = SplitClock(0, None)
    clock.meet(["a"])
    clock.read("a", np.array([100]))
    clock.meet(["a", "b"])
    assert clock.read("a", np.array([200, 300])).tolist() == [100, 100]
    assert clock.read("b", np.array([50, 250, 260])).tolist() == [100, 100, 250]


def test_never_means_that_no_lane_is_idle() -> None:
    clock = SplitClock(0, None)
    clock.meet(["a", "b"])
    clock.read("a", np.array([100]))
    for now in range(0, 100 * MAX_GAP, MAX_GAP):
        clock.look({"b"}, now)
    assert clock.clock == UNKNOWN
