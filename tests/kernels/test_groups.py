"""The hash table of a document: first occurrences as a dict tells them, whoever chose the keys."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.groups import SLOTS, begin_run, first_place, make_groups
from beam_etl.kernels.line_signals import line_hash
from beam_etl.kernels.signals import signals
from beam_etl.kernels.unicode_table import CODE_POINTS, POINT_BITS
from beam_etl.kernels.word_hash import MULTIPLIER

Keys = npt.NDArray[np.uint64]

FLOOD = 5000
"""Keys: each behind all others would be 12.5 million looks."""

SECRET = np.array([0xD6E8FEB86659FD93], np.uint64)
"""One as a process might have."""


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=4))
def test_each_key_is_told_where_it_occurred_first_in_its_run(runs: list[list[int]]) -> None:
    groups = make_groups(30)
    for run in runs:
        size, first = begin_run(groups, len(run)), dict[int, int]()
        found = [first_place(groups, size, np.array(run, np.uint64), place) for place in range(len(run))]
        assert found == [first.setdefault(key, place) for place, key in enumerate(run)]


def unmixed(keys: Keys) -> Keys:
    """What word_hash.mix makes these keys of."""
    shift = np.uint64(29)
    keys = keys ^ keys >> shift ^ keys >> shift * np.uint64(2)
    keys = keys * np.uint64(pow(int(MULTIPLIER), -1, 1 << 64))
    return keys ^ keys >> np.uint64(32)


def flooding_lines() -> list[str]:
    """Lines of three characters whose hashes end in 24 zeros: what somebody who knows the hash can write."""
    empty = np.zeros(0, np.uint32)
    start = unmixed(unmixed(np.array([line_hash(empty, 0, 0)], np.uint64)))[0] + np.uint64(3)
    wanted = np.arange(1, 40 * FLOOD, dtype=np.uint64) << np.uint64(24)
    three = unmixed(unmixed(unmixed(wanted))) ^ start
    points = [three >> np.uint64(at * POINT_BITS) & np.uint64((1 << POINT_BITS) - 1) for at in range(3)]
    written = three >> np.uint64(3 * POINT_BITS) == 0
    for point in points:
        written &= (point < CODE_POINTS) & (point >> np.uint64(11) != 0x1B) & (point > 0x20)
    lines = ["".join(map(chr, line)) for line in zip(*(point[written] for point in points), strict=True)]
    return lines[:FLOOD]


def longest_search(keys: Keys) -> int:
    """Slots in a row that are taken, with all keys in the table."""
    groups = make_groups(len(keys))[SLOTS], SECRET
    size = begin_run(groups, len(keys))
    for place in range(len(keys)):
        assert first_place(groups, size, keys, place) == place
    free = np.flatnonzero(groups[SLOTS] == 0)
    return int(np.diff(free).max())


NUMBERS = np.arange(FLOOD, dtype=np.uint64)
FLOODS = {
    "low bits": NUMBERS << np.uint64(40),
    "high bits": NUMBERS,
    "multiples": NUMBERS * MULTIPLIER,
    "fractions": NUMBERS * np.uint64(pow(int(MULTIPLIER), -1, 1 << 64)),
}


@pytest.mark.parametrize("keys", FLOODS.values(), ids=FLOODS)
def test_keys_that_were_chosen_to_meet_do_not(keys: Keys) -> None:
    assert longest_search(keys) < 100


def test_lines_that_were_chosen_to_meet_do_not_and_have_the_same_signals() -> None:
    lines = flooding_lines()
    points = [np.array([*map(ord, line)], np.uint32) for line in lines]
    keys = np.array([line_hash(line, 0, 3) for line in points], np.uint64)
    assert len(keys) == FLOOD
    assert not (keys & np.uint64((1 << 24) - 1)).any()
    assert longest_search(keys) < 100
    (found,) = signals(pa.array(["\n".join(lines * 2)])).to_pylist()
    assert (found["cut_lines"], found["duplicate_lines"]) == (2 * FLOOD, FLOOD)


def test_each_table_has_a_secret_of_its_own() -> None:
    assert len({int(make_groups(1)[1][0]) for _ in range(3)}) == 3
