"""What each word adds to a text, by a model of fastText: the sum of its own row and those of its n-grams.

A word's sum is made once and kept in a table of words met lately. It is made in one way: nothing depends on what the
table holds.

Source: fastText's code, for n-grams, their hashes, and what counts as a label (Dictionary::computeSubwords,
Dictionary::hash, Dictionary::getType).
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.fasttext_model import BUCKETS, WIDTH, FastTextModel
from beam_etl.kernels.hash_set import place_in
from beam_etl.kernels.utf8 import byte, trails
from beam_etl.kernels.word_hash import eight, mix, up_to_eight, word_hash

KEPT_WORDS: Final = 1 << 15
"""Places of the table, 100 bytes each. A word has one, and puts out the one that is there. With twice as many, fewer
words of a crawl are missed, and it takes as long."""

KEY: Final = 4
LONGEST_KEPT: Final = 8 * KEY
"""Bytes, in numbers of 64 bits. A longer word, as text without spaces is one, is made each time it comes."""

Rows: TypeAlias = tuple[
    npt.NDArray[np.float32],
    npt.NDArray[np.uint16],
    npt.NDArray[np.uint64],
    npt.NDArray[np.int32],
    npt.NDArray[np.uint8],
    npt.NDArray[np.int64],
]
"""The rows of words and n-grams; of each bucket, 0 or the number of its n-gram from 1 on; the hashes of the words,
ascending; of each hash, its word; the words' letters, on end; where each begins."""

Kept: TypeAlias = tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32], npt.NDArray[np.int32]]
"""The table: a word's bytes, filled up with zeros, which no word has; the sum of its rows; how many they are. One place
more, for what isn't kept."""

_FIRST_HASH: Final = 2_166_136_261
_PRIME: Final = 16_777_619
_32_BITS: Final = 0xFFFF_FFFF
_SIGN: Final = 0xFFFF_FF00
_BEGIN, _END = ord("<"), ord(">")
_LABEL_KEY, _LABEL_END = np.uint64(int.from_bytes(b"__label_", "little")), ord("_")


def rows_of(model: FastTextModel) -> Rows:
    """The rows of a model, and where they are: 4 MB beside them."""
    buckets = np.zeros(BUCKETS, np.uint16)
    buckets[model.buckets] = np.arange(1, model.buckets.size + 1)
    letters = np.frombuffer(b"".join(model.words), np.uint8).copy()
    begins = np.cumsum([0, *map(len, model.words)], dtype=np.int64)
    hashes = np.empty(len(model.words), np.uint64)
    _hash_words(letters, begins, hashes)
    order = np.argsort(hashes).astype(np.int32)
    return model.rows.reshape(-1), buckets, hashes[order], order, letters, begins


def no_words() -> Kept:
    """A table that holds none."""
    return (
        np.zeros(KEPT_WORDS * KEY, np.uint64),
        np.zeros((KEPT_WORDS + 1) * WIDTH, np.float32),
        np.zeros(KEPT_WORDS + 1, np.int32),
    )


@compiled
def _hash_words(
    letters: ReadOnly[np.uint8], begins: ReadOnly[np.int64], hashes: npt.NDArray[np.uint64]
) -> None:
    for word in range(hashes.size):
        hashes[word] = word_hash(letters, begins[word], begins[word + 1])


@compiled
def place_of(
    letters: ReadOnly[np.uint8], begin: int, end: int, keys: npt.NDArray[np.uint64]
) -> tuple[int, bool]:
    """The place of a word in the table, and whether it was there. If not, it is now, and its sum has to be made."""
    size = end - begin
    if size > LONGEST_KEPT:
        return KEPT_WORDS, False
    nothing = np.uint64(0)
    first, second, third, fourth = up_to_eight(letters, begin, min(begin + 8, end)), nothing, nothing, nothing
    key = mix(first)
    if size > 8:
        second = up_to_eight(letters, begin + 8, min(begin + 16, end))
        key = mix(key ^ second)
        if size > 16:
            third = up_to_eight(letters, begin + 16, min(begin + 24, end))
            if size > 24:
                fourth = up_to_eight(letters, begin + 24, end)
            key = mix(mix(key ^ third) ^ fourth)
    place = int(key & np.uint64(KEPT_WORDS - 1))
    at = place * KEY
    known = (
        keys[np.uintp(at)] == first
        and keys[np.uintp(at + 1)] == second
        and keys[np.uintp(at + 2)] == third
        and keys[np.uintp(at + 3)] == fourth
    )
    if not known:
        keys[np.uintp(at)], keys[np.uintp(at + 1)] = first, second
        keys[np.uintp(at + 2)], keys[np.uintp(at + 3)] = third, fourth
    return place, known


@compiled
def add_row(rows: npt.NDArray[np.float32], row: int, total: npt.NDArray[np.float32], place: int) -> None:
    """Adds one of some rows to one of others."""
    for step in range(WIDTH):
        total[np.uintp(place * WIDTH + step)] += rows[np.uintp(row * WIDTH + step)]


@compiled
def add_up(
    letters: ReadOnly[np.uint8],
    begin: int,
    end: int,
    rows: Rows,
    sums: npt.NDArray[np.float32],
    place: int,
) -> int:
    """Writes the sum of a word's rows to a place of the table. Returns how many they are; a label has none."""
    for step in range(WIDTH):
        sums[np.uintp(place * WIDTH + step)] = 0.0
    if _is_label(letters, begin, end):
        return 0
    matrix, buckets, hashes = rows[0], rows[1], rows[2]
    count = 0
    word = _known_word(letters, begin, end, rows)
    if word >= 0:
        add_row(matrix, word, sums, place)
        count = 1
    # Hashes of the last one, two, three and four characters. The marks of a word's begin and end are characters.
    one, two, three, four = _absorb(_FIRST_HASH, _BEGIN), 0, 0, 0
    characters, at = 1, begin
    while at <= end:
        one, two, three, four = _FIRST_HASH, one, two, three
        more = True
        while more:
            letter = byte(letters, at) if at < end else _END
            one, two = _absorb(one, letter), _absorb(two, letter)
            three, four = _absorb(three, letter), _absorb(four, letter)
            at += 1
            more = at < end and trails(letters, at)
        characters += 1
        count += _add_ngram(two, matrix, buckets, hashes.size, sums, place)
        if characters > 2:
            count += _add_ngram(three, matrix, buckets, hashes.size, sums, place)
        if characters > 3:
            count += _add_ngram(four, matrix, buckets, hashes.size, sums, place)
    return count


@compiled
def _add_ngram(
    key: int,
    matrix: npt.NDArray[np.float32],
    buckets: npt.NDArray[np.uint16],
    words: int,
    sums: npt.NDArray[np.float32],
    place: int,
) -> int:
    """Adds the row of an n-gram by its hash, if it has one, and returns how many it has."""
    ngram = int(buckets[np.uintp(np.uint64(key) % np.uint64(BUCKETS))])
    if ngram == 0:
        return 0
    add_row(matrix, words + ngram - 1, sums, place)
    return 1


@compiled
def _absorb(key: int, letter: int) -> int:
    """32-bit FNV-1a with one more byte, which fastText takes for a signed number."""
    return ((key ^ (letter | (letter >> 7) * _SIGN)) * _PRIME) & _32_BITS


@compiled
def _is_label(letters: ReadOnly[np.uint8], begin: int, end: int) -> bool:
    """Whether a word begins as labels do in what fastText learns from."""
    return end - begin > 8 and eight(letters, begin) == _LABEL_KEY and byte(letters, begin + 8) == _LABEL_END


@compiled
def _known_word(letters: ReadOnly[np.uint8], begin: int, end: int, rows: Rows) -> int:
    """The number of a word of the model, or -1."""
    _, _, hashes, words, known_letters, begins = rows
    found = place_in(hashes, word_hash(letters, begin, end))
    if found < 0:
        return -1
    word = int(words[np.uintp(found)])
    first = begins[np.uintp(word)]
    if begins[np.uintp(word + 1)] - first != end - begin:
        return -1
    for step in range(end - begin):
        if letters[np.uintp(begin + step)] != known_letters[np.uintp(first + step)]:
            return -1
    return word
