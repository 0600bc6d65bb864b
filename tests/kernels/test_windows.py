import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.transforms.window import FixedWindows, SlidingWindows, WindowFn
from apache_beam.utils.timestamp import Duration, Timestamp

from beam_etl import schema
from beam_etl.kernels import windows
from beam_etl.kernels.disorder import disorder_counts, disorder_note
from beam_etl.kernels.window_text import parse_duration, parse_firing, parse_window
from beam_etl.kernels.windows import Firing, WindowSpec, arrivals, cut_by_window, too_late
from tests.streams import Arrival, documents, with_clocks

SPECS = {
    "fixed": "fixed:10m",
    "sliding": "sliding:1h:10m",
    "size no multiple of the period": "sliding:25m:10m",
    "a millisecond": "fixed:1ms",
    "a year": "fixed:365d",
}
OFFSETS = {"no offset": "0s", "offset": "3m7s", "an offset of several periods": "47h"}


@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS.keys())
@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS.keys())
def test_rows_are_in_the_windows_that_beam_assigns(text: str, offset: str) -> None:
    spec = parse_window(text, offset=parse_duration(offset))
    random = np.random.default_rng(7)
    times = [0, -1, 1, *random.integers(-(10**15), 4 * 10**15, 200).tolist()]
    times += [time - time % spec.period + spec.offset for time in times]
    found = Counter(
        (row["time"], *spec.bounds(number))
        for cut in cut_by_window(documents(times), spec)
        for row in cut.rows.to_pylist()
        for number in cut.open_windows()
    )
    theirs = _beam(spec)
    expected = Counter(
        (documents([time]).column(schema.TIME)[0].as_py(), window.start.micros, window.end.micros)
        for time in times
        for window in theirs.assign(WindowFn.AssignContext(Timestamp(micros=time)))
    )
    assert found == expected


ARRIVALS_IN_NUMBERS = pa.schema([pa.field(name, pa.int64()) for name in schema.ARRIVALS.names])


def _beam(spec: WindowSpec) -> WindowFn:
    size, offset = Duration(micros=spec.size), Timestamp(micros=spec.offset)
    if spec.kind == windows.FIXED:
        return FixedWindows(size, offset)
    return SlidingWindows(size, Duration(micros=spec.period), offset)


@pytest.mark.parametrize("lateness", ["0s", "7m"])
@pytest.mark.parametrize("text", ["fixed:10m", "sliding:25m:10m"])
def test_a_window_takes_rows_until_its_end_and_the_lateness_are_at_the_clock(
    text: str, lateness: str
) -> None:
    spec = parse_window(text, allowed_lateness=parse_duration(lateness))
    random = np.random.default_rng(3)
    times = random.integers(0, 4 * 3600, 500) * 10**6
    clocks = times + random.integers(-3600, 3600, 500) * 10**6
    clocks[:3] = spec.bounds(2)[1] + spec.allowed_lateness + np.array([-1, 0, 1])
    times[:3] = spec.bounds(2)[1] - 1
    batch = documents(times.tolist()).append_column(schema.CLOCK, pa.array(clocks, schema.UTC_TIME))
    opened, closed = set(), set()
    told: Counter[tuple[str, tuple[int, int]]] = Counter()
    for cut in cut_by_window(batch, spec):
        ids = cut.rows.column(schema.ID).to_pylist()
        opened |= {(row, spec.bounds(number)) for row in ids for number in cut.open_windows()}
        closed |= {(row, spec.bounds(number)) for row in ids for number in cut.closed_windows()}
        for row in arrivals(cut, spec).cast(ARRIVALS_IN_NUMBERS).to_pylist():
            bounds = row["window_start"], row["window_end"]
            told.update({(kind, bounds): row[kind] for kind in ("on_time", "late", "too_late")})
    expected: dict[bool, set[tuple[str, tuple[int, int]]]] = {True: set(), False: set()}
    kinds: Counter[tuple[str, tuple[int, int]]] = Counter()
    for row, (time, clock) in enumerate(zip(times.tolist(), clocks.tolist(), strict=True)):
        for number in range(-10, 100):
            start, end = spec.bounds(number)
            if start <= time < end:
                taken = end + spec.allowed_lateness > clock
                expected[taken].add((f"d{row}", (start, end)))
                kinds["too_late" if not taken else "late" if end <= clock else "on_time", (start, end)] += 1
    assert (opened, closed) == (expected[True], expected[False])
    assert +told == kinds
    assert {kind for kind, _ in kinds} == {"on_time", "too_late", *(["late"] if lateness != "0s" else [])}


def test_a_null_clock_closes_nothing_and_an_absurd_one_everything() -> None:
    spec = parse_window("fixed:10m", allowed_lateness=windows.MAX_SIZE)
    clocks = pa.array([None, np.iinfo(np.int64).max, np.iinfo(np.int64).min], pa.int64()).cast(
        schema.UTC_TIME
    )
    batch = documents([windows.FIRST_TIME, 0, windows.FIRST_TIME]).append_column(schema.CLOCK, clocks)
    found = {
        row: bool(cut.open_windows())
        for cut in cut_by_window(batch, spec)
        for row in cut.rows.column(schema.ID).to_pylist()
    }
    assert found == {"d0": True, "d1": False, "d2": True}


def test_rows_keep_their_order_in_a_cut_and_one_window_is_no_copy() -> None:
    spec = parse_window("fixed:10s")
    batch = documents([3, 1, 11_000_000, 2, 12_000_000, 0])
    cuts = [cut.rows.column(schema.ID).to_pylist() for cut in cut_by_window(batch, spec)]
    assert cuts == [["d0", "d1", "d3", "d5"], ["d2", "d4"]]
    (whole,) = cut_by_window(documents([1, 3, 2]), spec)
    assert whole.rows.column(schema.ID).to_pylist() == ["d0", "d1", "d2"]
    assert not list(cut_by_window(documents([]), spec))


def test_lateness_does_not_depend_on_how_rows_are_batched() -> None:
    spec = parse_window("sliding:20m:5m", allowed_lateness=parse_duration("1m"))
    times = (np.random.default_rng(5).normal(0, 1800, 300).cumsum() * 10**6).astype(int).tolist()

    def judged(rows: int) -> set[tuple[str, int, int]]:
        whole = documents(times)
        arrivals = [Arrival(whole.slice(start, rows)) for start in range(0, len(times), rows)]
        return {
            (row, cut.open, cut.last)
            for event in with_clocks(arrivals, max_disorder=600 * 10**6)
            if event.batch is not None
            for cut in cut_by_window(event.batch, spec)
            for row in cut.rows.column(schema.ID).to_pylist()
        }

    assert judged(1) == judged(7) == judged(300)


def test_a_reject_tells_the_window_s_end_and_how_late_it_is() -> None:
    spec = parse_window("sliding:10m:5m")
    clock = pa.array([11 * 60 * 10**6 + 250_000], schema.UTC_TIME)
    (cut,) = cut_by_window(documents([4 * 60 * 10**6]).append_column(schema.CLOCK, clock), spec)
    assert [too_late(cut, number, spec) for number in cut.closed_windows()] == [
        {0: "too late for the window that ended at 1970-01-01T00:05:00Z, by 360.250 s"},
        {0: "too late for the window that ended at 1970-01-01T00:10:00Z, by 60.250 s"},
    ]


def test_times_that_no_document_has_are_told() -> None:
    seconds_as_milliseconds = 1_767_225_600 * 10**9
    times = documents([0, None, seconds_as_milliseconds, windows.LAST_TIME - 1]).column(schema.TIME)
    assert windows.usable_times(times).tolist() == [True, False, False, True]
    assert windows.unusable_times(times) == {
        1: "null time: no window has it",
        2: "no time in 1767225600000000000 us: outside the years 1000 to 8999. Does --time_unit fit the data?",
    }


DURATIONS = {"500ms": 500_000, "90s": 90 * 10**6, "1h30m": 5400 * 10**6, "1.5d": 129_600 * 10**6, "0s": 0}


@pytest.mark.parametrize(("text", "expected"), DURATIONS.items(), ids=DURATIONS.keys())
def test_durations_are_read(text: str, expected: int) -> None:
    assert parse_duration(text) == expected
    assert parse_duration(windows.format_duration(expected)) == expected


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "no unit": (lambda: parse_window("fixed:10"), "'10' is no duration"),
    "no size": (lambda: parse_window("fixed"), "write fixed:10m"),
    "no period": (lambda: parse_window("sliding:1h"), "write fixed:10m, or sliding"),
    "sessions": (lambda: parse_window("session:10m"), "each row has windows of its own.*sliding:SIZE:PERIOD"),
    "gaps": (
        lambda: parse_window("sliding:10m:1h"),
        "at least as long as its period.*size 10m and period 1h",
    ),
    "no length": (lambda: parse_window("fixed:0s"), "size 0s"),
    "below a millisecond": (lambda: parse_window("fixed:1500us"), "whole ones"),
    "too many windows": (lambda: parse_window("sliding:1d:1s"), "at most 1000 periods"),
    "a firing of nothing": (lambda: parse_firing("0"), "at least 1"),
    "both firings": (lambda: Firing(every=1, count=1), "after a time or after a count"),
    "lateness": (lambda: WindowSpec(size=1000, period=1000, allowed_lateness=-1000), "lateness"),
    "accumulation": (lambda: WindowSpec(size=1000, period=1000, accumulation="retracting"), "retracting"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_told_with_what_to_write(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_disorder_is_counted_from_the_largest_time_before_each_row() -> None:
    times = [0, 10, 9, 6, 100, 40, 100, 101]
    (event,) = with_clocks([Arrival(documents([time * 10**6 for time in times]))], max_disorder=5 * 10**6)
    assert event.batch is not None
    counts = disorder_counts(event.batch, 5 * 10**6)
    largest = [max(times[:row], default=0) for row in range(len(times))]
    behind = [most - time for most, time in zip(largest, times, strict=True) if most > time]
    expected = Counter(f"rows_behind_{max(0, math.ceil(math.log2(seconds)))}" for seconds in behind)
    assert counts == {**expected, "rows_behind_in_order": len(times) - len(behind)}
    assert disorder_note(counts, "5s") == (
        "disorder: 3 of 8 rows came after a later one, 99.0% of all at most 64 s, 99.9% of all at most 64 s, the last "
        "at most 64 s (--max_disorder=5s)"
    )
