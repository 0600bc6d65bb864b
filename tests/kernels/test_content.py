import datetime
import decimal
import hashlib
import struct
import unicodedata

import pyarrow as pa
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.content import HASH, content_hashes, normalised

PUBLISHED = {"": "cae66941d9efbd404e4d88758ea67670", "abc": "cf4ab791c62b8d2b2109c90275287816"}
"""BLAKE2b-128, as `b2sum --length=128` prints it."""


def test_a_text_has_the_published_hash_of_its_bytes() -> None:
    found = content_hashes([pa.array(list(PUBLISHED))])
    assert found.type == HASH
    assert [value.hex() for value in found.to_pylist()] == list(PUBLISHED.values())


@given(st.lists(st.none() | st.text(max_size=50), max_size=10), st.integers(0, 3))
def test_every_row_has_a_hash_of_its_own(values: list[str | None], start: int) -> None:
    column = pa.array(values, pa.large_string()).slice(start)
    expected = [
        None if value is None else hashlib.blake2b(value.encode(), digest_size=16).digest()
        for value in values[start:]
    ]
    assert content_hashes([column]).to_pylist() == expected


def encoded(*values: bytes) -> bytes:
    """A row of several columns, as it is documented."""
    return b"".join(struct.pack("<q", len(value)) + value for value in values)


DAY = datetime.date(1970, 1, 11)
ROWS = {
    "texts": (["ab", "c"], encoded(b"ab", b"c")),
    "the same letters": (["a", "bc"], encoded(b"a", b"bc")),
    "an empty one first": (["", "abc"], encoded(b"", b"abc")),
    "number": ([5], struct.pack("<q", 5)),
    "date": ([DAY], struct.pack("<q", 10)),
    "text and numbers": (["x", -1, 0.5], encoded(b"x", struct.pack("<q", -1), struct.pack("<d", 0.5))),
    "truth and decimal": (
        [True, decimal.Decimal("1.50")],
        encoded(struct.pack("<q", 1), b"1.50"),
    ),
    "bytes": ([b"\xff\x00"], b"\xff\x00"),
}


@pytest.mark.parametrize(("row", "expected"), ROWS.values(), ids=ROWS)
def test_a_row_is_hashed_as_documented(row: list[object], expected: bytes) -> None:
    found = content_hashes([pa.array([value]) for value in row])
    assert found.to_pylist() == [hashlib.blake2b(expected, digest_size=16).digest()]


TEXTS, NUMBERS = pa.array(["a", None, "", "grüße"]), pa.array([1, 2, None, 3])
FORMS = {
    "large, narrow": [TEXTS.cast(pa.large_string()), NUMBERS.cast(pa.int8())],
    "view, unsigned": [TEXTS.cast(pa.string_view()), NUMBERS.cast(pa.uint64())],
    "dictionaries": [TEXTS.dictionary_encode(), NUMBERS.dictionary_encode()],
    "binary, sliced": [TEXTS.cast(pa.binary()), pa.concat_arrays([NUMBERS, NUMBERS]).slice(4)],
}


@pytest.mark.parametrize("columns", FORMS.values(), ids=FORMS)
def test_equal_values_have_equal_hashes_in_any_encoding(columns: list[pa.Array]) -> None:
    expected = content_hashes([TEXTS, NUMBERS]).to_pylist()
    assert [value is None for value in expected] == [False, True, True, False]
    assert content_hashes(columns).to_pylist() == expected


def test_a_column_of_nulls_has_no_hashes() -> None:
    assert content_hashes([TEXTS, pa.nulls(4)]).to_pylist() == [None] * 4


def test_a_list_has_no_stable_bytes() -> None:
    with pytest.raises(TypeError, match="list"):
        content_hashes([pa.array([[1]])])


def test_a_hash_needs_a_column() -> None:
    with pytest.raises(ValueError, match="at least one column"):
        content_hashes([])


SAME_WORDS = {
    "case": ["Grüße, WORLD", "grüße world"],
    "spaces": ["  a\tb\u00a0c\n", "a b c"],
    "normal form": ["Cafe\u0301 noir", "caf\u00e9 noir"],
    "no words": ["", "?! ..."],
    "no spaces": ["日本、語", "日 本 語"],
}


@pytest.mark.parametrize("texts", SAME_WORDS.values(), ids=SAME_WORDS)
def test_texts_of_the_same_words_are_one(texts: list[str]) -> None:
    found = normalised(pa.array(texts)).to_pylist()
    assert found[0] == found[1]


def test_texts_of_other_words_stay_different() -> None:
    texts = ["ab c", "a bc", "abc", "c ab", "", None]
    found = normalised(pa.array(["none", *texts]).slice(1))
    assert found.type == pa.large_string()
    assert found.to_pylist() == texts


@given(st.lists(st.none() | st.text("aB \u00dc\u0301.,1_й", max_size=30), max_size=8))
def test_words_are_joined_by_a_space(texts: list[str | None]) -> None:
    def joined(text: str) -> str:
        return " ".join(regex.findall(r"[\w\p{M}]+", unicodedata.normalize("NFC", text).lower()))

    expected = [None if text is None else joined(text) for text in texts]
    assert normalised(pa.array(texts, pa.string())).to_pylist() == expected
