"""The clock of a split of a stream: up to when, in event time, it is taken to be complete.

A split reads from lanes: partitions of a topic, or one lane for all of its files. A lane's clock is the largest time
read from it, less the disorder that is allowed for. The split's clock is the smallest one of its lanes that are not
idle, and never goes back. All times are int64 microseconds since 1970 in UTC, all durations microseconds.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]

UNKNOWN = -(2**63)
"""The clock of a split, or of a lane, that has read nothing yet."""

MAX_GAP = 10_000_000
"""Between two looks at a lane. After a longer gap nobody has looked, which says nothing about the lane."""


@dataclass
class Lane:
    """What is known of one lane."""

    clock: int = UNKNOWN
    idle: int = 0
    """How long it was seen at its end, without a row since."""
    at_end: bool = False
    """Whether it was there at the last look, without a row since."""


class SplitClock:
    """The clock, as rows are read and as lanes are seen at their end.

    Args:
      disorder: that much a row may be behind the largest time before it.
      idle_after: a lane that was seen at its end for so long holds nothing back until it has rows again. When all lanes
        are idle, the clock follows the time of day, less `disorder`. None: no lane is ever idle.
      state: of `to_json`.
    """

    def __init__(self, disorder: int, idle_after: int | None, state: Mapping[str, Any] | None = None) -> None:
        self._disorder = disorder
        self._idle_after = idle_after
        known = state or {"clock": UNKNOWN, "looked": None, "lanes": {}}
        self.clock: int = known["clock"]
        self._looked: int | None = known["looked"]
        self._lanes = {name: Lane(*values) for name, values in known["lanes"].items()}

    def to_json(self) -> dict[str, Any]:
        """All of it, for a checkpoint: a few bytes a lane."""
        lanes = {name: [lane.clock, lane.idle, lane.at_end] for name, lane in self._lanes.items()}
        return {"clock": self.clock, "looked": self._looked, "lanes": lanes}

    def meet(self, lanes: Iterable[str]) -> None:
        """Lanes that there are. One that is new begins with the split's clock."""
        for name in lanes:
            self._lanes.setdefault(name, Lane(self.clock))

    def read(self, name: str, times: Times) -> Times:
        """Rows of a lane, which isn't idle then.

        Args:
          name: of the lane.
          times: int64[rows], in the order read.

        Returns:
          int64[rows]: the split's clock before each row. It doesn't depend on how the rows are cut into batches.
        """
        lane = self._lanes.setdefault(name, Lane())
        lane.clock, lane.idle, lane.at_end = max(lane.clock, self.clock), 0, False
        others = min((other.clock for other in self._busy() if other is not lane), default=2**63 - 1)
        after = np.maximum.accumulate(np.maximum(times - self._disorder, lane.clock))
        clocks = np.maximum(np.minimum(after, others), self.clock)
        before = np.concatenate([np.array([self.clock], np.int64), clocks])[: len(times)]
        if len(times):
            lane.clock, self.clock = int(after[-1]), int(clocks[-1])
        return before

    def look(self, at_end: Collection[str], now: int) -> None:
        """What a look at the lanes has shown.

        Args:
          at_end: lanes that have nothing to read.
          now: the time of day.
        """
        gap = 0 if self._looked is None else max(0, now - self._looked)
        self._looked = now
        for name, lane in self._lanes.items():
            was, lane.at_end = lane.at_end, name in at_end
            passed = gap if was and gap <= MAX_GAP else 0
            lane.idle = lane.idle + passed if lane.at_end else 0
        if self._idle_after is None or not self._lanes:
            return
        busy = [lane.clock for lane in self._busy()]
        self.clock = max(self.clock, min(busy) if busy else now - self._disorder)

    def _busy(self) -> list[Lane]:
        if self._idle_after is None:
            return list(self._lanes.values())
        return [lane for lane in self._lanes.values() if lane.idle < self._idle_after]
