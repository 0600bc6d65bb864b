"""A line of a text around what was searched for."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from beam_etl.kernels.query import Phrase
from beam_etl.kernels.text import words

CHARACTERS = 100
"""Of a line: it stands indented on a terminal."""

LOOKED_AT = 1 << 18
"""Characters of a text that are looked at, from its beginning. What comes behind them has no line."""

CUT = "..."
"""Stands where the text goes on."""

_PIECE = re.compile(r"\S+")


def excerpt(text: str, phrases: Sequence[Phrase], rule: str) -> str | None:
    """A line around the first place that has the first phrase that is there; None where none is.

    Args:
      text: of a document.
      phrases: terms and phrases, what is wanted most first.
      rule: what a word is, one of unicode_table.RULES.

    Returns:
      At most CHARACTERS and two times CUT, with a space for all that moves a terminal's cursor.
    """
    text = text[:LOOKED_AT]
    pieces = list(_PIECE.finditer(text))
    found = words(pa.array([piece[0] for piece in pieces], pa.string()), rule)
    flat = found.values.to_pylist()
    owners = np.repeat(np.arange(len(pieces)), np.diff(found.offsets.to_numpy()))
    for phrase in phrases:
        for at, word in enumerate(flat):
            if word == phrase[0] and tuple(flat[at : at + len(phrase)]) == phrase:
                piece = pieces[owners[at]]
                return _line(text, piece.start() + max(0, piece[0].lower().find(word)))
    return None


def printable(text: str) -> str:
    """The text on one line, with a space for all that a terminal wouldn't show."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _line(text: str, at: int) -> str:
    """About CHARACTERS of a text around a place, whole words where there are any."""
    begin = max(0, at - CHARACTERS // 3)
    end = min(len(text), begin + CHARACTERS)
    if begin and (space := re.search(r"\s", text[begin:at])):
        begin += space.end()
    if end < len(text) and (spaces := list(re.finditer(r"\s", text[at:end]))):
        end = at + spaces[-1].start()
    return f"{CUT if begin else ''}{printable(text[begin:end])}{CUT if end < len(text) else ''}"
