"""Shared n-grams are those that sets of word tuples have in common; what is masked is what the words say."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels import evaluations
from beam_etl.kernels.contamination import FILLING, FindShared, decontaminate
from beam_etl.kernels.evaluations import Evaluations, TooManyWordsError, make_evaluations
from beam_etl.testing import check_kernel

WORDS = ("red", "green", "blue", "Ünique", "naïve", "x1", "don't", "end")
SETS = {
    "colours": ["Red green BLUE red; green blue!", None, "too short", "blue blue red end x1 naïve"],
    "other": ["green, blue red  end", "naïve\tx1 red red red"],
}
ROWS = 80


def texts(rows: int = ROWS, seed: int = 3) -> list[str | None]:
    draw = np.random.default_rng(seed)
    made: list[str | None] = [
        "".join(
            f"{word}{draw.choice([' ', ', ', '. ', chr(10)])}"
            for word in draw.choice(WORDS, draw.integers(0, 40))
        )
        for _ in range(rows)
    ]
    known = [text for rows in SETS.values() for text in rows if text]
    for row in range(0, rows, 3):
        made[row] = f"{made[row]} {known[row % len(known)].upper().replace(' ', ' - ')} {made[row]}"
    made[5] = None
    made[6] = "cafe\u0301 red green blue red. cafe\u0301"  # not NFC
    return made


def documents(given: list[str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            schema.ADDRESS: pa.array(range(len(given)), pa.uint64()),
            schema.ID: [f"d{row}" for row in range(len(given))],
            schema.TEXT: pa.array(given, pa.large_string()),
        }
    )


def sets(ngram: int) -> Evaluations:
    return make_evaluations([(name, pa.array(rows, pa.large_string())) for name, rows in SETS.items()], ngram)


def ngrams(text: str | None, ngram: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", (text or "").lower())
    return [tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)]


def shared(given: list[str | None], ngram: int) -> Iterator[tuple[str, str, int, str, int]]:
    """Document, set, its first row with the first n-gram, the n-gram, and how often any occurs."""
    for row, text in enumerate(given):
        for name, rows in SETS.items():
            first = {
                gram: number
                for number, known in reversed(list(enumerate(rows)))
                for gram in ngrams(known, ngram)
            }
            found = [gram for gram in ngrams(text, ngram) if gram in first]
            if found:
                yield f"d{row}", name, first[found[0]], " ".join(found[0]), len(found)


@pytest.mark.parametrize("ngram", [1, 3, 4, 6])
def test_matches_are_the_ngrams_that_both_sides_have(ngram: int) -> None:
    given = texts()
    stay, matches, removals = decontaminate(documents(given), FindShared(sets(ngram)))
    columns = ("id", "evaluation", "evaluation_row", "ngram", "matches")
    expected = list(shared(given, ngram))
    assert len(expected) > 5
    assert [tuple(row[name] for name in columns) for row in matches.to_pylist()] == expected
    told = {id: [name for one, name, *_ in expected if one == id] for id, *_ in expected}
    assert {row["id"]: row["failed"] for row in removals.to_pylist()} == told
    first = removals.to_pylist()[0]
    assert first["reasons"][0] == f"{expected[0][1]}: {expected[0][3]}"
    assert first["reason"] == "contaminated"
    assert [row["id"] for row in stay.to_pylist()] == [f"d{n}" for n in range(ROWS) if f"d{n}" not in told]


def test_masks_hide_the_shared_words_and_no_others() -> None:
    given, ngram = texts(), 3
    masked, matches, removals = decontaminate(documents(given), FindShared(sets(ngram)), "mask")
    assert removals.num_rows == 0
    known = {gram for rows in SETS.values() for text in rows for gram in ngrams(text, ngram)}
    for row, text in zip(masked.to_pylist(), given, strict=True):
        grams = ngrams(text, ngram)
        hidden = {at + step for at, gram in enumerate(grams) if gram in known for step in range(ngram)}
        words = re.findall(r"\w+", (text or "").lower())
        left = [word for at, word in enumerate(words) if at not in hidden]
        assert (
            re.findall(r"\w+", (row["text"] or "").replace(FILLING, " ").lower())
            == (left if FILLING in (row["text"] or "") else words)
            or text == given[6]
        )
        assert (FILLING in (row["text"] or "")) == bool(hidden)
    assert masked.column("text")[6].as_py() == f"café {FILLING}. café"
    for row in matches.to_pylist():
        text = (given[int(row["id"][1:])] or "").replace("e\u0301", "é").encode()
        parts = [text[begin:end].decode() for begin, end in zip(row["begins"], row["ends"], strict=True)]
        assert sum(len(ngrams(part, ngram)) for part in parts) >= row["matches"]
        assert " ".join(ngrams(parts[0], ngram)[0]) == row["ngram"]


def test_what_is_in_no_document_removes_none() -> None:
    given = documents(texts())
    for known in (["quite another text altogether"], [None], []):
        found = FindShared(make_evaluations([("none", pa.array(known, pa.large_string()))], 4))
        stay, matches, removals = decontaminate(given, found)
        assert (stay, matches.num_rows, removals.num_rows) == (given, 0, 0)


def test_short_texts_are_counted() -> None:
    assert (sets(3).texts, sets(3).short) == ((3, 2), (1, 0))


def test_the_kernel_keeps_its_promises() -> None:
    check_kernel(partial(staying, find=FindShared(sets(4))), documents(texts(30)))


def staying(batch: pa.RecordBatch, find: FindShared) -> pa.RecordBatch:
    return next(decontaminate(batch, find, "mask"))


def test_too_many_words_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "MAX_WORDS", 8)
    with pytest.raises(TooManyWordsError, match=r"up to colours have 14 words; 8 are held"):
        sets(3)


@pytest.mark.parametrize("ngram", [0, 65])
def test_ngrams_out_of_range_are_refused(ngram: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to 64 words, got {ngram}"):
        sets(ngram)


def test_queries_are_found_in_the_text_that_quotes_them(shared: Path) -> None:
    """The questions of Cranfield, of which each other stands in a page among documents of the collection."""
    found = re.findall(
        r"<title>\s*(.*?)\s*</title>", (shared / "data/ir/cranfield/cran.qry.xml").read_text(), re.DOTALL
    )
    assert len(found) == 225
    filler = "the boundary layer was measured "
    pages: list[str | None] = [
        f"{filler}{' '.join(query.upper().split(' '))} {filler}" if row % 2 else filler * 9
        for row, query in enumerate(found)
    ]
    known = make_evaluations([("cranfield", pa.array(found, pa.large_string()))], 8)
    _, matches, _ = decontaminate(documents(pages), FindShared(known))
    long = {f"d{row}" for row in range(1, 225, 2) if len(ngrams(found[row], 8)) > 0}
    assert {row["id"] for row in matches.to_pylist()} == long
    assert len(long) > 90
