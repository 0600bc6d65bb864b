"""All signals of each document of a batch, in native code over the bytes of its text."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.c4 import c4_lines
from beam_etl.kernels.characters import character_table
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.english import split_english
from beam_etl.kernels.exception_lookup import Exceptions
from beam_etl.kernels.exception_table import exception_table
from beam_etl.kernels.groups import Groups, make_groups
from beam_etl.kernels.line_signals import cut_lines, line_marks, new_lines, paragraphs
from beam_etl.kernels.repetition import PLACE_HASHES, Places, repetition
from beam_etl.kernels.signal_table import SIGNAL_SCHEMA, SIGNALS, place_of
from beam_etl.kernels.text_tokens import Text, Tokens, hash_points, read_characters
from beam_etl.kernels.token_signals import STOP_WORDS, symbol_signals, word_signals
from beam_etl.kernels.utf8 import utf8

LONGEST_TEXT = 1 << 31
"""Bytes: places in a text are numbers of 32 bits."""

_WIDTH = len(SIGNALS)
_BYTES, _CHARACTERS, _LINE_CHARACTERS, _NEW_LINES = map(
    place_of, ("bytes", "characters", "line_characters", "new_lines")
)
_TOKENS, _SYMBOLS, _LINES, _CUT_LINES = map(place_of, ("tokens", "hash_signs", "lines", "cut_lines"))
_PARAGRAPHS, _TOP = map(place_of, ("paragraphs", "top_2gram_characters"))
_DUPLICATE, _C4 = map(place_of, ("duplicate_5gram_characters", "c4_long_word_lines"))


def signals(text: pa.Array) -> pa.RecordBatch:
    """The signals of each text.

    Args:
      text: any kind of string array.

    Returns:
      SIGNAL_SCHEMA, a row a text. A null has nulls.

    Raises:
      TypeError: text is of another type.
      ValueError: a text has 2 GiB or more.

    Source: docs/signals.md.
    """
    texts = utf8(text)
    sizes = texts.end - texts.begin
    longest = int(sizes.max()) if sizes.size else 0
    if longest >= LONGEST_TEXT:
        raise ValueError(f"a text has {longest} bytes; signals are made of less than {LONGEST_TEXT}")
    out = np.empty(sizes.size * _WIDTH, np.int64)
    _signals(
        texts.data,
        texts.begin,
        texts.end,
        character_table(),
        exception_table(),
        _stop_words(),
        *_room(longest),
        out,
    )
    mask = np.asarray(text.is_null()) if text.null_count else None
    columns = [pa.array(np.ascontiguousarray(column), mask=mask) for column in out.reshape(-1, _WIDTH).T]
    return pa.RecordBatch.from_arrays(columns, schema=SIGNAL_SCHEMA)


def _room(longest: int) -> tuple[Text, Tokens, npt.NDArray[np.uint32], Places, Groups]:
    """Arrays for one text of up to `longest` bytes: characters, their flags, tokens; spare numbers; n-grams.

    A character takes 8 bytes, a token 44. What isn't used costs nothing: the system gives a page when it is first
    written to. Tokens have twice the room, for C4's lines without references.
    """
    points, kinds, spare = (np.empty(longest, np.uint32) for _ in range(3))
    begins, ends, flags = (np.empty(2 * longest, np.uint32) for _ in range(3))
    most = longest + 1  # lines are one more than new lines
    return (
        (points, kinds),
        (begins, ends, flags, np.empty(2 * longest, np.uint64)),
        spare,
        (np.empty(most, np.uint32), np.empty(most, np.uint64), np.empty(most, np.uint32)),
        make_groups(most),
    )


@cache
def _stop_words() -> npt.NDArray[np.uint64]:
    hashes = [hash_points(np.array([*map(ord, word)], np.uint32), 0, len(word)) for word in STOP_WORDS]
    return np.array(hashes, np.uint64)


@compiled
def _signals(  # noqa: PLR0913
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    table: ReadOnly[np.uint32],
    exceptions: Exceptions,
    stop_words: ReadOnly[np.uint64],
    text: Text,
    tokens: Tokens,
    spare: npt.NDArray[np.uint32],
    places: Places,
    groups: Groups,
    out: npt.NDArray[np.int64],
) -> None:
    points, kinds = text
    for row in range(begin.size):
        at = row * _WIDTH
        count = read_characters(data, begin[row], end[row], table, points, kinds)
        lines = new_lines(points, count)
        out[at + _BYTES] = end[row] - begin[row]
        out[at + _CHARACTERS] = count
        out[at + _LINE_CHARACTERS] = count - lines
        out[at + _NEW_LINES] = lines
        token_count = split_english(text, 0, count, exceptions, tokens, 0, spare)
        word_signals(tokens, token_count, stop_words, out, at + _TOKENS)
        symbol_signals(points, count, out, at + _SYMBOLS)
        line_marks(points, kinds, count, out, at + _LINES)
        cut_lines(text, count, lines + 1, places[PLACE_HASHES], groups, out, at + _CUT_LINES)
        paragraphs(text, count, lines + 1, places[PLACE_HASHES], groups, out, at + _PARAGRAPHS)
        repetition(tokens, token_count, places, groups, out, at + _TOP, at + _DUPLICATE)
        c4_lines(text, count, exceptions, tokens, token_count, spare, out, at + _C4)
