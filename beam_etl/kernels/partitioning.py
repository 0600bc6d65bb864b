"""What a dataset says of how a table is partitioned, and what follows from that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HASH, RANGE, TIME, VALUE = "hash", "range", "time", "value"
FUNCTIONS = (HASH, RANGE, TIME, VALUE)
UNITS = ("month", "day", "hour")

VERSION = 1
"""Of all functions. A function that gives other partitions gets another version, and is another one."""

_OWN = {HASH: ("partitions",), RANGE: ("bounds",), TIME: ("unit",), VALUE: ()}
"""What a level of each function has besides its columns."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a partitioning: a function of columns, and the name of its folders.

    Args:
      function: hash (XXH64 of the columns, modulo `partitions`; see kernels.hashing), range (how many `bounds` are
        at most the value), time (the `unit` that a date or time lies in, UTC), value (the value itself).
      columns: what it is a function of; of all but hash, one.
      partitions: of hash; of range how many are wanted, while its bounds aren't known.
      bounds: of range, ascending, as JSON has them (dates and times in ISO 8601): the first value of each partition but
        the first one, so there is a partition more than bounds.
      unit: of time: month, day or hour.
      name: before the `=` of its folders; by default COLUMN_bucket, COLUMN_range, COLUMN_UNIT, COLUMN.

    Raises:
      ValueError: an argument is absent, not one of these, or of another function.
    """

    function: str
    columns: tuple[str, ...]
    partitions: int | None = None
    bounds: tuple[Any, ...] | None = None
    unit: str | None = None
    name: str = ""
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS or self.version != VERSION:
            raise ValueError(
                f"partitions are made by {', '.join(FUNCTIONS)}, all of version {VERSION}; got {self.function!r} of "
                f"version {self.version}"
            )
        if not self.columns or (self.function != HASH and len(self.columns) > 1):
            raise ValueError(
                f"{self.function} takes {self._many} column, got {', '.join(self.columns) or 'none'}"
            )
        given = {name for name in ("partitions", "bounds", "unit") if getattr(self, name) is not None}
        if given != set(_OWN[self.function]) and (self.function, given) != (RANGE, {"partitions"}):
            raise ValueError(f"{self.function} takes {_OWN[self.function]}, got {sorted(given)}")
        if self.partitions is not None and not (isinstance(self.partitions, int) and self.partitions > 0):
            raise ValueError(f"{self.function} needs at least 1 partition, got {self.partitions!r}")
        if self.function == TIME and self.unit not in UNITS:
            raise ValueError(f"time has the units {', '.join(UNITS)}; got {self.unit!r}")
        object.__setattr__(self, "name", self.name or self._default_name)

    @property
    def _many(self) -> str:
        return "at least one" if self.function == HASH else "one"

    @property
    def _default_name(self) -> str:
        suffixes = {HASH: "_bucket", RANGE: "_range", TIME: f"_{self.unit}", VALUE: ""}
        return "_".join(self.columns) + suffixes[self.function]

    @property
    def numbered(self) -> bool:
        """Whether partitions have numbers, not values."""
        return self.function in (HASH, RANGE)

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        own = {name: getattr(self, name) for name in _OWN[self.function]}
        if self.bounds is not None:
            own["bounds"] = list(self.bounds)
        return {
            "function": self.function,
            "version": self.version,
            "columns": list(self.columns),
            **own,
            "name": self.name,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Level":
        """What `to_json` gave.

        Raises:
          ValueError, TypeError, KeyError: it isn't that.
        """
        given = {**told, "columns": tuple(told["columns"])}
        if given.get("bounds") is not None:
            given["bounds"] = tuple(given["bounds"])
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class Partitioning:
    """How a table is partitioned, and what is known of the order in its files.

    Args:
      by: the levels, outermost first.
      order: rows of each file ascend by these columns, nulls last; none where nothing is known.
      split: some partition was cut into pieces that count as partitions of their own: equal keys may be apart.
    """

    by: tuple[Level, ...]
    order: tuple[str, ...] = ()
    split: bool = False

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a partitioning has at least one level, and each another name; got {names!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the levels' folders."""
        return tuple(level.name for level in self.by)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that decide where a row belongs, each once."""
        return tuple(dict.fromkeys(column for level in self.by for column in level.columns))

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "by": [level.to_json() for level in self.by],
            "order": list(self.order),
            "split": self.split,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Partitioning":
        """What `to_json` gave.

        Raises:
          ValueError, TypeError, KeyError: it isn't that.
        """
        levels = tuple(map(Level.from_json, told["by"]))
        return cls(by=levels, order=tuple(told["order"]), split=bool(told["split"]))

    def keeps_together(self, columns: Sequence[str]) -> bool:
        """Whether rows that are equal in these columns are all in one partition."""
        return not self.split and set(self.columns) <= set(columns)


def hashed(columns: Sequence[str], partitions: int, order: Sequence[str] = ()) -> Partitioning:
    """A partitioning of one level, by hash."""
    level = Level(function=HASH, columns=tuple(columns), partitions=partitions)
    return Partitioning(by=(level,), order=tuple(order))


@dataclass(frozen=True)
class CoPartitioning:
    """Two tables hashed alike: equal keys are in buckets of one number modulo `partitions`."""

    left: Level
    right: Level
    partitions: int
    """The smaller number of buckets, which divides the other."""


def co_partitioned(
    left: Partitioning | None,
    right: Partitioning | None,
    left_on: Sequence[str],
    right_on: Sequence[str],
) -> CoPartitioning | None:
    """How rows with equal keys of two tables lie together; None where they don't.

    They do where both have a level of hash over the same columns of the key, and one number of buckets divides the
    other. Of the smaller number n, bucket i of either side is all its buckets whose number modulo n is i, whatever
    other levels there are. Equal values have equal hashes only where their types are of one kind (see kernels.hashing),
    which the caller knows.

    Args:
      left, right: None for a table that isn't partitioned.
      left_on, right_on: columns of the key, those at the same place compared with each other.
    """
    if left is None or right is None or left.split or right.split:
        return None
    names = dict(zip(left_on, right_on, strict=True))
    for one in _hash_levels(left):
        for other in _hash_levels(right):
            few, many = sorted((one.partitions or 1, other.partitions or 1))
            if tuple(map(names.get, one.columns)) == other.columns and many % few == 0:
                return CoPartitioning(one, other, few)
    return None


def _hash_levels(partitioning: Partitioning) -> list[Level]:
    return [level for level in partitioning.by if level.function == HASH]
