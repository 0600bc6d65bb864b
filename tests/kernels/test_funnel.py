"""The funnel as people read it, beside sums in plain Python."""

import random
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from beam_etl.kernels.funnel import FUNNEL, TEXT_TOKENS, funnel_lines, funnel_rows, group_lines

STEPS = ("read", "exact", "near")
DOMAINS = (None, *(f"{letter}.example" for letter in "abcdefghijkl"))


def rows() -> list[dict[str, Any]]:
    """As a table has them: a row for each step, domain and language, in any order; of a step that left nothing a 0."""
    chance = random.Random(7)
    made: list[dict[str, Any]] = []
    for place, domain in enumerate(DOMAINS):
        for number, step in enumerate(STEPS[:2]):
            for language in ("de", "en"):
                documents = (50 - 3 * place) * (2 - number) + (language == "de")
                told = {"step_number": number, "step": step, "domain": domain, "language": language}
                made.append(
                    told | {"documents": documents, "bytes": 9 * documents, "tokens": None if number else 4}
                )
    told = dict.fromkeys(("domain", "language"))
    made.append({"step_number": 2, "step": "near", **told, "documents": 0, "bytes": 0, "tokens": 0})
    chance.shuffle(made)
    return made


def cells(line: str) -> list[str]:
    return line.replace(",", "").split()


def test_each_step_has_a_line_and_those_with_nothing_left_too() -> None:
    head, *lines = funnel_lines(pa.Table.from_pylist(rows(), FUNNEL))
    assert cells(head) == ["left", "after", "documents", "bytes", "tokens"]
    left = Counter[str]()
    for row in rows():
        left[row["step"]] += row["documents"]
    assert [cells(line)[:2] for line in lines] == [[step, str(left[step])] for step in STEPS]
    assert [cells(line)[-1] for line in lines] == [str(4 * 2 * len(DOMAINS)), "-", "0"]
    assert cells(lines[2])[2:4] == ["0.0%", "0"]


def test_the_largest_groups_have_a_line_and_the_others_one_together() -> None:
    head, *lines, rest = group_lines(pa.Table.from_pylist(rows(), FUNNEL), "domain", 5)
    assert cells(head) == ["domain", *STEPS]
    left = Counter[tuple[str, str]]()
    for row in rows():
        left[row["domain"] or "none", row["step"]] += row["documents"]
    largest = [domain or "none" for domain in DOMAINS[:5]]
    assert [cells(line) for line in lines] == [
        [domain, *(str(left[domain, step]) for step in STEPS)] for domain in largest
    ]
    assert rest == "and 8 more: see the table funnel"


@pytest.mark.parametrize("by", [(), ("language",), ("domain",), ("domain", "language")], ids="+".join)
@pytest.mark.parametrize("coded", [False, True], ids=["strings", "dictionary"])
def test_what_a_step_left_is_counted_by_group(by: tuple[str, ...], coded: bool) -> None:
    chance = random.Random(3)
    documents = [
        {
            "text": chance.choice([None, "ä" * chance.randrange(9)]),
            "domain": chance.choice([None, "a.example", "b.example"]),
            "language": chance.choice([None, "en"]),
            "lang": chance.choice([None, "de"]),
            TEXT_TOKENS: chance.randrange(5),
        }
        for _ in range(200)
    ]
    batch = pa.RecordBatch.from_pylist(documents)
    if coded:
        batch = batch.set_column(1, "domain", batch.column("domain").dictionary_encode())
    expected: dict[tuple[str | None, ...], list[int]] = {}
    for row in documents:
        told = {"domain": row["domain"], "language": row["language"] or row["lang"]}
        sums = expected.setdefault(tuple(told[name] if name in by else None for name in told), [0, 0, 0])
        for place, value in enumerate((1, len((row["text"] or "").encode()), row[TEXT_TOKENS])):
            sums[place] += value
    counted = funnel_rows(batch, 4, "near", by).to_pylist()
    assert {(row["step_number"], row["step"]) for row in counted} == {(4, "near")}
    assert {
        (row["domain"], row["language"]): [row["documents"], row["bytes"], row["tokens"]] for row in counted
    } == expected
    assert len(counted) == len(expected)
