"""Rows of partitions as blocks of runs, and the blocks of each partition as pieces of work."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.hot_keys import HOT_SHARE, key_text, keys_at
from beam_etl.kernels.partition import Numbers
from beam_etl.kernels.range_bounds import row_bytes
from beam_etl.kernels.sorting import KEY, TIE, Key, Order, key_rows, sorted_places

BLOCK_BYTES = 256 << 10
"""What is read at once of a run."""

FOLDER, RUN, BLOCK, ROWS, BYTES, EXAMPLE = "partition", "run", "block", "rows", "bytes", "example"
"""Columns of a description: the partition's folder, the run and the number of the block in it, its rows and bytes, and
what one of its rows is partitioned by, in words."""


class Block(NamedTuple):
    """Where a block is."""

    run: str
    block: int


class Piece(NamedTuple):
    """Blocks of one partition that become a file."""

    folder: str
    number: int
    blocks: pa.RecordBatch
    """Their descriptions."""


def order_of(columns: Sequence[str]) -> Order | None:
    """Rows ascending by these columns, ties by address; None where there is none."""
    return Order(tuple(map(Key, columns))) if columns else None


def describe_blocks(
    rows: pa.RecordBatch,
    numbers: Numbers,
    folders: Sequence[str],
    order: Order | None,
    run: str,
    by: Sequence[str] = (),
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Rows by partition, in order inside, and what is told of their blocks.

    Args:
      rows: of a run, at least one.
      numbers, folders: as of `partition_rows`.
      order: of the rows of a partition; None leaves them as they are.
      run: its name.
      by: columns that rows are partitioned by.

    Returns:
      The rows; and a row a block of about BLOCK_BYTES, in the order of rows: FOLDER, RUN, BLOCK, ROWS, BYTES, EXAMPLE,
      and the keys of its first row, as `block_keys` gives them.
    """
    places = np.arange(rows.num_rows)
    if order is not None:
        places = sorted_places(key_rows(rows, order), order)
    places = places[np.argsort(numbers[places], kind="stable")]
    rows, numbers = rows.take(pa.array(places)), numbers[places]
    sizes = row_bytes(rows)
    before = np.cumsum(sizes) - sizes
    first_of = np.searchsorted(numbers, numbers)
    block = (before - before[first_of]) // BLOCK_BYTES
    begins = np.flatnonzero((np.diff(numbers, prepend=-1) != 0) | (np.diff(block, prepend=-1) != 0))
    counts = np.diff(np.append(begins, rows.num_rows))
    columns = {
        FOLDER: pa.array([folders[number] for number in numbers[begins].tolist()], pa.string()),
        RUN: pa.repeat(pa.scalar(run), len(begins)),
        BLOCK: pa.array(np.arange(len(begins)), pa.int32()),
        ROWS: pa.array(counts, pa.int64()),
        BYTES: pa.array(np.add.reduceat(sizes, begins), pa.int64()),
        EXAMPLE: pa.array([key_text(by, key) for key in keys_at(rows, by, begins + counts // 2)], pa.string())
        if by
        else pa.nulls(len(begins), pa.string()),
    }
    firsts = rows.take(pa.array(begins))
    keys = key_rows(firsts, order) if order is not None else _ties(firsts)
    return rows, pa.RecordBatch.from_arrays(
        [*columns.values(), *keys.columns], [*columns, *keys.schema.names]
    )


def _ties(rows: pa.RecordBatch) -> pa.RecordBatch:
    has = schema.ADDRESS in rows.schema.names
    ties = rows.column(schema.ADDRESS) if has else pa.array(np.zeros(rows.num_rows), pa.uint64())
    return pa.RecordBatch.from_arrays([ties], [TIE])


def block_keys(blocks: pa.RecordBatch) -> pa.RecordBatch:
    """The keys of the first row of each block, as `key_rows` gives them."""
    return blocks.select(_key_names(blocks))


def _key_names(blocks: pa.RecordBatch) -> list[str]:
    return [name for name in blocks.schema.names if name.startswith(KEY)]


def cut_pieces(
    blocks: pa.RecordBatch, piece_bytes: int, most_bytes: int | None
) -> tuple[Iterator[Piece], int, bool]:
    """The blocks of each partition, in pieces of about equal bytes. Ordered ones hardly overlap.

    Args:
      blocks: of some partitions, all of theirs, in any order.
      piece_bytes: a partition of more is cut.
      most_bytes: one of more is cut into pieces of at most so many, and counts as split.

    Returns:
      Pieces; how many partitions; whether one is split.
    """
    ordered = blocks.sort_by([(name, "ascending") for name in (FOLDER, *_key_names(blocks), RUN, BLOCK)])
    starts = np.flatnonzero(_changes(ordered.column(FOLDER)))
    ends = np.append(starts[1:], ordered.num_rows)
    sizes = ordered.column(BYTES).to_numpy()
    totals = np.add.reduceat(sizes, starts)
    is_split = most_bytes is not None and bool((totals > most_bytes).any())

    def pieces() -> Iterator[Piece]:
        for start, end, total in zip(starts.tolist(), ends.tolist(), totals.tolist(), strict=True):
            limit = (
                min(piece_bytes, most_bytes) if most_bytes is not None and total > most_bytes else piece_bytes
            )
            count = -(-total // limit)
            before = np.cumsum(sizes[start:end]) - sizes[start:end]
            edges = np.unique(np.searchsorted(before, np.arange(count) * (total / count)))
            edges = edges[edges < len(before)]
            for number, (begin, stop) in enumerate(
                zip(edges, np.append(edges[1:], end - start), strict=True)
            ):
                part = ordered.slice(start + int(begin), int(stop - begin))
                yield Piece(part.column(FOLDER)[0].as_py(), number, part)

    return pieces(), len(starts), is_split


def partition_totals(blocks: pa.RecordBatch) -> list[tuple[str, int, int]]:
    """Folder, rows and bytes of each partition of some blocks."""
    grouped = pa.table(blocks).group_by(FOLDER, use_threads=False).aggregate([(ROWS, "sum"), (BYTES, "sum")])
    names = (FOLDER, f"{ROWS}_sum", f"{BYTES}_sum")
    return list(zip(*(grouped[name].to_pylist() for name in names), strict=True))


def hot_key(blocks: pa.RecordBatch, folder: str, measure: str) -> tuple[str, int]:
    """The key of most of a partition, by ROWS or BYTES, and about how many it has; its folder, where none has much."""
    mine = pa.table(blocks).filter(pc.equal(blocks.column(FOLDER), folder))
    total = pc.sum(mine[measure]).as_py()
    shares = mine.group_by(EXAMPLE, use_threads=False).aggregate([(measure, "sum")])
    hottest = shares.sort_by([(f"{measure}_sum", "descending")]).slice(0, 1).to_pylist()[0]
    key, share = hottest[EXAMPLE], hottest[f"{measure}_sum"]
    return (key, share) if key is not None and share >= HOT_SHARE * total else (folder, total)


def _changes(values: pa.Array) -> np.ndarray:
    codes = values.dictionary_encode().indices.to_numpy()
    return np.diff(codes, prepend=-1) != 0
