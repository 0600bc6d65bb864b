"""What C4's rules look at: which lines it keeps, why it drops others, and the sentences of those that it keeps.

Raffel et al. 2020, section 2.2, and the code that made the corpus (c4_utils of tensorflow_datasets), whose order of
tests this is. A line is what str.splitlines gives, without the spaces at its ends.
"""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import value
from beam_etl.kernels.characters import DECIMAL, PUNCTUATION, SENTENCE_END, SPACE
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.english import split_english
from beam_etl.kernels.exception_lookup import Exceptions, pair_of
from beam_etl.kernels.line_signals import behind_break, ends_in_stops, line_end, stripped
from beam_etl.kernels.text_tokens import BEGINS, ENDS, KINDS, Text, Tokens

LONGEST_WORD = 1000
"""Characters."""
FEWEST_WORDS = 3

PHRASES = (
    *("lorem ipsum", "javascript"),
    *("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"),
)
"""In any case. The first drops a document, the others a line; from the third on they are called policy phrases."""
LOREM_IPSUM, JAVASCRIPT = 1, 2
"""Their flags, by place in PHRASES; higher ones are the policy phrases."""

NOTES = ("edit]", "citation needed]")
"""Behind a `[`, as any digits and a `]`, they are a reference, which is no part of a line."""

(LONG_WORD, UNPUNCTUATED, FEW_WORDS, LOREM_IPSUM_LINE, JAVASCRIPT_LINE, BRACE_LINE, POLICY_LINE, KEPT) = (
    range(8)
)
"""What becomes of a line, in the order in which it is asked."""
SENTENCES = KEPT + 1
"""The place behind: sentences of kept lines."""

BRACE, BRACKET, CLOSING_BRACKET, BLANK = 0x7B, 0x5B, 0x5D, 0x20
DOT, QUESTION, EXCLAMATION, DOUBLE_QUOTE, SINGLE_QUOTE = 0x2E, 0x3F, 0x21, 0x22, 0x27

_STRINGS = (*PHRASES, *NOTES)
_LETTERS = np.array([*map(ord, "".join(_STRINGS))], np.uint32)
_EDGES = np.cumsum([0, *map(len, _STRINGS)]).astype(np.uint32)
_FIRST_NOTE = len(PHRASES)


def _starts() -> npt.NDArray[np.uint32]:
    """The flags of the phrases that two characters may begin, by pair_of."""
    starts = np.zeros(1 << 14, np.uint32)
    for place, phrase in enumerate(PHRASES):
        for first in (phrase[0], phrase[0].upper()):
            for second in (phrase[1], phrase[1].upper()):
                starts[(ord(first) & 127) << 7 | ord(second) & 127] |= np.uint32(1 << place)
    return starts


_STARTS = _starts()


@compiled
def c4_lines(
    text: Text,
    count: int,
    exceptions: Exceptions,
    tokens: Tokens,
    token_count: int,
    spare: npt.NDArray[np.uint32],
    out: npt.NDArray[np.int64],
    place: int,
) -> None:
    """Writes how many lines have each fate, then the sentences of kept lines. Lines lose their references.

    `tokens` are those of the text. Behind them there is room for one a character of a line.
    """
    points, kinds = text
    for fate in range(SENTENCES + 1):
        out[np.uintp(place + fate)] = 0
    at = token = 0
    while at < count:
        end = line_end(kinds, at, count)
        first, last = stripped(kinds, at, end)
        at = behind_break(points, end, count)
        while token < token_count and value(tokens[BEGINS], token) < first:
            token += 1
        if is_unpunctuated(points, first, last):
            out[np.uintp(place + UNPUNCTUATED)] += 1
            continue
        words, longest, brackets = words_of(points, kinds, first, last)
        clean = without_references(points, kinds, first, last) if brackets > 0 else last
        cleaned = clean < last
        last = clean
        fate = fate_of(points, first, last, words, longest)
        out[np.uintp(place + fate)] += 1
        if fate != KEPT:
            continue
        if cleaned:
            begin = token_count
            stop = split_english(text, first, last, exceptions, tokens, begin, spare)
        else:
            begin = stop = token
            while stop < token_count and value(tokens[BEGINS], stop) < last:
                stop += 1
        out[np.uintp(place + SENTENCES)] += sentences(points, first, tokens, begin, stop)


@compiled
def is_unpunctuated(points: ReadOnly[np.uint32], first: int, last: int) -> bool:
    """Whether a line is so, at a look: it has no room for a long word, and its end is no mark and no reference."""
    end = value(points, last - 1) if first < last else 0
    return last - first <= LONGEST_WORD and end != CLOSING_BRACKET and not is_end_mark(end)


@compiled
def is_end_mark(point: int) -> bool:
    """Whether a line that is kept may end in it."""
    return point in (DOT, QUESTION, EXCLAMATION, DOUBLE_QUOTE, SINGLE_QUOTE)


@compiled
def words_of(
    points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], first: int, last: int
) -> tuple[int, int, int]:
    """Runs without spaces, the characters of the longest one, and how many characters are `[`."""
    words = longest = length = brackets = 0
    for at in range(first, last):
        brackets += value(points, at) == BRACKET
        if value(kinds, at) & SPACE:
            length = 0
        else:
            words += length == 0
            length += 1
            longest = max(longest, length)
    return words, longest, brackets


@compiled
def without_references(
    points: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint32], first: int, last: int
) -> int:
    """Takes the references out of a range. Returns its new end."""
    to = first
    while first < last:
        if value(points, first) == BRACKET:
            length = reference_length(points, kinds, first, last)
            if length > 0:
                first += length
                continue
        points[np.uintp(to)] = points[np.uintp(first)]
        kinds[np.uintp(to)] = kinds[np.uintp(first)]
        first += 1
        to += 1
    return to


@compiled
def reference_length(points: ReadOnly[np.uint32], kinds: ReadOnly[np.uint32], at: int, last: int) -> int:
    """Characters of the reference that the `[` at a place begins; 0 if it begins none."""
    end = at + 1
    while end < last and value(kinds, end) & DECIMAL:
        end += 1
    if end < last and value(points, end) == CLOSING_BRACKET:
        return end + 1 - at
    for note in range(_FIRST_NOTE, _EDGES.size - 1):
        length = value(_EDGES, note + 1) - value(_EDGES, note)
        if at + 1 + length <= last and is_phrase(points, at + 1, note, False):
            return 1 + length
    return 0


@compiled
def is_phrase(points: ReadOnly[np.uint32], at: int, phrase: int, any_case: bool) -> bool:
    """Whether the characters from a place on are a phrase or a note, which ends within the array."""
    begin = value(_EDGES, phrase)
    for step in range(value(_EDGES, phrase + 1) - begin):
        point = value(points, at + step)
        if any_case and 0x41 <= point <= 0x5A:
            point |= 0x20
        if point != value(_LETTERS, begin + step):
            return False
    return True


@compiled
def fate_of(points: ReadOnly[np.uint32], first: int, last: int, words: int, longest: int) -> int:
    """What becomes of a line whose references are cut; `words` and `longest` are those of the line before that."""
    if longest > LONGEST_WORD:
        return LONG_WORD
    end = value(points, last - 1) if first < last else 0
    if not is_end_mark(end) or ends_in_stops(points, first, last):
        return UNPUNCTUATED
    if words < FEWEST_WORDS:
        return FEW_WORDS
    phrases, braces = phrases_in(points, first, last)
    if phrases & LOREM_IPSUM:
        return LOREM_IPSUM_LINE
    if phrases & JAVASCRIPT:
        return JAVASCRIPT_LINE
    if braces > 0:
        return BRACE_LINE
    return POLICY_LINE if phrases else KEPT


@compiled
def phrases_in(points: ReadOnly[np.uint32], first: int, last: int) -> tuple[int, int]:
    """The flags of the phrases that a range has, and how many characters are `{`."""
    found = braces = 0
    for at in range(first, last):
        braces += value(points, at) == BRACE
        begun = value(_STARTS, pair_of(value(points, at), value(points, at + 1))) if at + 1 < last else 0
        phrase = 0
        while begun:
            length = value(_EDGES, phrase + 1) - value(_EDGES, phrase)
            if begun & 1 and at + length <= last and is_phrase(points, at, phrase, True):
                found |= 1 << phrase
            begun >>= 1
            phrase += 1
    return found, braces


@compiled
def sentences(points: ReadOnly[np.uint32], first: int, tokens: Tokens, begin: int, end: int) -> int:
    """Sentences of a range whose tokens are those from `begin` up to `end`.

    One ends behind a mark such as a full stop and other punctuation that follows it. More than one blank between two
    tokens, or another space, is a token too: what follows it is a sentence of its own.
    """
    found, ended, behind = 1, False, first
    for token in range(begin, end):
        space = value(tokens[BEGINS], token) - behind
        if ended and (space > 1 or (space == 1 and value(points, behind) != BLANK)):
            found += 1
            ended = False
        kind = value(tokens[KINDS], token)
        if kind & SENTENCE_END:
            ended = True
        elif ended and not kind & PUNCTUATION:
            found += 1
            ended = False
        behind = value(tokens[ENDS], token)
    return found
