r"""What each Unicode character is to the tokeniser: its lower case, its part in a word, and how it composes.

The data is one version of the Unicode Character Database, whatever version the running Python knows, so that
a word is the same word on every worker. tools/make_unicode_table.py builds it. A code point that this version
doesn't assign is no part of a word and its own lower case.

A rule says what a word is. There are three:

words         Unicode's word characters (UTS #18 annex C, `\w` in Rust and ICU): Alphabetic, marks, decimal
              digits, connector punctuation, zero-width joiner and non-joiner. Scripts that put no space
              between words (SPACELESS_SCRIPTS) give a word a character, together with the marks that follow
              it; their digits aren't cut.
python        What Python's re finds with `\w+`: letters, characters with a numeric value, the underscore. No
              marks, so that Hindi and Thai are cut at vowel signs; Han and kana run on.
alphanumeric  The same without the underscore: `[^\W_]+`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.process import made_once

UNICODE_VERSION = "15.0.0"
DATA = Path(__file__).with_name("data") / "unicode.npz"
RULES = ("words", "python", "alphanumeric")

SPACELESS_SCRIPTS = (
    *("Han", "Hiragana", "Katakana", "Yi", "Tangut", "Nushu", "Khitan_Small_Script"),
    *("Thai", "Lao", "Khmer", "Myanmar", "Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet", "Ahom"),
)
"""The first line writes a syllable or more with a character; the second are those whose lines Unicode breaks
with a dictionary (Line_Break=SA). A character that several scripts use counts if all of them are here
(Script_Extensions)."""

CODE_POINTS = 0x110000
POINT_BITS = 21
POINT_MASK = (1 << POINT_BITS) - 1
BLOCK = 128
"""Code points in a block of the stored arrays; equal blocks are stored once."""

CATEGORIES = (
    *("Cn", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No"),
    *("Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"),
)
"""General categories, by the number that `categories` has for each."""
CATEGORY_MASK = 0x1F
SENTENCE_TERMINAL = 0x80
"""Flag beside a category: the character ends sentences (the property Sentence_Terminal)."""

# A rule's table, uint32 for each code point: lower-case code point, two flags, kind in the highest bits.
LOWER_MASK = POINT_MASK
CASED = 1 << 21
"""Cased and not case-ignorable."""
CASE_IGNORABLE = 1 << 22
KIND_SHIFT = 30
NONE, RUN, ALONE, MARK = range(4)
"""A character ends a word; lengthens a run or begins one; begins a word that only marks lengthen; lengthens
any word, or begins a run. No ASCII character is a MARK."""

# The table of composition, uint32 for each code point: combining class, three flags, where its parts are.
COMBINING_MASK = 0xFF
"""Canonical_Combining_Class; 0 is a starter."""
NEVER_NFC = 1 << 8
"""NFC_Quick_Check=No."""
COMPOSES_BACK = 1 << 9
"""NFC_Quick_Check=Maybe: composes with some character before it."""
COMPOSES_ON = 1 << 10
"""Composes with some character after it, or is composed, so that one of its parts may with another mark."""
PARTS_SHIFT = 16
"""Above is the place in Composition.parts, 0 for a character that has none."""


@made_once
def rule_table(rule: str) -> npt.NDArray[np.uint32]:
    """The table of a rule: uint32[CODE_POINTS], read-only, the same array each time.

    Raises:
      ValueError: there is no such rule. The message names those there are.
    """
    if rule not in RULES:
        raise ValueError(f"no word rule {rule!r}; there are {', '.join(RULES)}")
    table = _stored("table")
    lower = (table + np.arange(CODE_POINTS, dtype=np.uint32)) & np.uint32(LOWER_MASK)
    if rule == "words":
        kind = table >> np.uint32(KIND_SHIFT)
    else:
        kind = _stored("alphanumeric").astype(np.uint32)  # RUN or NONE
        kind[ord("_")] = RUN if rule == "python" else NONE
    flags = table & np.uint32(CASED | CASE_IGNORABLE)
    return _read_only(lower | flags | kind[lower] << np.uint32(KIND_SHIFT))


@dataclass(frozen=True)
class Composition:
    """What NFC needs to know, Hangul syllables aside.

    table: uint32[CODE_POINTS], as above.
    parts: uint64, first << POINT_BITS | second that a character decomposes to in one step; second may be 0.
    pairs: uint64, ascending, (first << POINT_BITS | second) << POINT_BITS | what the two compose to.
    """

    table: npt.NDArray[np.uint32]
    parts: npt.NDArray[np.uint64]
    pairs: npt.NDArray[np.uint64]


@made_once
def categories() -> npt.NDArray[np.uint8]:
    """The place of each code point's category in CATEGORIES, and SENTENCE_TERMINAL: uint8[CODE_POINTS], read-only."""
    return _read_only(_stored("category"))


@made_once
def composition() -> Composition:
    """The data of NFC: read-only arrays, the same each time."""
    with np.load(DATA) as arrays:
        parts, pairs = _read_only(arrays["parts"]), _read_only(arrays["pairs"])
    return Composition(_read_only(_stored("composition")), parts, pairs)


def _stored(name: str) -> npt.NDArray[Any]:
    with np.load(DATA) as arrays:
        array: npt.NDArray[Any] = arrays[f"{name}_blocks"][arrays[f"{name}_index"]]
    return array.reshape(-1)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array
