"""Sizes as bars in a terminal."""

from collections.abc import Sequence

from beam_etl.observe.text import format_bytes

WIDTH = 40
"""Characters of the longest bar."""

MOST = 20
"""Bars that are shown one by one; of more, neighbours are shown together."""

_PARTS = " ▏▎▍▌▋▊▉█"


def bar(value: float, most: float, width: int = WIDTH) -> str:
    """A bar in eighths of a character, at least one for what isn't 0."""
    eighths = round(8 * width * value / most) if most else 0
    eighths = max(eighths, 1 if value else 0)
    return "█" * (eighths // 8) + (_PARTS[eighths % 8] if eighths % 8 else "")


def size_bars(sizes: Sequence[tuple[str, int, int]]) -> list[str]:
    """A line for each name, or for some neighbours, with rows, bytes and a bar of the bytes.

    Args:
      sizes: name, rows and bytes, in the order in which they are shown.
    """
    count = -(-len(sizes) // MOST) if sizes else 1
    shown = [_together(sizes[at : at + count]) for at in range(0, len(sizes), count)]
    names = max((len(name) for name, _, _ in shown), default=0)
    most = max((size for _, _, size in shown), default=0)
    numbers = max((len(f"{rows:,}") for _, rows, _ in shown), default=0)
    return [
        f"{name:{names}}  {rows:>{numbers},} rows  {format_bytes(size):>8}  {bar(size, most)}"
        for name, rows, size in shown
    ]


def _together(sizes: Sequence[tuple[str, int, int]]) -> tuple[str, int, int]:
    first, last = sizes[0][0], sizes[-1][0]
    name = first if len(sizes) == 1 else f"{first} .. {last} ({len(sizes)})"
    return name, sum(rows for _, rows, _ in sizes), sum(size for _, _, size in sizes)
