"""The lines that stay are those that C4's rules keep, as plain Python tells them."""

import re
from typing import Any

import pyarrow as pa
import pytest

from beam_etl.kernels.c4_lines import DROPPED_LINES, keep_lines

PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def kept_by_python(text: str) -> tuple[str, str | None]:
    """What is left of a text, and why it goes."""
    kept, found = [], set()
    for line in map(str.strip, text.splitlines()):
        words = line.split()
        if len(words) < 3 or any(len(word) > 1000 for word in words):
            continue
        told = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        if "lorem ipsum" in told.lower():
            found.add("lorem ipsum")
        if "javascript" in told.lower():
            continue
        if "{" in told:
            found.add("a brace")
        if not any(phrase in told.lower() for phrase in PHRASES):
            kept.append(told)
    why = max(found) if found else None if kept else "no line stays"
    return "\n".join(kept), why


TEXTS = {
    "short lines": "Home\nThis line has words.\n\nTwo words\r\n  and spaces at its ends  ",
    "references": "As was said [12] before [edit] it [citation needed] all [] went.",
    "references in digits of other scripts": "كما قيل [١٢] من قبل\nजैसा कहा गया [१२] पहले\nNo digit is in [²] here",
    "a script": "Please enable JavaScript to see this.\nThis is the text itself.",
    "a policy": "We have a Privacy Policy here.\nThis site uses cookies too.\nA third line stays.",
    "a brace": "This is some text.\nif a then { b }",
    "a brace in a script": "some javascript code { here }\nThis is some text.",
    "a brace in a short line": "a {\nThis is some text.",
    "lorem ipsum": "Some text.\nA Lorem Ipsum line is here.",
    "a long word": f"This line has {'x' * 1001} here.\nThis line has {'x' * 1000} here.",
    "spaces beyond ASCII": "Prix\u202f: 1\u00a0€\n標題\u3000一\u3000二\nTwo\u200bwords here",
    "a long line": f"{'日本語' * 300} and words.\n{'日本語' * 333}xxx is long.\n{'x' * 900}\u00a0{'y' * 900} z",
    "no line": "One\nTwo words",
    "empty": "",
    "other line ends": "One line is here\x0bthe second is here\u2028the third is here\x85the last is here",
}


def batch(texts: list[str | None]) -> pa.RecordBatch:
    told = {"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, pa.large_string())}
    return pa.record_batch(told)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_lines_stay_as_plain_python_says(text: str) -> None:
    expected, why = kept_by_python(text)
    done = keep_lines(batch([text]))
    assert done.kept.column("text").to_pylist() == ([] if why else [expected])
    assert done.removed.column("reasons").to_pylist() == ([[f"c4_lines: {why}"]] if why else [])


def test_real_texts_are_edited_as_plain_python_says(webtext: list[dict[str, Any]]) -> None:
    texts = [row["text"] for row in webtext[:600]]
    done = keep_lines(batch(texts))
    expected = {str(n): kept_by_python(text) for n, text in enumerate(texts)}
    assert dict(zip(*(done.kept.column(name).to_pylist() for name in ("id", "text")), strict=True)) == {
        id: text for id, (text, why) in expected.items() if why is None
    }
    told = dict(zip(*(done.removed.column(name).to_pylist() for name in ("id", "reasons")), strict=True))
    assert told == {id: [f"c4_lines: {why}"] for id, (_, why) in expected.items() if why}
    assert len(told) > 10
    dropped = done.kept.column(DROPPED_LINES).to_pylist()
    assert sum(dropped) > 1000


def test_a_null_text_stays_and_a_batch_may_be_empty() -> None:
    done = keep_lines(batch([None, "A line of words."]))
    assert done.kept.column("text").to_pylist() == [None, "A line of words."]
    assert done.kept.column(DROPPED_LINES).to_pylist() == [0, 0]
    assert keep_lines(batch([])).kept.num_rows == 0
