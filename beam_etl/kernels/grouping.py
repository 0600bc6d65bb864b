"""Groups and their grand total side by side, so that one shuffle makes both; and how many groups there will be."""

import math
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

IS_TOTAL = "is_total"
"""False for the rows of a group, true for those of the grand total, whose group columns are null."""


def with_totals(
    batch: pa.RecordBatch, by: Sequence[str], merge: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> pa.RecordBatch:
    """Partial results, and the same rows once more without their group, merged.

    Args:
      batch: partial results with the columns `by`.
      by: group columns; null in the rows that are added.
      merge: a merge kernel whose keys include `by` and IS_TOTAL.

    Returns:
      The rows of `batch` with IS_TOTAL false, then the total's rows with IS_TOTAL true.
    """
    total = batch
    for name in by:
        index = batch.schema.get_field_index(name)
        total = total.set_column(index, name, pa.nulls(batch.num_rows, batch.schema.field(name).type))
    merged = merge(_marked(total, is_total=True))
    return pa.concat_batches([_marked(batch, is_total=False), merged])


def only(batch: pa.RecordBatch, *, total: bool) -> pa.RecordBatch:
    """The rows of the groups, or those of the grand total, without IS_TOTAL."""
    mask = batch.column(IS_TOTAL)
    return batch.filter(mask if total else pc.invert(mask)).drop_columns([IS_TOTAL])


def estimate_groups(half: int, whole: int, scale: float) -> int:
    """Distinct groups of a whole input, from a sample and half of it, by Heaps' law: D(n) grows as n^b, 0 <= b <= 1.

    Args:
      half: distinct groups in half of the sample.
      whole: in all of it.
      scale: the input's size in samples.

    Returns:
      The estimate, never less than `whole`.

    Source: Heaps, Information Retrieval: Computational and Theoretical Aspects (1978), section 7.5.
    """
    if half == 0 or whole <= half or scale <= 1:
        return whole
    exponent = min(1.0, math.log2(whole / half))
    return round(whole * scale**exponent)


def _marked(batch: pa.RecordBatch, *, is_total: bool) -> pa.RecordBatch:
    return batch.append_column(
        pa.field(IS_TOTAL, pa.bool_()), pa.array([is_total] * batch.num_rows, pa.bool_())
    )
