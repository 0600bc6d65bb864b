"""Remembered rows are found again by key and window; what bytes they take."""

import random

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels.remembering import ALWAYS, ENDED, Remembered, pack, unpack

COLUMNS = pa.schema([pa.field("key", pa.uint64(), nullable=False), pa.field("name", pa.string())])
Row = tuple[int, str]


def batch(rows: list[Row]) -> pa.RecordBatch:
    keys, names = [key for key, _ in rows], [name for _, name in rows]
    return pa.RecordBatch.from_arrays(
        [pa.array(keys, pa.uint64()), pa.array(names, pa.string())], schema=COLUMNS
    )


def found(held: Remembered, keys: list[int], after: int, before: int) -> list[tuple[int, int, str]]:
    rows = held.find(np.array(keys, np.uint64), after, before)
    return sorted((row[ENDED], row["key"], row["name"]) for row in rows.to_pylist())


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_is_what_a_list_of_all_rows_has(seed: int) -> None:
    source = random.Random(seed)
    held, everything = Remembered("key", COLUMNS), []
    for ended in range(10, 400, 10):
        after = ended - source.choice([60, 60, 90])
        wanted = [source.randrange(50) for _ in range(source.randrange(9))]
        expected = sorted(
            (when, key, name) for when, key, name in everything if key in wanted and after < when < ended
        )
        assert found(held, wanted, after, ended) == expected
        rows = [(source.randrange(50), f"{ended}-{number}") for number in range(source.randrange(40))]
        held.add(ended, batch(rows), ended - 90)
        everything += [(ended, *row) for row in rows]
        assert held.rows <= 3 * sum(when > ended - 90 for when, *_ in everything)


def test_rows_of_no_window_are_found_for_ever_and_windows_to_come_are_not() -> None:
    held = Remembered("key", COLUMNS)
    held.load(
        [
            (ALWAYS, batch([(1, "kept"), (2, "other")])),
            (10, batch([(1, "ten")])),
            (30, batch([(1, "thirty")])),
        ]
    )
    assert found(held, [1, 3], 0, 30) == [(10, 1, "ten"), (ALWAYS, 1, "kept")]
    assert found(held, [1], 10, 30) == [(ALWAYS, 1, "kept")]
    held.add(40, batch([(1, "forty")] * 4), 35)
    assert found(held, [1], 35, 50) == [*[(40, 1, "forty")] * 4, (ALWAYS, 1, "kept")]
    assert held.nbytes > 0


def test_nothing_held_and_nothing_asked() -> None:
    held = Remembered("key", COLUMNS)
    held.load([])
    assert found(held, [1], 0, 9) == []
    held.add(5, batch([(1, "a")]), 0)
    assert found(held, [], 0, 9) == []


@pytest.mark.parametrize("ended", [0, -(10**12), 2**62], ids=str)
def test_packed_rows_come_back(ended: int) -> None:
    rows = batch([(2**64 - 1, "ä"), (0, "")])
    when, back = unpack(pack(ended, rows), COLUMNS)
    assert (when, back) == (ended, rows)
