"""What a query asks for, as it is typed."""

import pytest

from beam_etl.kernels.query import Clause, Query, QueryError, parse_query

QUERIES = {
    "words": ("Two WORDS", Query((Clause(("two",), 1, False), Clause(("words",), 1, False)), ())),
    "a word twice": ("a b a", Query((Clause(("a",), 2, False), Clause(("b",), 1, False)), ())),
    "in order of bytes": (
        "é z 日",
        Query(tuple(Clause((word,), 1, False) for word in ("z", "é", "日")), ()),
    ),
    "a phrase": (
        '"New  York" city',
        Query((Clause(("city",), 1, False), Clause(("new", "york"), 1, False)), ()),
    ),
    "a phrase of one word": ('"new"', Query((Clause(("new",), 1, False),), ())),
    "signs": (
        '+a -b -"c d" e',
        Query((Clause(("a",), 1, True), Clause(("e",), 1, False)), (("b",), ("c", "d"))),
    ),
    "required and not": ("+a a", Query((Clause(("a",), 2, True),), ())),
    "required and excluded": ("+a -a", Query((Clause(("a",), 1, True),), (("a",),))),
    "several words in a part": (
        "+foo-bar.baz",
        Query(tuple(Clause((word,), 1, True) for word in ("bar", "baz", "foo")), ()),
    ),
    "no space before a quote": (
        'a"b c"',
        Query((Clause(("a",), 1, False), Clause(("b", "c"), 1, False)), ()),
    ),
    "parts without words": ('+ - "" "..." a', Query((Clause(("a",), 1, False),), ())),
    "not in normal form": ("e\u0301", Query((Clause(("é",), 1, False),), ())),
}


@pytest.mark.parametrize(("typed", "query"), QUERIES.values(), ids=QUERIES)
def test_a_query_asks_for(typed: str, query: Query) -> None:
    assert parse_query(typed, "words") == query


@pytest.mark.parametrize(
    ("typed", "message"),
    [("", "no word"), ("...", "no word"), ("-a", "only what is excluded"), ('"a b', "isn't closed")],
)
def test_a_query_that_finds_nothing_is_refused(typed: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse_query(typed, "words")


def test_the_rule_says_what_a_word_is() -> None:
    assert [clause.phrase for clause in parse_query("snake_case", "alphanumeric").scored] == [
        ("case",),
        ("snake",),
    ]
    assert [clause.phrase for clause in parse_query("snake_case", "words").scored] == [("snake_case",)]
