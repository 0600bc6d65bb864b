"""Whether a run of characters is a URL or an e-mail address, which the rules of `affixes` then don't cut inside."""

import numpy as np

from beam_etl.kernels.affixes import COLON, HYPHEN, SLASH, STOP, value
from beam_etl.kernels.characters import DECIMAL, HOST, LOWER, WORD
from beam_etl.kernels.compiled import ReadOnly, compiled

AT, UNDERSCORE, QUESTION, HASH, PLUS = 0x40, 0x5F, 0x3F, 0x23, 0x2B

LONGEST_LABEL = 64
SHORTEST_TOP, LONGEST_TOP = 2, 63
SHORTEST_PORT, LONGEST_PORT = 2, 5


@compiled
def is_url(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int) -> bool:
    """Whether the run `points[first:last]` is one, as spaCy's rule has it.

    A scheme and `://` or nothing; anything and an `@`, or nothing; a host name whose last label is in lower case; a
    port or nothing; then nothing, or a `/`, `?` or `#` and anything. Addresses of four numbers are none here.
    """
    if is_host_and_rest(points, kinds, first, last):
        return True
    begin = behind_scheme(points, kinds, first, last)
    if begin > first and is_host_and_rest(points, kinds, begin, last):
        return True
    for at in range(first + 1, last):
        if value(points, at) == AT and is_host_and_rest(points, kinds, at + 1, last):  # stops at the next one
            return True
    return False


@compiled
def behind_scheme(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int) -> int:
    """The place behind `scheme://`, or `first`."""
    at = first
    while at < last and (value(kinds, at) & WORD or value(points, at) in (PLUS, HYPHEN, STOP)):
        at += 1
    if at - first < 2 or at + 3 > last:
        return first
    colon, slash, other = value(points, at), value(points, at + 1), value(points, at + 2)
    return at + 3 if colon == COLON and slash == SLASH and other == SLASH else first


@compiled
def is_host_and_rest(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int) -> bool:
    """Whether all from `first` on is a host name, then perhaps a port, then perhaps a path, a query or a fragment."""
    begin, at = first, first
    while at < last:
        point = value(points, at)
        if point == STOP:
            if not is_label(kinds, begin, at):
                return False
            begin = at + 1
        elif not (value(kinds, at) & HOST or point in (UNDERSCORE, HYPHEN)):
            break
        at += 1
    if begin == first or not SHORTEST_TOP <= at - begin <= LONGEST_TOP:
        return False
    for place in range(begin, at):
        if not value(kinds, place) & LOWER:
            return False
    return is_rest(points, kinds, at, last)


@compiled
def is_label(kinds: ReadOnly[np.uint32], begin: int, end: int) -> bool:
    """Whether the characters, all of a host name, may stand before its full stop."""
    if not 0 < end - begin <= LONGEST_LABEL:
        return False
    return bool(value(kinds, begin) & HOST and value(kinds, end - 1) & HOST)


@compiled
def is_rest(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], at: int, last: int) -> bool:
    """Whether what follows a host name may."""
    if at < last and value(points, at) == COLON:
        end = at + 1
        while end < last and value(kinds, end) & DECIMAL:
            end += 1
        if not SHORTEST_PORT <= end - at - 1 <= LONGEST_PORT:
            return False
        at = end
    return at == last or value(points, at) in (SLASH, QUESTION, HASH)
