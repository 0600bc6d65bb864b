"""How unevenly the shuffles of a run spread their rows, in words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from beam_etl.observe.text import format_bytes

WARNED = 10
"""A largest partition of more than so many times the mean is warned of."""

COUNTED_ROWS, COUNTED_BYTES = 16_384, 1 << 20
"""A partition of fewer (a batch's rows, bytes of some milliseconds) keeps nobody waiting, whatever the mean is: a few
groups over 64 partitions are always 10 times the mean."""

LINES = 8
"""Shuffles that are shown, those of most bytes."""


@dataclass(frozen=True)
class Sizes:
    """Rows, or bytes, of the partitions of a shuffle."""

    total: int
    largest: int
    hot_key: str | None = None
    """The key that has most of the largest partition; None where no key is known to have a quarter."""
    hot: int = 0
    """About how many are of that key."""


@dataclass(frozen=True)
class ShuffleSkew:
    """What the partitions of a shuffle were, empty ones among them."""

    label: str
    partitions: int
    rows: Sizes
    bytes: Sizes

    def ratio(self, sizes: Sizes) -> float:
        """The largest partition to the mean of all."""
        return sizes.largest * self.partitions / max(sizes.total, 1)

    def warnings(self) -> Iterator[str]:
        """What to say of it where it is above WARNED: at most a line by rows and one by bytes."""
        if self.rows.largest >= COUNTED_ROWS and self.ratio(self.rows) > WARNED:
            yield self._warning(self.rows, f"{self.rows.largest:,} rows", f"{self.rows.hot:,} rows")
        if self.bytes.largest >= COUNTED_BYTES and self.ratio(self.bytes) > WARNED:
            yield self._warning(self.bytes, format_bytes(self.bytes.largest), format_bytes(self.bytes.hot))

    def _warning(self, sizes: Sizes, largest: str, hot: str) -> str:
        why = (
            f"about {hot} are of {sizes.hot_key}" if sizes.hot_key else "no single key has a quarter of them"
        )
        return (
            f"skew: the largest partition of {self.label} has {largest}, {self.ratio(sizes):.1f} times the mean of "
            f"{self.partitions:,}: {why}"
        )


def skew_lines(skews: Iterable[ShuffleSkew]) -> Sequence[str]:
    """A line a shuffle that carried rows, those of most bytes first, LINES at most; none where none did."""
    found = sorted(
        (skew for skew in skews if skew.rows.total), key=lambda skew: (-skew.bytes.total, skew.label)
    )
    shown = [
        f"  {skew.label}: {skew.ratio(skew.rows):.1f}x rows, {skew.ratio(skew.bytes):.1f}x bytes of "
        f"{format_bytes(skew.bytes.total)} in {skew.partitions:,}"
        for skew in found[:LINES]
    ]
    if rest := found[LINES:]:
        most = max(max(skew.ratio(skew.rows), skew.ratio(skew.bytes)) for skew in rest)
        shown.append(f"  {len(rest)} more, smaller ones: at most {most:.1f}x")
    return ["largest partition to the mean:", *shown] if shown else []
