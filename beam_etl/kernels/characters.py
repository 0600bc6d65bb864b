"""Classes of characters that document signals and the published quality rules tell apart: flags of each code point.

What follows from Unicode is taken from unicode_table. The sets below are those of the published filters: the marks that
spaCy's rules for English cut from words, and the symbols of datatrove and CCNet, which make no word on their own.
"""

import string

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.process import made_once
from beam_etl.kernels.unicode_table import CATEGORIES, SENTENCE_TERMINAL, categories

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
_COMBINING_DIACRITICS = slice(0x300, 0x370)
"""Marks of no letter."""
_HOSTS = slice(0xA1, 0x10000)


@made_once
def character_table() -> npt.NDArray[np.uint32]:
    """The flags of each code point: uint32[CODE_POINTS], read-only, the same array each time."""
    of_stored = np.zeros(1 << 8, np.uint32)
    for place, category in enumerate(CATEGORIES):
        of_stored[place] = _of_category(category)
        of_stored[place | SENTENCE_TERMINAL] = of_stored[place] | SENTENCE_END | TERMINAL | SYMBOL
    table = of_stored[categories()]

    def flag(value: int, members: str) -> None:
        table[[ord(member) for member in members]] |= np.uint32(value)

    table[[ord("\t"), ord("\n")]] &= ~np.uint32(SYMBOL)
    for others in (slice(0x80, _FIRST_ALPHA), _COMBINING_DIACRITICS):
        table[others] &= ~np.uint32(ALPHA | LOWER | UPPER | BEFORE_STOP)
    flag(SPACE, "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85")
    flag(LINE_BREAK, "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
    flag(DIGIT | BEFORE_STOP, string.digits)
    flag(WORD, "_")
    flag(OPENING | MARK, _ASCII_MARKS + _OTHER_MARKS + _DASHES + _CURRENCIES + "§%=")
    flag(CLOSING | MARK, _ASCII_MARKS + _OTHER_MARKS + _DASHES)
    flag(CURRENCY | MARK, _CURRENCIES)
    flag(QUOTE, _QUOTES)
    flag(BEFORE_STOP, _ASCII_MARKS + _OTHER_MARKS + "%²-+|")
    flag(MARK, _INSIDE)
    flag(SYMBOL, string.punctuation + _OTHER_SYMBOLS)
    flag(TERMINAL | SYMBOL, _KHMER_TERMINALS)
    flag(HOST, string.ascii_letters + string.digits)
    table[_HOSTS] |= np.uint32(HOST)
    table.flags.writeable = False
    return table


def _of_category(category: str) -> int:
    """The flags of a character without any rule of its own."""
    of_major = {"L": LETTER | WORD | ALPHA, "M": ALPHA, "N": WORD, "P": PUNCTUATION, "Z": SPACE}
    flags = of_major.get(category[0], 0)
    if category[0] == "M" or category in ("Ll", "Lo"):
        flags |= LOWER | BEFORE_STOP
    if category[0] == "M" or category in ("Lu", "Lt", "Lo"):
        flags |= UPPER
    return flags | {"Nd": DECIMAL, "So": ICON | MARK, "Cc": SYMBOL}.get(category, 0)
