"""Sorted runs merged: whole pieces of them at a time, by what is known of where their blocks begin."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from beam_etl.kernels.sorting import Order, key_rows, range_numbers, sorted_places


def merge_blocks(
    firsts: pa.RecordBatch, load: Callable[[int], pa.RecordBatch], order: Order, memory_bytes: int
) -> Iterator[pa.RecordBatch]:
    """The rows of all blocks in order, each block loaded once.

    Blocks are loaded by where they begin. What lies before the next one is complete, so it is sorted and given out as
    soon as more than `memory_bytes` wait. A row is never handled by itself.

    Args:
      firsts: `key_rows` of each block's first row, or of one before it. All have a tie.
      load: the rows of the block at a place of `firsts`, in any order, none before its first.
      order: of rows.
      memory_bytes: rows that wait before they are sorted. Held are about three times as many, and a block of each run.

    Returns:
      Batches of any size.
    """
    turns = sorted_places(firsts, order)
    waiting: list[pa.RecordBatch] = []
    size = left = 0
    for turn, place in enumerate(turns.tolist()):
        block = load(place)
        if block.num_rows:
            waiting.append(block)
            size += block.nbytes
        if turn + 1 < len(turns) and size > max(memory_bytes, 2 * left):
            next_first = firsts.slice(int(turns[turn + 1]), 1)
            done, rest = _cut(waiting, next_first, order)
            waiting, size = [rest], rest.nbytes
            left = size
            if done.num_rows:
                yield done
                del done
    if waiting:
        rows = pa.concat_batches(waiting)
        waiting.clear()
        yield rows.take(pa.array(sorted_places(key_rows(rows, order), order)))


def _cut(
    waiting: list[pa.RecordBatch], first: pa.RecordBatch, order: Order
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The rows before `first` in order, and the others."""
    rows = pa.concat_batches(waiting)
    waiting.clear()
    keys = key_rows(rows, order)
    before = range_numbers(keys, first, order) == 0
    places = sorted_places(keys, order)
    is_done = before[places]
    return rows.take(pa.array(places[is_done])), rows.take(pa.array(np.flatnonzero(~before)))
