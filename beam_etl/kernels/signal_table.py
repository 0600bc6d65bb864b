"""Every signal of a document: its name, unit, definition and source. docs/signals.md is made from it."""

from typing import NamedTuple

import pyarrow as pa

from beam_etl.kernels.c4 import FEWEST_WORDS, LONGEST_WORD, PHRASES
from beam_etl.kernels.line_signals import SHORT_LINE
from beam_etl.kernels.repetition import DUPLICATE, TOP
from beam_etl.kernels.token_signals import STOP_WORDS

GOPHER = "Rae et al. 2021, appendix A.1"
FINEWEB = "Penedo et al. 2024, section 3.6"
C4 = "Raffel et al. 2020, section 2.2"


class Signal(NamedTuple):
    """A number that is counted in each document's text. All are counts, so that sums over documents are exact."""

    name: str
    type: pa.DataType
    unit: str
    definition: str
    source: str


def _counted(source: str, *rows: tuple[str, str, str]) -> tuple[Signal, ...]:
    return tuple(Signal(name, pa.int64(), unit, definition, source) for name, unit, definition in rows)


_policies = ", ".join(f"`{phrase}`" for phrase in PHRASES[2:])

SIGNALS: tuple[Signal, ...] = (
    *_counted(
        "",
        ("bytes", "bytes", "The text in UTF-8"),
        ("characters", "characters", "Code points of the text"),
        ("line_characters", "characters", "Code points that are no new line"),
        ("new_lines", "characters", "New lines (U+000A)"),
    ),
    *_counted(
        GOPHER,
        ("tokens", "tokens", "Words and punctuation marks by the rules for English"),
        ("words", "tokens", "Tokens with a character that is no symbol"),
        ("word_characters", "characters", "Characters of `words`"),
        ("letter_tokens", "tokens", "Tokens with a letter"),
        ("stop_words", "words", f"How many of these are tokens, in lower case: {', '.join(STOP_WORDS)}"),
        ("hash_signs", "characters", "`#` in the text"),
        ("ellipses", "ellipses", "`…` in the text, and `...` without overlap"),
        ("lines", "lines", "Lines as Python's str.splitlines cuts them"),
        ("bullet_lines", "lines", "`lines` that begin with `•` or `-`, spaces aside"),
        ("ellipsis_lines", "lines", "`lines` that end in `...` or `…`, spaces aside"),
        ("cut_lines", "pieces", "The text cut at each run of new lines; a first or last piece may be empty"),
        ("duplicate_lines", "pieces", "`cut_lines` that are equal to an earlier one"),
        ("duplicate_line_characters", "characters", "Characters of `duplicate_lines`"),
    ),
    *_counted(
        FINEWEB,
        ("filled_lines", "pieces", "`cut_lines` that have more than spaces"),
        (
            "punctuated_lines",
            "pieces",
            "`filled_lines` whose last character ends sentences in some script",
        ),
        ("short_lines", "pieces", f"`filled_lines` of at most {SHORT_LINE} characters"),
        (
            "duplicate_filled_line_characters",
            "characters",
            "Characters of `filled_lines` that are equal to an earlier one",
        ),
    ),
    *_counted(
        GOPHER,
        (
            "paragraphs",
            "pieces",
            "The text without spaces at its ends, cut at each run of two new lines or more",
        ),
        ("duplicate_paragraphs", "pieces", "`paragraphs` that are equal to an earlier one"),
        ("duplicate_paragraph_characters", "characters", "Characters of `duplicate_paragraphs`"),
        *(
            (
                f"top_{n}gram_characters",
                "characters",
                f"Characters of the most frequent run of {n} tokens, with a space between two, times its occurrences",
            )
            for n in range(TOP[0], TOP[1] + 1)
        ),
        *(
            (
                f"duplicate_{n}gram_characters",
                "characters",
                f"Characters of runs of {n} tokens that occurred before, from the left, without overlap",
            )
            for n in range(DUPLICATE[0], DUPLICATE[1] + 1)
        ),
    ),
    *_counted(
        C4,
        (
            "c4_long_word_lines",
            "lines",
            f"`lines` with a word of more than {LONGEST_WORD} characters, spaces being all that parts words",
        ),
        (
            "c4_unpunctuated_lines",
            "lines",
            "Of the others, those that don't end in `.`, `?`, `!`, `\"` or `'`, or do in `...`",
        ),
        (
            "c4_short_lines",
            "lines",
            f"Of the others, those of fewer than {FEWEST_WORDS} such words",
        ),
        ("c4_lorem_ipsum_lines", "lines", f"Of the others, those with `{PHRASES[0]}`, in any case"),
        ("c4_javascript_lines", "lines", f"Of the others, those with `{PHRASES[1]}`, in any case"),
        ("c4_brace_lines", "lines", "Of the others, those with `{`"),
        ("c4_policy_lines", "lines", f"Of the others, those with one of {_policies}, in any case"),
        ("c4_kept_lines", "lines", "The others"),
        ("c4_sentences", "sentences", "Sentences of `c4_kept_lines`"),
    ),
)
"""In the order of the columns that signals.signals gives."""

SIGNAL_SCHEMA = pa.schema([pa.field(signal.name, signal.type) for signal in SIGNALS])


def place_of(name: str) -> int:
    """The column of a signal."""
    return int(SIGNAL_SCHEMA.get_field_index(name))
