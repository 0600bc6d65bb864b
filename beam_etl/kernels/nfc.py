"""NFC, for those texts only that don't have it already: nearly none do in most languages."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.unicode_table import (
    COMBINING_MASK,
    COMPOSES_BACK,
    COMPOSES_ON,
    NEVER_NFC,
    composition_table,
)
from beam_etl.kernels.utf8 import Utf8, ascii_end, byte, decode, large_string, utf8


def nfc(text: pa.Array) -> Utf8:
    """The bytes of each text's NFC form. Where one text needs another form, all are copied to one buffer."""
    text = large_string(text)
    texts = utf8(text)
    rows = not_nfc(texts)
    if not rows.size:
        return texts
    composed = utf8(compose(text, rows))
    begin, end = texts.begin.copy(), texts.end.copy()
    begin[rows] = composed.begin + texts.data.size
    end[rows] = composed.end + texts.data.size
    return Utf8(np.concatenate([texts.data, composed.data]), begin, end)


def compose(text: pa.Array, rows: npt.NDArray[np.int64]) -> pa.Array:
    """The NFC form of some rows.

    It is pyarrow's (utf8proc), whose Unicode version may be newer than unicode_table's. Characters that both
    know compose alike for ever (Unicode's stability policy); others are no part of a word.
    """
    return pc.utf8_normalize(text.take(pa.array(rows)), form="NFC")


def not_nfc(texts: Utf8) -> npt.NDArray[np.int64]:
    """The rows whose text may not be NFC, ascending: int64[k]. None is missing; a few are NFC after all."""
    passed = np.empty(texts.begin.size, np.bool_)
    _check(texts.data, texts.begin, texts.end, composition_table(), passed)
    return np.flatnonzero(~passed)


@compiled
def _check(
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    composition: ReadOnly[np.uint16],
    passed: npt.NDArray[np.bool_],
) -> None:
    for row in range(begin.size):
        passed[row] = _is_nfc(data, begin[row], end[row], composition)


@compiled
def _is_nfc(data: ReadOnly[np.uint8], at: int, end: int, composition: ReadOnly[np.uint16]) -> bool:
    """Unicode's quick check (UAX #15). Its Maybe is a yes where the last starter composes with nothing."""
    starter, before = 0, 0
    while at < end:
        if byte(data, at) < 0x80:
            at = ascii_end(data, at, end)
            if at == end:
                break
            starter = np.int64(composition[byte(data, at - 1)])
            before = 0
        point, width = decode(data, at, end)
        at += width
        here = np.int64(composition[point])
        combining = here & COMBINING_MASK
        if here & NEVER_NFC or 0 < combining < before:
            return False
        if here & COMPOSES_BACK and starter & COMPOSES_ON:
            return False
        if combining == 0:
            starter = here
        before = combining
    return True
