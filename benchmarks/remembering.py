"""Near-duplicates of a replay in this process, and the bytes of all that is remembered in the end: the last line.

python -m benchmarks.remembering FLAGS... of beam_etl.pipelines.dedup
"""

import sys
from collections.abc import Iterator
from typing import Any

from beam_etl.io.streams import replay
from beam_etl.pipelines import dedup
from beam_etl.transforms.batches import MAX_ROWS
from beam_etl.transforms.remembering import _Remember

_sizes: dict[tuple[str, int], int] = {}
"""Bytes of state, by step and partition."""

_meet = _Remember._meet


def _observed(self: Any, state: Any, *window: Any) -> Iterator[Any]:
    yield from _meet(self, state, *window)
    _sizes[self._step, state.number] = sum(state.mark.sizes)


if __name__ == "__main__":
    _Remember._meet = _observed  # type: ignore[method-assign]
    replay.BATCH_ROWS = MAX_ROWS  # as other sources give them, where a replay moves its clock more often
    code = dedup.run(sys.argv[1:])
    print(sum(_sizes.values()))
    sys.exit(code)
