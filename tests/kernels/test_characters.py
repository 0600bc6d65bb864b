"""Classes of characters against what this Python says of them, for characters that it knows too."""

import re
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest
import regex

from beam_etl.kernels import characters
from beam_etl.kernels.unicode_table import CATEGORIES, CATEGORY_MASK, categories
from tests import signal_oracle

CHANGED = 0x1734
"""Python 3.10 has another category for it: Unicode 14 made it a spacing mark."""
KNOWN = [
    chr(point)
    for point in np.flatnonzero(categories() & CATEGORY_MASK).tolist()
    if unicodedata.category(chr(point)) not in ("Cn", "Cs") and point != CHANGED
]

CLASSES: dict[str, Callable[[str], bool]] = {
    "SPACE": str.isspace,
    "LINE_BREAK": lambda character: len(f"a{character}b".splitlines()) == 2,
    "LETTER": str.isalpha,
    "DIGIT": lambda character: character in "0123456789",
    "DECIMAL": str.isdecimal,
    "WORD": lambda character: re.fullmatch(r"\w", character) is not None,
    "PUNCTUATION": lambda character: unicodedata.category(character).startswith("P"),
    "ICON": lambda character: unicodedata.category(character) == "So",
    "SYMBOL": signal_oracle.symbol,
    "TERMINAL": signal_oracle.terminal,
    "CURRENCY": lambda character: regex.fullmatch("[$£¥฿﷼\u20a0-\u20bf]", character) is not None,
    "HOST": lambda character: regex.fullmatch("[A-Za-z0-9\u00a1-\uffff]", character) is not None,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_the_characters_that_python_puts_in_it(name: str) -> None:
    flags = characters.character_table()[[*map(ord, KNOWN)]] & getattr(characters, name)
    expected = [CLASSES[name](character) for character in KNOWN]
    wrong = np.flatnonzero((flags != 0) != expected)
    assert [KNOWN[place] for place in wrong] == []


def test_categories_are_those_of_python() -> None:
    stored = categories() & CATEGORY_MASK
    assert all(CATEGORIES[stored[ord(character)]] == unicodedata.category(character) for character in KNOWN)


def test_what_is_neither_case_is_in_both_and_marks_belong_to_words() -> None:
    table, cases = characters.character_table(), characters.LOWER | characters.UPPER
    expected = {
        "a": characters.LOWER,
        "É": characters.UPPER,
        "中": cases,
        "\u093e": cases,
        "\u0301": 0,
        "º": 0,
        "1": 0,
    }
    assert {letter: int(table[ord(letter)]) & cases for letter in expected} == expected
