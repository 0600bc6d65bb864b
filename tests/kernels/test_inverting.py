"""Postings against plain Python over words(), and against those of SQLite's FTS5."""

import csv
import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beam_etl.kernels import inverting
from beam_etl.kernels.inverting import FIRST_TERMS, MAX_TERM_BYTES, Inverted, invert
from beam_etl.kernels.text import words
from beam_etl.kernels.unicode_table import RULES
from tests.kernels.test_text import LANGUAGES, LAYOUTS, TEXTS, reference

Places = dict[bytes, dict[int, list[int]]]
"""Term -> text -> places."""


def expected_places(found: list[list[str]]) -> tuple[Places, list[int], int]:
    """Postings, lengths and words left out, of the words of each text."""
    places: Places = defaultdict(lambda: defaultdict(list))
    lengths = [0] * len(found)
    for row, each in enumerate(found):
        for place, word in enumerate(each):
            if len(word.encode()) <= MAX_TERM_BYTES:
                places[word.encode()][row].append(place)
                lengths[row] += 1
    return places, lengths, sum(map(len, found)) - sum(lengths)


def terms_of(inverted: Inverted) -> list[bytes]:
    letters, begins = inverted.letters.tobytes(), inverted.begins.tolist()
    return [letters[begin:end] for begin, end in pairwise(begins)]


def check(array: pa.Array, found: list[list[str]], rule: str = "words") -> None:
    """Both forms of the result are exactly the postings of these words, and of the types that are promised."""
    places, lengths, left_out = expected_places(found)
    terms = sorted(places)
    flat = [(row, at) for term in terms for row, at in sorted(places[term].items())]
    for positions in (False, True):
        inverted = invert(array, rule, positions)
        assert terms_of(inverted) == terms
        assert np.diff(inverted.edges).tolist() == [len(places[term]) for term in terms]
        assert inverted.rows.tolist() == [row for row, _ in flat]
        assert inverted.frequencies.tolist() == [len(at) for _, at in flat]
        assert inverted.lengths.tolist() == lengths
        assert inverted.left_out == left_out
        assert inverted.begins[0] == inverted.edges[0] == 0
        for each in (inverted.begins, inverted.edges):
            assert each.dtype == np.int64
        for counts in (inverted.rows, inverted.frequencies, inverted.lengths):
            assert counts.dtype == np.uint32
        if positions:
            assert inverted.positions is not None
            assert inverted.positions.dtype == np.uint32
            assert inverted.positions.tolist() == [place for _, at in flat for place in at]
        else:
            assert inverted.positions is None


LONG = st.sampled_from(["a" * MAX_TERM_BYTES, "a" * (MAX_TERM_BYTES + 1), "é" * 127, "é" * 128])
PREFIXED = st.text("ab", min_size=6, max_size=20)
MANY_WORDS = st.lists(LONG | PREFIXED | st.sampled_from(list(LANGUAGES)), max_size=30).map(" ".join)


@given(TEXTS, st.sampled_from(sorted(LAYOUTS)), st.sampled_from(RULES))
@example([], "string", "words")
@example([None, ""], "slice", "words")
@example(["a b a", None, "", "b"], "dictionary", "words")
def test_any_texts_in_any_layout(texts: list[str | None], layout: str, rule: str) -> None:
    check(LAYOUTS[layout](texts), [reference(text or "", rule) for text in texts], rule)


@given(st.lists(MANY_WORDS, max_size=6))
def test_terms_that_share_beginnings_and_long_words(texts: list[str]) -> None:
    check(pa.array(texts, pa.string()), [reference(text) for text in texts])


@pytest.mark.parametrize(("text", "expected"), LANGUAGES.values(), ids=LANGUAGES)
def test_terms_of_languages(text: str, expected: str) -> None:
    check(pa.array([text, None, text]), [expected.split(), [], expected.split()])


def test_a_word_that_is_left_out_counts_as_a_place() -> None:
    longest, longer = "x" * MAX_TERM_BYTES, "x" * (MAX_TERM_BYTES + 1)
    inverted = invert(pa.array([f"a {longer} b {longest}"]), positions=True)
    assert terms_of(inverted) == [b"a", b"b", longest.encode()]
    assert inverted.positions is not None
    assert inverted.positions.tolist() == [0, 2, 3]
    assert inverted.lengths.tolist() == [3]
    assert inverted.left_out == 1


def test_terms_that_differ_in_the_last_of_eight_bytes_are_told_apart() -> None:
    """As floats, their first eight bytes would be one number."""
    check(pa.array(["abcdefgi abcdefgh abcdefghi"]), [["abcdefgi", "abcdefgh", "abcdefghi"]])


def test_a_text_of_words_left_out_alone_has_no_terms() -> None:
    check(pa.array(["y" * 300]), [["y" * 300]])


@pytest.mark.parametrize("terms", [FIRST_TERMS, FIRST_TERMS + 1, 5 * FIRST_TERMS])
def test_the_table_grows(terms: int) -> None:
    """Twice around, so that words are found again after each growth, in a table that has moved them."""
    texts = [" ".join(f"w{number}" for number in range(terms))] * 2
    check(pa.array(texts), [text.split() for text in texts])


def test_words_of_one_hash_are_not_one_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python, with a hash that has three values: only the comparison of bytes tells words apart."""
    from beam_etl.kernels.text import split

    monkeypatch.setattr(
        inverting, "word_hash", lambda letters, begin, end: np.uint64((end - begin) % 3) << 32
    )
    for name in ("_slot", "_same", "_equal"):
        monkeypatch.setattr(inverting, name, getattr(inverting, name).__wrapped__)
    found = split(
        pa.array(
            ["longer_words shorter_word longer_words another_one longer_one shorter_word x", "longer_one x"]
        )
    )
    numbers = np.empty(found.begins.size - 1, np.uint32)
    firsts, keys, slots = np.empty(16, np.int64), np.empty(64, np.uint64), np.zeros(64, np.uint32)
    number_words: Any = inverting._number_words
    with np.errstate(over="ignore"):
        word, terms = number_words.__wrapped__(
            found.letters, found.begins, 0, 0, keys, slots, firsts, numbers
        )
    assert (word, terms) == (9, 5)
    assert numbers.tolist() == [0, 1, 0, 2, 3, 1, 4, 3, 4]


def test_a_long_word_whose_hash_is_a_short_word_is_another_term() -> None:
    """The key of a short word is the word: a search for hashes could find a long one of the same key."""
    from beam_etl.kernels.text import split
    from beam_etl.kernels.word_hash import word_hash

    found = split(pa.array(["a_long_word"]))
    key = int(word_hash(found.letters, 0, found.letters.size))
    keys, slots = np.zeros(64, np.uint64), np.full(64, 1, np.uint32)  # every slot: a short word of that key
    keys[:] = key
    slots[key % 3 :: 3] = 0
    numbers = np.empty(1, np.uint32)
    firsts = np.empty(4, np.int64)
    _, terms = inverting._number_words(found.letters, found.begins, 0, 1, keys, slots, firsts, numbers)
    assert (terms, numbers.tolist()) == (2, [1])


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_real_documents(rule: str, webtext: list[dict[str, Any]]) -> None:
    array = pa.array([document["text"] for document in webtext[::10]])
    check(array, words(array, rule).to_pylist(), rule)


GOLD = {"cranfield": (7_472, 122_935, 243_353), "cisi": (10_015, 114_522, 187_696)}
"""Terms, postings and tokens, as SQLite counts them."""


def gold_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("collection", GOLD)
def test_postings_and_positions_are_those_of_sqlite(collection: str, shared: Path) -> None:
    folder = shared / "data/ir" / collection
    with gzip.open(folder / "docs.jsonl.gz", "rt", encoding="utf-8") as lines:
        array = pa.array([json.loads(line)["contents"] for line in lines])
    gold: Places = defaultdict(lambda: defaultdict(list))
    for entry in gold_rows(folder / "gold_fts5_positions.tsv.gz"):
        row = int(entry["docid"]) - 1  # SQLite's rowids begin at 1; Cranfield's 471 and 995 are empty
        gold[entry["term"].encode()][row].append(int(entry["position"]))

    inverted = invert(array, "alphanumeric", positions=True)
    terms = terms_of(inverted)
    assert inverted.positions is not None
    assert (len(terms), inverted.rows.size, inverted.positions.size) == GOLD[collection]
    assert inverted.left_out == 0
    assert terms == sorted(gold)
    flat = [(row, sorted(at)) for term in terms for row, at in sorted(gold[term].items())]
    assert inverted.rows.tolist() == [row for row, _ in flat]
    assert inverted.frequencies.tolist() == [len(at) for _, at in flat]
    assert inverted.positions.tolist() == [place for _, at in flat for place in at]
    occurrences = np.add.reduceat(inverted.frequencies.astype(np.int64), inverted.edges[:-1])
    counted = zip(terms, np.diff(inverted.edges).tolist(), occurrences.tolist(), strict=True)
    assert {term: (df, cf) for term, df, cf in counted} == {
        entry["term"].encode(): (int(entry["df"]), int(entry["cf"]))
        for entry in gold_rows(folder / "gold_fts5_vocab.tsv.gz")
    }


@pytest.mark.parametrize(
    ("array", "rule", "error"),
    [(pa.array([1]), "words", TypeError), (pa.array(["a"]), "word", ValueError)],
    ids=["no strings", "no rule"],
)
def test_what_is_refused(array: pa.Array, rule: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        invert(array, rule)
