"""The hash table of exceptions and units that `english` looks words up in."""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.characters import character_table
from beam_etl.kernels.english import split_english
from beam_etl.kernels.exception_lookup import (
    SHAPE_COUNT,
    UNIT_SALT,
    Exceptions,
    begin_shape,
    end_shape,
    joined_key,
    pair_of,
)
from beam_etl.kernels.process import made_once
from beam_etl.kernels.text_tokens import CUT_BITS, hash_points
from beam_etl.kernels.word_exceptions import exceptions

SLOTS = 1 << 12
"""More than twice as many as there are entries."""

_PAIRS = 1 << 14

UNITS = """
km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa mbar mb
MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа Па мбар Кб КБ
кб Мб МБ мб Гб ГБ гб Тб ТБ тб كم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ غرام جرام جم كغ ملغ كوب اكواب
"""
"""Cut from the digits before them."""


@made_once
def exception_table() -> Exceptions:
    """The table: built once a process, in some milliseconds. Not to be written to.

    keys: uint64[SLOTS], the hash of an exception, of a unit, or of an exception as the tokens that it would be without
      being one; 0 in a free slot. An entry stands in the first free slot from that of its hash's low bits on.
    cuts: uint32[SLOTS], the lengths of its tokens.
    shapes: uint32[SHAPE_COUNT], a bit for each length of the exceptions that begin with a character, or end with it.
    pairs: uint8[2^14], 1 for the begins of two tokens that may be the first ones of such an exception.
    """
    shapes, pairs = np.zeros(SHAPE_COUNT, np.uint32), np.zeros(_PAIRS, np.uint8)
    table = np.zeros(SLOTS, np.uint64), np.zeros(SLOTS, np.uint32), shapes, pairs
    for unit in UNITS.split():
        _insert(table, _hash(unit) ^ UNIT_SALT, (len(unit),))
    joined = {text: _tokens(text, table) for text in exceptions()}
    for text, lengths in exceptions().items():
        _insert(table, _hash(text), lengths)
        shapes[[begin_shape(ord(text[0])), end_shape(ord(text[-1]))]] |= np.uint32(1 << len(text))
        tokens = joined[text]
        if len(tokens) > 1 and len(tokens) >= len(lengths):
            boundaries = np.uint64(0)
            for length in tokens:
                boundaries = boundaries << np.uint64(CUT_BITS) | np.uint64(length)
            _insert(table, joined_key(_hash(text), boundaries), lengths)
            pairs[pair_of(ord(text[0]), ord(text[tokens[0]]))] = 1
    return table


def _tokens(text: str, table: Exceptions) -> list[int]:
    """The lengths of the tokens that a run is cut into."""
    points = _points(text)
    room = len(text)
    begins, ends, flags, spare = (np.empty(room, np.uint32) for _ in range(4))
    tokens = begins, ends, flags, np.empty(room, np.uint64)
    count = split_english((points, character_table()[points]), 0, room, table, tokens, 0, spare)
    return [int(end - begin) for begin, end in zip(begins[:count], ends[:count], strict=True)]


def _insert(table: Exceptions, key: np.uint64, lengths: tuple[int, ...]) -> None:
    keys, cuts, *_ = table
    slot = int(key) & SLOTS - 1
    while keys[slot] != 0:
        slot = slot + 1 & SLOTS - 1
    keys[slot] = key
    cuts[slot] = sum(length << CUT_BITS * place for place, length in enumerate(lengths))


def _hash(text: str) -> np.uint64:
    return np.uint64(hash_points(_points(text), 0, len(text)))


def _points(text: str) -> npt.NDArray[np.uint32]:
    return np.array([*map(ord, text)], np.uint32)
