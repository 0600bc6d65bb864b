"""Every signal of random and real texts against a count in plain Python."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.signal_table import SIGNALS
from beam_etl.kernels.signals import signals
from beam_etl.testing import check_kernel
from tests import signal_oracle

NAMES = [signal.name for signal in SIGNALS]


def found(texts: list[str]) -> list[dict[str, int]]:
    rows: list[dict[str, int]] = signals(pa.array(texts, pa.string())).to_pylist()
    return rows


def expected(text: str) -> dict[str, int]:
    counted = signal_oracle.signals(text)
    return {name: counted.get(name, 0) for name in NAMES}


LINES = (
    *(
        "The cat sat on the mat.",
        "the the the the the the",
        "- a point",
        "  • another one...",
        "and so on…",
        "x",
        "",
    ),
    *(
        " ",
        "\t",
        "To be, and not to be with that!",
        "Read our PRIVACY policy here, please.",
        "#tag # tags ##",
    ),
    *(
        "Please enable JavaScript to go on.",
        "if (a) { b(); }",
        "Use a { and a }.",
        "Lorem ipsum dolor sit amet.",
    ),
    *(
        "One. Two. Three? Four!",
        "Cited[1] text [citation needed] and [edit] more [].",
        'He said: "no."',
        "No. 5  .",
    ),
    *(
        "w" * 1001 + " too long, this one.",
        "ẞ Straße. Größe! Ελλάδα;",
        "中文。 日本語！",
        "a b c d e f g h i j k.",
    ),
)
BREAKS = ("\n", "\n\n", "\n\n\n", "\r\n", "\r", "\v", "\u2028", " \n ", "", " ")


@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(BREAKS)), max_size=30))
def test_every_signal_of_texts_made_of_lines(parts: list[tuple[str, str]]) -> None:
    text = "".join(line + end for line, end in parts)
    assert found([text]) == [expected(text)]


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "."]), max_size=60).map(" ".join))
def test_every_signal_of_texts_that_repeat(text: str) -> None:
    assert found([text]) == [expected(text)]


@given(st.text(max_size=60))
def test_every_signal_of_any_text(text: str) -> None:
    assert found([text]) == [expected(text)]


@pytest.mark.slow
def test_every_signal_of_real_texts(webtext: list[dict[str, Any]]) -> None:
    texts = [document["text"] for document in webtext[::25]]
    assert found(texts) == [expected(text) for text in texts]


def test_a_null_has_nulls_and_an_empty_text_has_counts() -> None:
    rows = signals(pa.array([None, "", "a"], pa.large_string())).to_pylist()
    assert set(rows[0].values()) == {None}
    assert (rows[1]["characters"], rows[1]["cut_lines"], rows[2]["characters"]) == (0, 1, 1)


def test_bytes_that_are_no_text_count_as_characters_of_no_word() -> None:
    texts = pa.array([b"a\xff\xfe b", b"\xf0\x9f"], pa.binary()).view(pa.string())
    rows = signals(texts).to_pylist()
    assert [(row["bytes"], row["characters"], row["letter_tokens"]) for row in rows] == [(5, 5, 2), (2, 2, 0)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_the_kind_of_string_makes_no_difference(kind: pa.DataType) -> None:
    texts = pa.array(["skipped", "One line.\nAnd one more.", "the end"], pa.string())
    dictionary = texts.dictionary_encode()
    assert signals(texts.cast(kind).slice(1)).equals(signals(dictionary.slice(1)))


PROSE = "".join(
    f"{'wordiness'[: 1 + at % 9]}{at % 7} " + ", and so " * (at % 5 == 0) for at in range(800_000)
)
LARGE = {
    "prose": (PROSE, 20),
    "marks": ("!" * 2_000_000, 65),
    "one line with a reference": (PROSE.replace(".", ",") + "and so on [1].", 25),
}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize(("text", "times"), LARGE.values(), ids=LARGE)
def test_a_large_document_takes_a_bounded_multiple_of_its_bytes(text: str, times: int) -> None:
    texts = pa.array([text], pa.large_string())
    signals(texts.slice(0, 0))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    signals(texts)
    assert memory("VmHWM") - before < times * len(text)


def memory(name: str) -> int:
    """Bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="text must be a string array, not int64"):
        signals(pa.array([1]))


def by_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    return signals(batch.column("text"))


@pytest.mark.slow
def test_signals_keep_the_promises_of_kernels(webtext: list[dict[str, Any]]) -> None:
    texts = pa.array([*(document["text"] for document in webtext[:20]), None, "", "a"])
    check_kernel(by_row, pa.record_batch({"text": texts}))
