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


DIFFERENCES = 8
"""Told of two texts."""

DIFFERING_WORDS = 3_000
"""Of each text that are compared: to compare takes the square of them."""


def differences(left: str, right: str, width: int) -> Iterator[str]:
    """Lines of `width` columns that say in which words two texts differ: `- LEFT` and `+ RIGHT`, the first ones.

    Args:
      left, right: printable.
      width: of the terminal.
    """
    first, second = left.split(), right.split()
    ours, theirs = first[:DIFFERING_WORDS], second[:DIFFERING_WORDS]
    found = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    changes = [codes for codes in found if codes[0] != "equal"]
    for _, i, j, k, m in changes[:DIFFERENCES]:
        for mark, words in (("-", ours[i:j]), ("+", theirs[k:m])):
            if words:
                yield textwrap.shorten(f"{mark} {' '.join(words)}", width, placeholder=" ...")
    told = f"{max(len(changes) - DIFFERENCES, 0)} more differences" if len(changes) > DIFFERENCES else ""
    cut = f"of the first {DIFFERING_WORDS:,} words" if max(len(first), len(second)) > DIFFERING_WORDS else ""
    if not changes:
        yield f"no difference in words{' ' if cut else ''}{cut}"
    elif told or cut:
        yield " ".join(filter(None, ["and", told, cut]))
