"""Whether a pattern can match what lies in a folder, now or later."""

import fnmatch
import os
import re

from beam_etl.io.files import GLOB, is_hidden

_TOKEN = re.compile(r"\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


def can_match_in(pattern: str, folder: str) -> bool:
    """Whether a local pattern of `match_files` can match a file of a folder, at any depth, whatever its name is.

    Args:
      pattern: a file, a folder or a glob. Links on the way to its first `*`, `?` or `[` are followed.
      folder: a local folder, which need not be there yet. Links on the way to it are followed.
    """
    inside = os.path.join(os.path.realpath(folder), "")
    if not GLOB.search(pattern) or os.path.isdir(pattern):
        whole = os.path.join(os.path.realpath(pattern), "")
        return whole.startswith(inside) or (inside.startswith(whole) and not is_hidden(inside[len(whole) :]))
    fixed = os.path.dirname(GLOB.split(pattern, maxsplit=1)[0])
    rest = pattern[len(fixed) :].lstrip("/")
    base = os.path.join(os.path.realpath(fixed), "")
    if base.startswith(inside):
        return True
    below = inside[len(base) :]
    return inside.startswith(base) and (is_hidden(rest) or not is_hidden(below)) and _begins(rest, below)


def _begins(glob: str, text: str) -> bool:
    """Whether a glob can match a text with more behind it."""
    tokens = _TOKEN.findall(glob)
    places = _skipped({0}, tokens)
    for letter in text:
        places = _skipped({after for place in places for after in _steps(place, tokens, letter)}, tokens)
    return any(place < len(tokens) for place in places)


def _skipped(places: set[int], tokens: list[str]) -> set[int]:
    """These places, and those behind stars that match nothing."""
    found = set()
    for first in places:
        place = first
        while place < len(tokens) and tokens[place] in ("*", "**"):
            found.add(place)
            place += 1
        found.add(place)
    return found


def _steps(place: int, tokens: list[str], letter: str) -> tuple[int, ...]:
    """Where one may be in a glob when a letter was matched from a place on."""
    if place == len(tokens):
        return ()
    token = tokens[place]
    if token == "**":
        return (place,)
    if letter == "/" and token in ("*", "?"):
        return ()
    if token == "*":
        return (place,)
    return (place + 1,) if fnmatch.fnmatchcase(letter, token) else ()
