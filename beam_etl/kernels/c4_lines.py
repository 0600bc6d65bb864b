"""Texts without the lines that C4 drops, but for its rule about the last mark of a line.

Raffel et al. 2020, section 2.2, in the order of FineWeb's code: a line without the spaces at its ends goes where it has
a word over LONGEST_WORD, fewer than FEWEST_WORDS words, or a phrase of scripts and policies. References in brackets go
from the others. A document goes where a line that would stay has a brace or `lorem ipsum`, or where no line stays.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.c4 import BRACE, FEWEST_WORDS, LONGEST_WORD, PHRASES
from beam_etl.kernels.filtering import Filtered, removals_of, text_of
from beam_etl.kernels.utf8 import SPACE, large_string

DROPPED_LINES = "dropped_lines"
"""int32: how many lines of a text were dropped, but for empty ones."""

REASON = "c4_lines"

_BREAK = r"\r\n|[\n\r\v\f\x1c-\x1e\x{85}\x{2028}\x{2029}]"
"""What str.splitlines cuts at."""

_SPACES = f"[{SPACE}]+"
_ENOUGH = _SPACES.join([f"[^{SPACE}]+"] * FEWEST_WORDS)
_REFERENCE = r"\[\p{Nd}*\]|\[edit\]|\[citation needed\]"
_LOREM_IPSUM, _JAVASCRIPT, *_POLICIES = PHRASES
_POLICY = "|".join(_POLICIES)


def keep_lines(batch: pa.RecordBatch, id: str = schema.ID) -> Filtered:
    """The documents with the lines that stay, and DROPPED_LINES. A null text is kept as it is.

    Args:
      batch: documents with text.
      id: the column that names documents.

    Returns:
      The documents, and schema.QUALITY_REMOVAL of those that go: `c4_lines`, with what was found.

    Raises:
      KeyError: there is no text. The message names the columns there are.
    """
    text, rows = large_string(text_of(batch)), batch.num_rows
    split = pc.split_pattern_regex(text, _BREAK)
    document = pc.list_parent_indices(split).to_numpy()
    line = pc.utf8_trim_whitespace(pc.list_flatten(split))
    stays = pc.and_not(pc.match_substring_regex(line, _ENOUGH), _has_long_word(line))
    line = pc.replace_substring_regex(line, _REFERENCE, "")
    lorem = pc.and_(stays, pc.match_substring(line, _LOREM_IPSUM, ignore_case=True))
    stays = pc.and_not(stays, pc.match_substring(line, _JAVASCRIPT, ignore_case=True))
    brace = pc.and_(stays, pc.match_substring(line, chr(BRACE)))
    stays = pc.and_not(stays, pc.match_substring_regex(line, _POLICY, ignore_case=True))
    filled = pc.not_equal(line, "")
    kept = _count(document, stays, rows)
    dropped = _count(document, filled, rows) - _count(document, pc.and_(stays, filled), rows)
    joined = _joined(line.filter(stays), kept)
    why = _why(_count(document, lorem, rows) > 0, _count(document, brace, rows) > 0, kept == 0)
    fails = pc.and_(pc.is_valid(text), pc.is_valid(why))
    made = _with(batch, pc.if_else(pc.is_valid(text), joined, text), dropped)
    return Filtered(made.filter(pc.invert(fails)), _removals(batch.filter(fails), why.filter(fails), id))


def _has_long_word(line: pa.Array) -> pa.Array:
    """bool[lines]. Most lines are shorter than such a word. (To search for one takes RE2 20 s a MB of Chinese.)"""
    long = pc.greater(pc.binary_length(line), LONGEST_WORD)
    words = pc.split_pattern_regex(line.filter(long), _SPACES)
    of_line = pc.list_parent_indices(words).to_numpy()
    found = _count(of_line, pc.greater(pc.utf8_length(pc.list_flatten(words)), LONGEST_WORD), len(words)) > 0
    return pc.replace_with_mask(long, long, pa.array(found))


def _count(document: np.ndarray, flags: pa.Array, rows: int) -> np.ndarray:
    """int64[rows]: lines of each document for which a flag is true."""
    return np.bincount(document[flags.to_numpy(zero_copy_only=False)], minlength=rows)


def _joined(lines: pa.Array, counts: np.ndarray) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(counts)])
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), lines)
    return pc.binary_join(lists, pa.scalar("\n", lines.type))


def _why(lorem: np.ndarray, brace: np.ndarray, none: np.ndarray) -> pa.Array:
    """string[rows]: what a document goes for; null where it stays."""
    told = np.select([lorem, brace, none], ["lorem ipsum", "a brace", "no line stays"], "")
    return pa.array(told.tolist(), pa.string(), mask=told == "")


def _with(batch: pa.RecordBatch, text: pa.Array, dropped: np.ndarray) -> pa.RecordBatch:
    place = batch.schema.get_field_index(schema.TEXT)
    field = batch.schema.field(place)
    batch = batch.set_column(place, field, text.cast(field.type))
    if DROPPED_LINES in batch.schema.names:
        batch = batch.drop_columns([DROPPED_LINES])
    return batch.append_column(DROPPED_LINES, pa.array(dropped, pa.int32()))


def _removals(removed: pa.RecordBatch, why: pa.Array, id: str) -> pa.RecordBatch:
    failed = [[REASON]] * removed.num_rows
    reasons = [[f"{REASON}: {one}"] for one in why.to_pylist()]
    told = pa.RecordBatch.from_arrays(
        [
            pa.array(failed, pa.list_(pa.string())),
            pa.array(reasons, pa.list_(pa.string())),
        ],
        schema=schema.QUALITY_FAILURES,
    )
    return removals_of(removed, told, REASON, id)
