"""NFC against this interpreter's unicodedata, about characters that it and the table know."""

import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.nfc import compose, nfc, not_nfc
from beam_etl.kernels.utf8 import Utf8, utf8

KNOWN = [
    chr(point)
    for point in range(0x110000)
    if unicodedata.category(chr(point)) not in ("Cn", "Cs", "Co") and not 0x2EBF0 <= point < 0x2EE5E
]
"""But not CJK Extension I, which Python 3.13 knows and the table does not, nor private use."""
MARKS = [character for character in KNOWN if unicodedata.combining(character)]
DECOMPOSING = [character for character in KNOWN if unicodedata.normalize("NFD", character) != character]
COMPOSING = sorted({part for whole in DECOMPOSING for part in unicodedata.normalize("NFD", whole)})


def texts_of(texts: Utf8) -> list[str]:
    data = texts.data.tobytes()
    return [data[begin:end].decode() for begin, end in zip(texts.begin, texts.end, strict=True)]


def expected(texts: list[str]) -> list[str]:
    return [unicodedata.normalize("NFC", text) for text in texts]


PAIRS = {
    "one character": KNOWN,
    "a letter and any mark": [letter + mark for letter in "aADsqक가\u1100=" for mark in MARKS],
    "what decomposes, and a mark": [
        character + mark for character in DECOMPOSING for mark in "\u0323\u0301\u0338\u0345\u05b0\u3099\u11a8"
    ],
    "two parts": [first + second for first in COMPOSING[::5] for second in COMPOSING[::3]],
    "two marks": [f"a{first}{second}e" for first in MARKS[::9] for second in MARKS[::7]],
}


@pytest.mark.parametrize("texts", PAIRS.values(), ids=PAIRS)
def test_every_character_with_its_neighbours(texts: list[str]) -> None:
    array = utf8(pa.array(texts))
    assert texts_of(nfc(array)) == expected(texts)
    assert texts_of(compose(array, np.arange(len(texts)))) == expected(texts)


@given(
    st.lists(st.text(st.sampled_from(COMPOSING + DECOMPOSING[::40]) | st.sampled_from("aeo 가,")), max_size=5)
)
def test_any_texts(texts: list[str]) -> None:
    assert texts_of(nfc(utf8(pa.array(texts, pa.string())))) == expected(texts)


@pytest.mark.parametrize("times", [3, 300_000])
def test_a_long_run_of_marks_in_disorder(times: int) -> None:
    """Ends, because the work doesn't grow with the square of the length (as unicodedata's does)."""
    text = "a" + "\u0301\u0323\u0327" * times
    composed = "\u1ea1" + "\u0327" * times + "\u0323" * (times - 1) + "\u0301" * times
    assert times > 3 or expected([text]) == [composed]
    assert texts_of(nfc(utf8(pa.array([text])))) == [composed]


def test_bytes_that_are_no_utf8_are_replaced_in_a_text_that_is_composed() -> None:
    rows = pa.array([b"e\xcc\x81\xff", b"\xed\xa0\x80e\xcc\x81", b"e\xcc"], pa.large_binary())
    texts = nfc(utf8(pa.LargeStringArray.from_buffers(3, *rows.buffers()[1:])))
    assert [bytes(texts.data[slice(*edges)]) for edges in zip(texts.begin, texts.end, strict=True)] == [
        "\u00e9\ufffd".encode(),
        "\ufffd\ufffd\ufffd\u00e9".encode(),
        b"e\xcc",
    ]


def test_only_documents_that_need_it_are_composed(webtext: list[dict[str, Any]]) -> None:
    texts = [document["text"] for document in webtext]
    needing = {row for row, text in enumerate(texts) if not unicodedata.is_normalized("NFC", text)}
    composed = set(not_nfc(utf8(pa.array(texts))).tolist())
    assert needing <= composed
    assert len(composed) < len(texts) // 100
