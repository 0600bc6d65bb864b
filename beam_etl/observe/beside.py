"""Two texts beside each other, with what differs marked."""

import difflib
import textwrap
from collections.abc import Iterator

SAME, CHANGED, LEFT, RIGHT = " ", "~", "<", ">"
"""Between two lines: alike, changed, only in the left text, only in the right one."""

_MARK = 3
"""Columns of a mark and the spaces around it."""


def beside(left: str, right: str, width: int) -> Iterator[str]:
    """Lines of `width` columns, with the lines of both texts, which are printable, where they match each other.

    Args:
      left, right: texts of one or more lines.
      width: of the terminal, at least 20 columns.
    """
    half = (width - _MARK) // 2
    first, second = left.splitlines(), right.splitlines()
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        mark = {"equal": SAME, "delete": LEFT, "insert": RIGHT, "replace": CHANGED}[kind]
        ours, theirs = _wrapped(first[i:j], half), _wrapped(second[k:m], half)
        for row in range(max(len(ours), len(theirs))):
            here = ours[row] if row < len(ours) else ""
            there = theirs[row] if row < len(theirs) else ""
            yield f"{here:{half}} {mark} {there}".rstrip()


def _wrapped(lines: list[str], width: int) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]
