"""English tokens against spaCy's own, stored, and against the rules in plain Python."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beam_etl.kernels.characters import character_table
from beam_etl.kernels.english import LONGEST_UNIT, split_english
from beam_etl.kernels.exception_table import UNITS, exception_table
from beam_etl.kernels.text_tokens import BEGINS, ENDS, read_characters
from beam_etl.kernels.word_exceptions import LONGEST_EXCEPTION, exceptions
from tests import english_oracle

GOLD = Path(__file__).with_name("datatrove_gold.json.gz")


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, list[str], int]]:
    """Lines with their tokens and sentences, as datatrove found them: tools/make_quality_gold.py."""
    with gzip.open(GOLD, "rt", encoding="utf-8") as stored:
        return [tuple(line) for line in json.load(stored)["lines"]]


def tokens(text: str) -> list[str]:
    data = np.frombuffer(text.encode(), np.uint8)
    room = data.size + 1
    points, kinds, spare = (np.empty(room, np.uint32) for _ in range(3))
    out: Any = (*(np.empty(room, np.uint32) for _ in range(3)), np.empty(room, np.uint64))
    size = read_characters(data, 0, data.size, character_table(), points, kinds)
    count = split_english((points, kinds), 0, size, exception_table(), out, 0, spare)
    return [text[begin:end] for begin, end in zip(out[BEGINS][:count], out[ENDS][:count], strict=True)]


def test_lines_have_the_tokens_that_datatrove_counts(lines: list[tuple[str, list[str], int]]) -> None:
    assert len(lines) == 1500
    assert [tokens(text) for text, _, _ in lines] == [found for _, found, _ in lines]


def test_the_oracle_has_them_too(lines: list[tuple[str, list[str], int]]) -> None:
    assert [english_oracle.tokens(text) for text, _, _ in lines] == [found for _, found, _ in lines]


FRAGMENTS = st.one_of(
    st.sampled_from(sorted(exceptions())),
    st.sampled_from([*sorted(set("".join(exceptions()) + " \n.,:-/'")), "km", "http://", ".com", "Ab", "US"]),
    st.text(st.characters(codec="ascii"), max_size=3),
)


@example("hed. Im. (id.) cannot: shes. U.S.)")
@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_any_text_has_the_tokens_of_the_rules(text: str) -> None:
    assert tokens(text) == english_oracle.tokens(text)


def test_tokens_are_the_text_without_its_spaces(webtext: list[dict[str, Any]]) -> None:
    for document in webtext[::40]:
        assert "".join(tokens(document["text"])) == "".join(document["text"].split())


def test_a_run_of_marks_without_end_is_cut_like_a_short_one() -> None:
    few, many = "):" * 50, "):" * 200_000
    assert tokens(few) == english_oracle.tokens(few)
    assert len(tokens(many)) - len(tokens(few)) == len(many) - len(few)  # one a mark, but for the ends


def test_no_exception_or_unit_is_longer_than_it_says() -> None:
    assert max(map(len, exceptions())) == LONGEST_EXCEPTION
    assert max(map(len, UNITS.split())) == LONGEST_UNIT
