"""Rules are broken where a plain reading in Python says so; a removal tells the first of them."""

import re
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.document_rules import (
    DocumentRule,
    HasText,
    InLanguages,
    NotBlocked,
    ReadablePage,
    Words,
    filter_documents,
)
from beam_etl.testing import check_kernel

HOSTS, URLS = frozenset({"bad.example", "co.uk"}), frozenset({"https://ok.example/one?a=B"})
ADDRESSES = [
    "https://bad.example/",
    "http://www.BAD.example:80/x",
    "https://user:pw@a.b.bad.example./",
    "https://notbad.example/",
    "https://bad.example.org/?u=https://bad.example/",
    "https://news.bbc.co.uk/",
    "https://ok.example/one?a=B",
    "https://ok.example/one?a=b",
    "mailto:x@bad.example",
    "bad.example",
    "https://[::1]/",
    "",
    None,
]


def blocked(url: str | None) -> bool:
    if url is None or "//" not in url:
        return False
    host = (urlsplit(url).hostname or "").rstrip(".")
    return url in URLS or any(host == one or host.endswith(f".{one}") for one in HOSTS)


def broken(rule: DocumentRule, **columns: list[Any]) -> list[str | None]:
    batch = pa.RecordBatch.from_pydict(columns)
    found: list[str | None] = rule.broken(batch).to_pylist()
    return found


def test_hosts_stand_for_those_below_them_and_urls_for_themselves() -> None:
    told = broken(NotBlocked(HOSTS, URLS), url=ADDRESSES)
    assert [why is not None for why in told] == [blocked(url) for url in ADDRESSES]
    assert told[:3] == ["bad.example"] * 3
    assert told[6] == "https://ok.example/one?a=B"


TEXTS = [
    "a Bad  Word here",
    "badword",
    "bad word",
    "no bad\u00a0word, bad\u3000word",
    *(f"bad{space}word" for space in "\x0b\x1c\x1d\x1e\x1f\x85\u2028"),
    "wordbad",
    "Straße, ÜBEL!",
    "übelst",
    "x_bad word",
    "",
    None,
]


def has(text: str | None, words: tuple[str, ...]) -> bool:
    """By Python's own \\b, which takes the same letters for words."""
    return any(re.search(rf"(?i)\b{word}\b", re.sub(r"\s+", " ", text or "")) for word in words)


@pytest.mark.parametrize("word", ["", " ", "\x1f"])
def test_a_word_of_spaces_is_refused(word: str) -> None:
    for words in ("required", "forbidden"):
        with pytest.raises(ValueError, match="a word needs more than spaces"):
            Words(**{words: ("a", word)})


def test_words_are_found_between_other_characters() -> None:
    forbidden = ("bad word", "übel")
    assert broken(Words(forbidden=("bad  word",)), text=["bad word"]) == ["bad word"]
    told = broken(Words(forbidden=forbidden), text=TEXTS)
    assert [why is not None for why in told] == [has(text, forbidden) for text in TEXTS]
    told = broken(Words(required=forbidden), text=TEXTS)
    assert [why is None for why in told] == [has(text, forbidden) for text in TEXTS]
    assert broken(Words(forbidden=("a.c", "x+")), text=["abc", "a.c", "x+", "xx"]) == [
        None,
        "a.c",
        "x+",
        None,
    ]


def test_languages_need_a_code_and_a_score() -> None:
    rule = InLanguages(("en", "de"), 0.5)
    told = broken(
        rule,
        lang=["en", "de", "fr", "en", None],
        lang_score=pa.array([0.9, 0.5, 0.99, 0.25, None], pa.float32()).to_pylist(),
    )
    assert told == [None, None, "fr 0.99", "en 0.25", "none"]


def test_pages_have_a_status_of_success_and_a_type_with_text() -> None:
    told = broken(
        ReadablePage(),
        http_status=[200, 404, 200, None, 204, 301],
        content_type=["text/html", "text/html", "image/png", "text/plain", None, None],
    )
    assert told == [None, "status 404", "image/png", None, None, "status 301"]


def test_a_removal_tells_where_and_the_first_reason() -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            schema.ADDRESS: pa.array([5, 9 << 44 | 6, 7], pa.uint64()),
            "id": ["a", "b", "c"],
            "url": ["https://bad.example/", "https://bad.example/", "https://ok.example/"],
            "text": pa.array([" ", "text", "text"], pa.large_string()),
        }
    ).replace_schema_metadata({schema.FILE_METADATA: b"/in/f"})
    done = filter_documents(batch, [HasText(), NotBlocked(HOSTS)])
    assert done.kept.column("id").to_pylist() == ["c"]
    assert done.removed.schema == schema.QUALITY_REMOVAL
    told = done.removed.select(["file", "position", "id", "reason", "failed", "reasons", "bytes"]).to_pylist()
    assert [tuple(row.values()) for row in told] == [
        ("/in/f", 5, "a", "empty", ["empty"], ["empty: no text"], 1),
        ("/in/f", 6, "b", "blocklist", ["blocklist"], ["blocklist: bad.example"], 4),
    ]


def test_the_kernel_keeps_the_promises() -> None:
    rules = (HasText(), NotBlocked(HOSTS, URLS), Words(("ok",), ("bad word",)))
    rows = len(ADDRESSES)
    batch = pa.RecordBatch.from_pydict(
        {"id": [str(n) for n in range(rows)], "url": ADDRESSES, "text": (TEXTS * 2)[:rows]}
    )
    check_kernel(partial(kept, rules=rules), batch)


def kept(batch: pa.RecordBatch, rules: tuple[DocumentRule, ...]) -> pa.RecordBatch:
    return filter_documents(batch, rules).kept


def test_a_missing_column_is_named() -> None:
    with pytest.raises(KeyError, match="the rule blocklist needs a column 'url'; there are text"):
        broken(NotBlocked(HOSTS), text=["a"])
