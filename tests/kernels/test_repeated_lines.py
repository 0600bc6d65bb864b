"""Pieces are cut as Python cuts them, compared as CCNet states it, and counted and removed as a plain loop does."""

import re
import unicodedata
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.hash_set import places_in
from beam_etl.kernels.line_pieces import cut_pieces, fold_table
from beam_etl.kernels.repeated_lines import (
    LineRule,
    count_lines,
    merge_counts,
    remove_lines,
    repeated,
    those_that_go,
)
from beam_etl.kernels.utf8 import utf8
from beam_etl.testing import check_kernel, check_merge
from beam_etl.transforms.batches import merge_batches

EQUAL = [
    ("Hello, World!", "hello world"),
    ("  Page 12 of 345\t", "page 99 of 000"),
    ("Élan vital", "E\u0301LAN  VITAL"),
    ("«Straße» — ３", "straße 7"),
    ("ΟΔΟΣ", "οδος"),
    ("zero\u200bwidth\u00ad", "zerowidth"),
    ("İstanbul", "istanbul"),
    ("…", "!?"),
]
DIFFERENT = [
    ("a b", "ab"),
    ("12", "1"),
    ("किताब", "कताब"),
    ("straße", "strasse"),
    ("x+y", "x-y"),
    ("abc", "abcd"),
]


def folded(piece: str) -> str:
    """As the rule states it, by Python's own tables."""
    plain = [
        c
        for c in unicodedata.normalize("NFD", piece.lower())
        if c.isspace()
        or not (
            unicodedata.category(c)[0] == "P"
            or unicodedata.category(c) in ("Cc", "Cf")
            or "\u0300" <= c <= "\u036f"
        )
    ]
    text = "".join("0" if unicodedata.category(c) == "Nd" else c for c in plain)
    return unicodedata.normalize("NFC", re.sub(r"\s+", " ", text).strip())


def cut(text: str, unit: str = "line", exact: bool = False) -> Any:
    return cut_pieces(utf8(pa.array([text], pa.large_string())), unit == "paragraph", exact)


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_pieces_that_say_the_same_have_one_hash(one: str, other: str) -> None:
    found = cut(f"{one}\n{other}")
    assert found.hashes[0] == found.hashes[1]
    assert found.lengths.tolist() == [len(folded(one))] * 2
    exactly = cut(f"{one}\n {other}\r\n{other}", exact=True)
    assert exactly.hashes[0] != exactly.hashes[1] == exactly.hashes[2]
    assert exactly.lengths.tolist() == [len(one.strip(" \t")), len(other), len(other)]


def test_every_character_is_compared_as_python_folds_it() -> None:
    wrong = {}
    for point in range(0x20000):
        character = chr(point)
        alone = unicodedata.category(character) not in ("Cn", "Cs") and len(folded(f"a{character}b")) <= 3
        told = "" if fold_table()[point] == 0 else chr(fold_table()[point])
        if alone and character not in "ς\x1c\x1d\x1e\x1f" and told != folded(f"a{character}b")[1:-1]:
            wrong[hex(point)] = told
    assert wrong == {}


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_pieces_that_say_something_else_have_others(one: str, other: str) -> None:
    assert len(set(cut(f"{one}\n{other}").hashes.tolist())) == 2


def test_paragraphs_are_parted_by_blank_lines() -> None:
    text = "\n one\ntwo\n \t\r\n\n  three\nfour\n\n"
    found = cut(text, "paragraph")
    pieces = [text[begin:end] for begin, end in zip(found.begins, found.ends, strict=True)]
    assert pieces == ["\n one\ntwo", "  three\nfour"]
    assert "".join(text[begin:end] for begin, end in zip(found.begins, found.behind, strict=True)) == text


LINES = [
    "Menu",
    "menu!",
    "A story of 12 words.",
    "a story of 34 words",
    "",
    "  ",
    "Ünique",
    "alone",
    "}",
    "the end",
]


def corpus(rows: int = 60, seed: int = 5) -> pa.RecordBatch:
    draw = np.random.default_rng(seed)
    texts: list[str | None] = [
        ("\n" if row % 2 else "\n\n").join(draw.choice(LINES, draw.integers(0, 7)))
        + "\n" * int(draw.integers(0, 3))
        for row in range(rows)
    ]
    texts = [f"{text}\nown {'x' * row}" if row % 3 else text for row, text in enumerate(texts)]
    texts[3], texts[9] = None, f"quite alone {seed}"
    return pa.RecordBatch.from_pydict(
        {
            schema.ADDRESS: pa.array(range(rows), pa.uint64()),
            schema.ID: [f"d{row}" for row in range(rows)],
            schema.DOMAIN: [("a", "b", None)[row % 3] for row in range(rows)],
            schema.TEXT: pa.array(texts, pa.large_string()),
        }
    )


def plainly(batch: pa.RecordBatch, rule: LineRule) -> dict[str, str | None]:
    """The texts that stay, by id: line by line."""
    rows = batch.to_pylist()

    def key(row: dict[str, Any], piece: str) -> Any:
        said = folded(piece) if rule.match == "normal" else piece.strip(" \t\r\n\v\f")
        return (
            None if len(said) < rule.min_length else (said, row["domain"] if rule.scope == "domain" else "")
        )

    counts: Counter[Any] = Counter()
    for row in rows:
        keys = [key(row, piece) for piece in (row["text"] or "").split("\n")]
        counts.update(set(keys) if rule.scope == "domain" else keys)
    first: dict[Any, str] = {}
    kept: dict[str, str | None] = {}
    for row in rows:
        pieces, seen = [], set()
        for piece in (row["text"] or "").split("\n"):
            said = key(row, piece)
            if said is not None and counts[said] > rule.more_than:
                is_first = first.setdefault(said, row["id"]) == row["id"] and said not in seen
                seen.add(said)
                if rule.keep == "none" or not is_first:
                    continue
            pieces.append(piece)
        text = "\n".join(pieces)
        if row["text"] is None or text.strip() or text == row["text"]:
            kept[row["id"]] = None if row["text"] is None else text
    return kept


def removed(batch: pa.RecordBatch, rule: LineRule) -> list[pa.RecordBatch]:
    counts = merge_counts(
        merge_batches([count_lines(batch.slice(at, 7), rule) for at in range(0, 60, 7)]), rule
    )
    return list(remove_lines(batch, rule, repeated(those_that_go(counts, rule), rule)))


RULES = [
    LineRule(),
    LineRule(keep="none"),
    LineRule(more_than=20, min_length=3),
    LineRule(match="exact", keep="none", more_than=3),
    LineRule(scope="domain"),
    LineRule(scope="domain", keep="none", more_than=6, min_length=5),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_lines_go_as_a_plain_loop_removes_them(rule: LineRule) -> None:
    batch = corpus()
    documents, edits, removals = removed(batch, rule)
    expected = plainly(batch, rule)
    assert {row["id"]: row["text"] for row in documents.to_pylist()} == expected
    assert edits.num_rows > 10
    gone = {row["id"]: row for row in removals.to_pylist()}
    assert gone.keys() == {f"d{row}" for row in range(60)} - expected.keys()
    assert {row["reason"] for row in gone.values()} <= {"repeated_lines"}


@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_an_edit_tells_what_makes_the_new_text_of_the_old(unit: str) -> None:
    batch = corpus()
    documents, edits, _ = removed(batch, LineRule(unit=unit, keep="none", more_than=12))
    before = {row["id"]: row["text"] for row in batch.to_pylist()}
    after = {row["id"]: row["text"] for row in documents.to_pylist()}
    told = {row["id"]: row for row in edits.to_pylist()}
    assert told.keys() == {id for id, text in after.items() if text != before[id]} != set()
    for id, row in told.items():
        text = before[id].encode()
        for begin, end in reversed(list(zip(row["begins"], row["ends"], strict=True))):
            text = text[:begin] + text[end:]
        assert text.decode() == after[id]
        assert row["bytes"] == len(before[id].encode()) - len(text)


def test_kernels_keep_their_promises() -> None:
    rule = LineRule(scope="domain")
    batch = corpus()
    check_merge(partial(merge_counts, rule=rule), [count_lines(corpus(seed=seed), rule) for seed in range(4)])
    gone = repeated(those_that_go(count_lines(batch, rule), rule), rule)
    check_kernel(partial(documents_of, rule=rule, gone=gone), batch)


def documents_of(batch: pa.RecordBatch, rule: LineRule, gone: Any) -> pa.RecordBatch:
    return next(remove_lines(batch, rule, gone))


@pytest.mark.parametrize("bits", [64, 40, 3], ids="{} bits".format)
def test_a_hash_is_found_where_it_is(bits: int) -> None:
    draw = np.random.default_rng(1)
    hashes = np.unique(
        draw.integers(0, 1 << bits, 5000, np.uint64, endpoint=bits == 64)
        if bits < 64
        else draw.integers(0, np.iinfo(np.uint64).max, 5000, np.uint64)
    )
    values = np.concatenate([hashes[::3], hashes[:50] + np.uint64(1), np.array([0, 2**64 - 1], np.uint64)])
    known = {value: place for place, value in enumerate(hashes.tolist())}
    assert places_in(hashes, values).tolist() == [known.get(value, -1) for value in values.tolist()]
    assert places_in(hashes[:0], values[:1]).tolist() == [-1]


@pytest.mark.parametrize(
    "wrong", [{"unit": "word"}, {"scope": "file"}, {"more_than": 0}, {"keep": "all"}], ids=str
)
def test_rules_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LineRule(**wrong)
