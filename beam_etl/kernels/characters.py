"""Classes of characters that document signals and the published quality rules tell apart: flags of each code point.

What follows from Unicode is taken from unicode_table. The sets below are those of the published filters: the marks that
spaCy's rules for English cut from words, and the symbols of datatrove and CCNet, which make no word on their own.
"""

import string
from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.unicode_table import (
    CATEGORIES,
    CATEGORY_MASK,
    CODE_POINTS,
    SENTENCE_TERMINAL,
    categories,
)

SPACE = 1 << 0
"""What str.isspace says of it."""
LINE_BREAK = 1 << 1
"""str.splitlines ends a line there."""
LETTER = 1 << 2
"""What str.isalpha says of it."""
DIGIT = 1 << 3
"""0 to 9."""
DECIMAL = 1 << 4
"""A decimal digit of any script."""
WORD = 1 << 5
r"""Python's `\w`."""
ALPHA = 1 << 6
"""A letter to the rules that cut words, or a mark that belongs to one."""
LOWER = 1 << 7
UPPER = 1 << 8
"""ALPHA in that case; what has no case is both."""
OPENING = 1 << 9
"""Cut from a word that begins with it."""
CLOSING = 1 << 10
"""Cut from a word that ends with it."""
ICON = 1 << 11
"""A symbol that is cut out of a word wherever it stands (category So)."""
CURRENCY = 1 << 12
QUOTE = 1 << 13
BEFORE_STOP = 1 << 14
"""A full stop behind it at the end of a word is cut."""
MARK = 1 << 15
"""May be cut from a word. Where a word has none and no digit, it stays whole."""
PUNCTUATION = 1 << 16
"""Of a category P."""
SYMBOL = 1 << 17
"""Makes no word on its own."""
TERMINAL = 1 << 18
"""Ends a line that counts as punctuated."""
SENTENCE_END = 1 << 19
"""Alone in a token, ends a sentence."""
HOST = 1 << 20
"""May begin and end a label of a host name."""

_ASCII_MARKS = ",:;!?()[]{}<>_#*&'\"`"
_OTHER_MARKS = "¡·´¿»«؛؟٪۔।،‘’“”‚„…、。〈〉《》「」『』【】〔〕〈〉⟦⟧！（），：；？～"
_DASHES = "–—"
_QUOTES = "'\"`´‘’“”‚„,»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
_CURRENCIES = "$£¥฿₽€﷼" + "".join(map(chr, range(0x20A0, 0x20C0)))
_OTHER_SYMBOLS = "«´»–—’“”„…∶━►、。〈〉《》「」【】！％（），．１：；？～"
"""The fullwidth digit is CCNet's, whose list it is."""
_KHMER_TERMINALS = "។៕៖៙៚"
_INSIDE = "+-*^.,:<>=/~"
"""Cuts a word in two between certain neighbours."""

_FIRST_ALPHA = 0xC0
"""Beyond ASCII no letter before it is ALPHA: those are signs of ordinals and units."""
_COMBINING_DIACRITICS = range(0x300, 0x370)
_LAST_OF_HOSTS = 0xFFFF


@cache
def character_table() -> npt.NDArray[np.uint32]:
    """The flags of each code point: uint32[CODE_POINTS], read-only, the same array each time."""
    stored = categories()
    category = np.array(CATEGORIES)[stored & CATEGORY_MASK]
    major = category.astype("U1")
    table = np.zeros(CODE_POINTS, np.uint32)
    points = np.arange(CODE_POINTS)

    def flag(value: int, members: npt.NDArray[np.bool_] | Iterable[str]) -> None:
        where = members if isinstance(members, np.ndarray) else [ord(member) for member in members]
        table[where] |= np.uint32(value)

    flag(SPACE, np.isin(category, ("Zs", "Zl", "Zp")))
    flag(SPACE, "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85")
    flag(LINE_BREAK, "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
    flag(LETTER, major == "L")
    flag(DIGIT, string.digits)
    flag(DECIMAL, category == "Nd")
    flag(WORD, (major == "L") | (major == "N"))
    flag(WORD, "_")
    _flag_letters(table, points, category, major)
    flag(OPENING, _ASCII_MARKS + _OTHER_MARKS + _DASHES + _CURRENCIES + "§%=")
    flag(CLOSING, _ASCII_MARKS + _OTHER_MARKS + _DASHES)
    flag(ICON, category == "So")
    flag(CURRENCY, _CURRENCIES)
    flag(QUOTE, _QUOTES)
    flag(BEFORE_STOP, (table & (DIGIT | LOWER)) != 0)
    flag(BEFORE_STOP, _ASCII_MARKS + _OTHER_MARKS + "%²-+|")
    flag(MARK, (table & (OPENING | CLOSING | ICON | CURRENCY)) != 0)
    flag(MARK, _INSIDE)
    flag(PUNCTUATION, major == "P")
    flag(SYMBOL, string.punctuation + _OTHER_SYMBOLS)
    flag(SYMBOL, (category == "Cc") & (points != ord("\t")) & (points != ord("\n")))
    flag(SENTENCE_END, (stored & SENTENCE_TERMINAL) != 0)
    flag(TERMINAL, (stored & SENTENCE_TERMINAL) != 0)
    flag(TERMINAL, _KHMER_TERMINALS)
    flag(SYMBOL, (table & TERMINAL) != 0)
    flag(HOST, string.ascii_letters + string.digits)
    flag(HOST, (points > 0xA0) & (points <= _LAST_OF_HOSTS))
    table.flags.writeable = False
    return table


def _flag_letters(
    table: npt.NDArray[np.uint32],
    points: npt.NDArray[np.int64],
    category: npt.NDArray[np.str_],
    major: npt.NDArray[np.str_],
) -> None:
    marks = (major == "M") & ~np.isin(points, _COMBINING_DIACRITICS)
    alpha = ((major == "L") | marks) & ((points < 0x80) | (points >= _FIRST_ALPHA))
    uncased = alpha & (marks | (category == "Lo"))
    table[alpha] |= np.uint32(ALPHA)
    table[uncased | (alpha & (category == "Ll"))] |= np.uint32(LOWER)
    table[uncased | (alpha & np.isin(category, ("Lu", "Lt")))] |= np.uint32(UPPER)
