"""Partition numbers: which partition a row belongs to, and how many partitions there should be."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.hashing import hash_rows

Numbers = npt.NDArray[np.uint32]

GATHER_BYTES = 64 << 20
"""Bytes that a bundle gathers before it cuts them into slices. A worker thread holds about three times as much."""

SLICE_BYTES = 4 << 20
"""A slice is at most this large, encoded: engines take elements of some tens of MB, and stream none."""

SMALL_SLICE_BYTES = 64 << 10
"""Below this, the fixed cost of an element (some 30 us and 400 bytes) outweighs moving the bytes twice."""

UNKNOWN_PARTITIONS = 64
"""Where nobody knows how much will cross: up to 2 GiB under a limit of 32 MiB a key."""

ESTIMATE_MARGIN = 4
"""Partitions aim at this part of an engine's limit, so that an estimate so many times too low still fits."""


def hash_partition(batch: pa.RecordBatch, by: Sequence[str], partitions: int) -> Numbers:
    """Partition number of each row, from a stable hash of its key columns.

    Args:
      batch: any batch that has the columns `by`.
      by: key columns. Rows that are equal in all of them get the same number, in any process, on any platform. With no
        column at all, every row belongs to partition 0.
      partitions: how many, at least 1.

    Returns:
      uint32[rows], each below `partitions`. Nulls are equal to each other, and so are NaNs.

    Raises:
      KeyError: a key column is missing. The message names it and the columns there are.
      TypeError: a key column's type has no stable hash.

    Source: docs/design.md, "Stable hashes".
    """
    missing = [name for name in by if name not in batch.schema.names]
    if missing:
        raise KeyError(
            f"no column {missing[0]!r} to partition by; the batch has {', '.join(batch.schema.names)}"
        )
    if not by or partitions == 1:
        return np.zeros(batch.num_rows, np.uint32)
    return (hash_rows([batch.column(name) for name in by]) % np.uint64(partitions)).astype(np.uint32)


def split_by_number(batch: pa.RecordBatch, numbers: Numbers) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of each partition as one contiguous batch, partitions ascending, rows in their order.

    Args:
      batch: rows to split.
      numbers: uint32[rows], the partition of each row.
    """
    if batch.num_rows == 0:
        return
    if numbers[0] == numbers[-1] and (numbers == numbers[0]).all():
        yield int(numbers[0]), batch
        return
    narrow = numbers.astype(np.uint16) if numbers.max() < 1 << 16 else numbers  # 16 bits sort by radix
    order = np.argsort(narrow, kind="stable")
    ordered = batch.take(pa.array(order))
    present, starts = np.unique(numbers[order], return_index=True)
    ends = np.append(starts[1:], batch.num_rows)
    for number, start, end in zip(present.tolist(), starts.tolist(), ends.tolist(), strict=True):
        yield number, ordered.slice(start, end - start)


@dataclass(frozen=True)
class PartitionPlan:
    """How a shuffle of an expected size is laid out."""

    partitions: int
    groups: int
    """Partitions are first sent as this many groups; 1 means one hop."""
    salts: int
    """Keys that a group is spread over in the first hop, so that none exceeds what the engine holds."""

    @property
    def hops(self) -> int:
        """1, or 2 where slices of one hop would be too small."""
        return 1 if self.groups == 1 else 2

    def in_one_hop(self) -> "PartitionPlan":
        """The same partitions, however small the slices."""
        return PartitionPlan(self.partitions, groups=1, salts=1)

    @property
    def group_size(self) -> int:
        """Neighbouring partitions that travel together in the first hop."""
        return math.ceil(self.partitions / self.groups)


def group_keys(numbers: Numbers, plan: PartitionPlan) -> Numbers:
    """Keys of the first of two hops for rows that travel together: uint32[rows], the group and a salt.

    All rows share one salt, taken from all of them: so a slice is a whole group's share, and stays large.
    """
    salt = np.uint32(int(numbers.sum(dtype=np.uint64)) % plan.salts)
    return (numbers // np.uint32(plan.group_size)) * np.uint32(plan.salts) + salt


def plan_partitions(
    expected_bytes: int | None, key_limit: int, partitions: int | None = None
) -> PartitionPlan:
    """Partitions and hops of a shuffle.

    Args:
      expected_bytes: bytes that will cross, estimated; None where nobody knows.
      key_limit: bytes that the engine can hold for one key.
      partitions: how many, where the user or the layout of a dataset decides; None computes them.

    Returns:
      Enough partitions that each is a quarter of `key_limit` (UNKNOWN_PARTITIONS where the size is unknown), and two
      hops where a slice of one hop, which is a partition's share of GATHER_BYTES, would be smaller than
      SMALL_SLICE_BYTES. The keys of the first hop stay below a quarter of the limit as well.

    Raises:
      ValueError: partitions or key_limit below 1, or expected_bytes negative.
    """
    if (expected_bytes or 0) < 0 or key_limit < 1 or (partitions is not None and partitions < 1):
        raise ValueError(
            f"needs expected_bytes >= 0, key_limit >= 1 and partitions >= 1, "
            f"got {expected_bytes}, {key_limit}, {partitions}"
        )
    if expected_bytes is None:
        return PartitionPlan(partitions or UNKNOWN_PARTITIONS, groups=1, salts=1)
    keys = max(1, math.ceil(expected_bytes * ESTIMATE_MARGIN / key_limit))
    count = partitions or keys
    if expected_bytes < GATHER_BYTES or GATHER_BYTES / count >= SMALL_SLICE_BYTES:
        return PartitionPlan(count, groups=1, salts=1)
    groups = math.isqrt(count - 1) + 1
    return PartitionPlan(count, groups, salts=math.ceil(keys / groups))
