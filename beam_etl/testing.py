"""Checks that a kernel keeps the promises every kernel makes. For our kernels, and for yours."""

import os
import subprocess
import sys
from collections.abc import Iterable

import pyarrow as pa
from apache_beam.internal import pickler

from beam_etl.transforms.batches import Kernel, RecordBatchCoder, merge_batches, run_kernel
from beam_etl.transforms.gathering import Merge

_CHILD = """
import sys
from apache_beam.internal import pickler
from beam_etl.testing import run_once
from beam_etl.transforms.batches import RecordBatchCoder
request = pickler.loads(sys.stdin.buffer.read())
kernel, encoded = request
rows = run_once(kernel, RecordBatchCoder().decode(encoded))
sys.stdout.buffer.write(b"" if rows is None else RecordBatchCoder().encode(rows))
"""

Rows = list[tuple[object, ...]]


def run_once(kernel: Kernel, batch: pa.RecordBatch) -> pa.RecordBatch | None:
    """All rows that `kernel` makes of `batch`, as one batch; None for none."""
    made = list(run_kernel(kernel, batch))
    return merge_batches(made) if made else None


def check_kernel(kernel: Kernel, batch: pa.RecordBatch, *, row_wise: bool = True) -> None:
    """Fails unless `kernel` gives the same rows, in columns of the same types, whatever surrounds it.

    The same rows twice; for a kernel that treats each row by itself, when the batch is cut into smaller ones; and in
    another process with another hash seed (so it pickles, too). NaN is equal to NaN.

    Args:
      kernel: as MapBatches takes it.
      batch: some rows, best with nulls, empty values and duplicates.
      row_wise: false for a kernel whose rows depend on the whole batch, such as a partial aggregation.

    Raises:
      AssertionError: the rows or columns differ; the message says in which respect.
    """
    first = run_once(kernel, batch)
    _same(first, run_once(kernel, batch), "a second call")
    if row_wise:
        for rows in (1, 7, max(1, batch.num_rows // 2)):
            what = f"batches of {rows} rows"
            parts = [batch.slice(start, rows) for start in range(0, batch.num_rows, rows)]
            made = [out for part in parts if (out := run_once(kernel, part)) is not None]
            for out in made:
                _same_columns(first, out, what)
            _same(first, merge_batches(made) if made else None, what)
    _same(first, _run_elsewhere(kernel, batch), "another process with another hash seed")


def check_merge(merge: Merge, batches: Iterable[pa.RecordBatch]) -> None:
    """Fails unless `merge` is associative and commutative over these batches, so that Aggregate may use it.

    Args:
      merge: a merge kernel.
      batches: partial results of one schema, three or more, with keys in common.

    Raises:
      AssertionError: the rows depend on the order or the grouping, or the schema changes.
    """
    parts = [batch for batch in batches if batch.num_rows]
    if len(parts) < 3:
        raise ValueError(f"check_merge needs at least three batches with rows, got {len(parts)}")
    at_once = merge(merge_batches(parts))
    _same_columns(merge_batches(parts[:1]), at_once, "merge")
    _same(at_once, merge(merge_batches(parts[::-1])), "the opposite order")
    _same(at_once, merge(at_once), "merging what is merged")
    left = right = merge(parts[0])
    for part in parts[1:]:
        left = merge(merge_batches([left, part]))
        right = merge(merge_batches([merge(part), right]))
    _same(at_once, left, "one after the other")
    _same(at_once, right, "one after the other, each merged before")


def sorted_rows(batch: pa.RecordBatch | None) -> Rows:
    """Rows as tuples in a fixed order, whatever the order in the batch; for comparing."""
    if batch is None:
        return []
    rows = [tuple(row.values()) for row in batch.to_pylist()]
    return sorted(rows, key=repr)


def _same(expected: pa.RecordBatch | None, actual: pa.RecordBatch | None, what: str) -> None:
    _same_columns(expected, actual, what)
    rows, others = (
        [repr(row) for row in sorted_rows(batch)] for batch in (expected, actual)
    )  # NaN is not NaN
    assert rows == others, f"{what} gives other rows"


def _same_columns(expected: pa.RecordBatch | None, actual: pa.RecordBatch | None, what: str) -> None:
    if expected is not None and actual is not None:
        here, there = (dict(zip(b.schema.names, b.schema.types, strict=True)) for b in (expected, actual))
        assert expected.schema.equals(actual.schema), f"{what} gives other columns: {here} and {there}"


def _run_elsewhere(kernel: Kernel, batch: pa.RecordBatch) -> pa.RecordBatch | None:
    coder = RecordBatchCoder()
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _CHILD],
        input=pickler.dumps((kernel, coder.encode(batch)), enable_trace=False),
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"the kernel failed in another process: {done.stderr.decode()[-2000:]}"
    return coder.decode(done.stdout) if done.stdout else None
