"""How far rows of a stream were behind the largest time before them: what `--max_disorder` is chosen by."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.windows import SECOND, as_microseconds

BEHIND = "rows_behind_"
"""Before the number of a counter: rows that were at most 2^number seconds behind, and more than half of that; of 0, at
most one second; of IN_ORDER, not at all."""

IN_ORDER = "in_order"


def disorder_counts(batch: pa.RecordBatch, max_disorder: int) -> dict[str, int]:
    """Rows by how far they are behind the largest time of their split before them.

    Args:
      batch: rows with a `time` and schema.CLOCK. Rows with a null clock are the first of their split: in order.
      max_disorder: microseconds that the clock is behind that largest time.

    Returns:
      Counts by the names of counters: BEHIND and IN_ORDER or a power of two.
    """
    clock = batch.column(schema.CLOCK)
    first = clock.is_null().to_numpy(zero_copy_only=False)
    behind = as_microseconds(clock, 0) + max_disorder - as_microseconds(batch.column(schema.TIME), 0)
    late = ~first & (behind > 0)
    powers = np.ceil(np.log2(np.maximum(behind[late] / SECOND, 1.0))).astype(np.int64)
    found, counts = np.unique(powers, return_counts=True)
    told = {f"{BEHIND}{power}": count for power, count in zip(found.tolist(), counts.tolist(), strict=True)}
    in_order = batch.num_rows - int(late.sum())
    return {**told, f"{BEHIND}{IN_ORDER}": in_order} if in_order else told


def disorder_note(counters: Mapping[str, int], max_disorder: str) -> str | None:
    """For people: how late rows really were, from the sums of `disorder_counts`; None where nothing was counted."""
    found = {name.removeprefix(BEHIND): count for name, count in counters.items() if name.startswith(BEHIND)}
    total = sum(found.values())
    if not total:
        return None
    in_order = found.pop(IN_ORDER, 0)
    powers = sorted(map(int, found))
    line = f"disorder: {total - in_order:,} of {total:,} rows came after a later one"
    if powers:
        seen, told = in_order, []
        for power in powers:
            seen += found[str(power)]
            told.append((seen / total, 2**power))
        shares = [
            (share, next(bound for reached, bound in told if reached >= share)) for share in (0.99, 0.999)
        ]
        parts = [f"{share:.1%} of all at most {bound:,} s" for share, bound in shares]
        line += f", {', '.join(parts)}, the last at most {2 ** powers[-1]:,} s"
    return f"{line} (--max_disorder={max_disorder})"
