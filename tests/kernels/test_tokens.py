import importlib.metadata
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest
import tiktoken
import tokenizers

from beam_etl.io.vocabularies import load_vocabulary
from beam_etl.kernels import fast_tokens, tokens
from beam_etl.kernels.tokens import TokenCounter, token_counter
from beam_etl.kernels.vocabularies import WORDS, Vocabulary, VocabularyError, hugging_face_vocabulary

Oracle = Callable[[list[str]], list[int]]

HUGGING_FACE = "hf"
ENCODINGS = ["r50k_base", "p50k_base", "cl100k_base", "o200k_base"]
INSTALLED = "as installed"
NAMES = [*ENCODINGS, "gpt2", HUGGING_FACE]


@pytest.fixture(scope="module", autouse=True)
def _offline(shared: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "data/tokens/tiktoken_cache"))
        yield


@pytest.fixture(params=[INSTALLED, "without gigatoken"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != INSTALLED:
        _uninstall("gigatoken", monkeypatch)
    return str(request.param)


def _uninstall(distribution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the module nor the metadata of a distribution can be found."""

    def version(name: str) -> str:
        if name == distribution:
            raise importlib.metadata.PackageNotFoundError(name)
        return importlib.metadata.version(name)

    monkeypatch.setitem(sys.modules, distribution, None)
    monkeypatch.setattr(tokens, "version", version)


@pytest.fixture(scope="module")
def vocabulary(shared: Path) -> Callable[[str], Vocabulary]:
    return cache(lambda name: load_vocabulary(_spec(name, shared)))


@pytest.fixture
def oracle(shared: Path) -> Callable[[str], Oracle]:
    """The published library on the published vocabulary, one text after the other."""

    def make(name: str) -> Oracle:
        if name != HUGGING_FACE:
            encoding = tiktoken.get_encoding(name)
            return lambda texts: [len(encoding.encode_ordinary(text)) for text in texts]
        tokenizer = tokenizers.Tokenizer.from_file(str(_tokenizer_json(shared)))
        tokenizer.encode_special_tokens = True
        return lambda texts: [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]

    return make


def _tokenizer_json(shared: Path) -> Path:
    return shared / "data/tokens/gpt-neo-test-tokenizer.json"


def _spec(name: str, shared: Path) -> str:
    return f"hf:{_tokenizer_json(shared)}" if name == HUGGING_FACE else f"tiktoken:{name}"


@cache
def counter_by(vocabulary: Vocabulary, engine: str) -> TokenCounter:
    return token_counter(vocabulary)


def count(vocabulary: Vocabulary, texts: list[str], engine: str = INSTALLED) -> list[int]:
    counted: list[int] = counter_by(vocabulary, engine).count(pa.array(texts, pa.large_string())).tolist()
    return counted


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_real_documents_equal_the_library(
    name: str, vocabulary: Callable[[str], Vocabulary], oracle: Callable[[str], Oracle], webtext: list[Any]
) -> None:
    step = 40 if name == HUGGING_FACE else 10
    texts = [document["text"] for document in webtext[::step]]
    assert count(vocabulary(name), texts) == oracle(name)(texts)


@pytest.mark.parametrize("name", ["r50k_base", "cl100k_base", "o200k_base", HUGGING_FACE])
def test_counts_of_every_code_point_equal_the_library(
    name: str, vocabulary: Callable[[str], Vocabulary], oracle: Callable[[str], Oracle]
) -> None:
    width = 64
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    if name == HUGGING_FACE:  # ten times as slow: planes that have no characters are left out
        points = points[:0x20000] + points[0xE0000:0xE0200]
    rows = [points[start : start + width] for start in range(0, len(points), width)]
    texts = ["".join(row) for row in rows] + [" a".join(row) + "1" for row in rows[: 0x3000 // width]]
    texts += [
        "a" + point + "\u0323\u0301 " + point * 2 for point in points[:0x2000] + points[0x10000:0x12000]
    ]
    assert count(vocabulary(name), texts) == oracle(name)(texts)


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_naughty_strings_equal_the_library(
    name: str,
    engine: str,
    vocabulary: Callable[[str], Vocabulary],
    oracle: Callable[[str], Oracle],
    shared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "ENCODING_BYTES", 100)
    texts = json.loads((shared / "data/hostile/blns.json").read_text(encoding="utf-8"))
    assert count(vocabulary(name), texts, engine) == oracle(name)(texts)


def _reference_ids(name: str, shared: Path) -> Callable[[str], list[int]]:
    """The ids of a text by the published library on the published vocabulary."""
    if name != HUGGING_FACE:
        return tiktoken.get_encoding(name).encode_ordinary
    tokenizer = tokenizers.Tokenizer.from_file(str(_tokenizer_json(shared)))
    tokenizer.encode_special_tokens = True
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", NAMES)
def test_ids_equal_the_library(
    name: str, engine: str, vocabulary: Callable[[str], Vocabulary], shared: Path, webtext: list[Any]
) -> None:
    """p50k_base has a gap in its numbers."""
    texts = ["The cat sat. ", None, "", "  cafe\u0301", *(document["text"] for document in webtext[::1000])]
    expected = [_reference_ids(name, shared)(text or "") for text in texts]
    counter = counter_by(vocabulary(name), engine)
    encoded = counter.encode(pa.array(texts, pa.large_string()).slice(1))
    assert encoded.type == pa.large_list(pa.uint32())
    assert encoded.to_pylist() == expected[1:]
    assert counter.count(pa.array(texts, pa.string())).tolist() == list(map(len, expected))


@pytest.mark.parametrize(
    ("name", "token", "number", "count"),
    [
        ("p50k_base", "<|endoftext|>", 50256, 50281),
        ("cl100k_base", "<|endoftext|>", 100257, 100277),
        (HUGGING_FACE, "<|endoftext|>", 50279, 50280),
    ],
)
def test_special_tokens_keep_their_published_ids(
    name: str, token: str, number: int, count: int, vocabulary: Callable[[str], Vocabulary]
) -> None:
    assert vocabulary(name).special_tokens()[token] == number
    assert vocabulary(name).id_count() == count


def test_words_have_no_ids() -> None:
    assert WORDS.id_count() == 0
    with pytest.raises(VocabularyError, match="words have no ids"):
        token_counter(WORDS).encode(pa.array(["a"]))


SPECIAL = {"r50k_base": 7, "cl100k_base": 7, "o200k_base": 7, HUGGING_FACE: 6}


@pytest.mark.parametrize("name", SPECIAL)
def test_the_text_of_a_special_token_is_ordinary_text(
    name: str, engine: str, vocabulary: Callable[[str], Vocabulary], oracle: Callable[[str], Oracle]
) -> None:
    texts = ["<|endoftext|>", "a<|endoftext|>b <|padding|> <|fim_prefix|><|endofprompt|>"]
    counted = count(vocabulary(name), texts, engine)
    assert counted == oracle(name)(texts)
    assert counted[0] == SPECIAL[name]


def test_the_fast_engine_counts_where_it_agrees(vocabulary: Callable[[str], Vocabulary]) -> None:
    assert {counter_by(vocabulary(name), INSTALLED).engine.split()[0] for name in NAMES} == {"gigatoken"}


def test_without_the_fast_engine_the_library_counts_and_says_so(
    vocabulary: Callable[[str], Vocabulary], monkeypatch: pytest.MonkeyPatch
) -> None:
    _uninstall("gigatoken", monkeypatch)
    reason = "(gigatoken is not installed)"
    assert token_counter(vocabulary("gpt2")).engine == f"tiktoken {tiktoken.__version__} {reason}"
    assert token_counter(vocabulary(HUGGING_FACE)).engine == f"tokenizers {tokenizers.__version__} {reason}"


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("cl100k_base", "qwen2"),
        ("cl100k_base", "o200k"),
        ("o200k_base", "gpt4"),
        ("r50k_base", "nemotron"),
    ],
)
def test_an_engine_that_cuts_text_a_little_differently_is_found_out(
    name: str,
    scheme: str,
    vocabulary: Callable[[str], Vocabulary],
    oracle: Callable[[str], Oracle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(fast_tokens._SCHEMES, name, scheme)
    counter = token_counter(vocabulary(name))
    assert counter.engine.startswith("tiktoken")
    assert "encodes differently" in counter.engine
    texts = ["In 12345 days, I'LL  see"]
    assert counter.count(pa.array(texts)).tolist() == oracle(name)(texts)


WORD_LEVEL = {
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1, "cat": 2}, "unk_token": "[UNK]"},
    "pre_tokenizer": {"type": "Whitespace"},
    "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
    "padding": {
        "strategy": {"Fixed": 50},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[UNK]",
    },
}
WORD_PIECE = {
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {
            "[UNK]": 0,
            "[CLS]": 1,
            "[SEP]": 2,
            "cat": 3,
            "##s": 4,
            "##ty": 5,
            "[": 6,
            "]": 7,
            "sep": 8,
        },
    },
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    "added_tokens": [
        {
            "id": 2,
            "content": "[SEP]",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        },
        {
            "id": 9,
            "content": "cat food",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": False,
        },
    ],
}
SMALL = {
    "neither cut to a length nor padded to one": (WORD_LEVEL, {"the cat the dog": 4, "": 0, "cat": 1}),
    "nothing is added at the ends": (WORD_PIECE, {"cats catty": 4, "": 0, "Cat": 1, "dog": 1}),
    "special text is ordinary, other added tokens are not": (WORD_PIECE, {"cat [SEP] cat": 5, "cat food": 1}),
}


@pytest.mark.parametrize(("config", "expected"), SMALL.values(), ids=SMALL)
def test_small_vocabularies_counted_by_hand(
    config: dict[str, Any], expected: dict[str, int], engine: str
) -> None:
    made = hugging_face_vocabulary(
        "small.json", json.dumps({"version": "1.0", "added_tokens": [], **config}).encode()
    )
    assert dict(zip(expected, count(made, list(expected), engine), strict=True)) == expected


@pytest.mark.parametrize("name", ["cl100k_base", HUGGING_FACE])
def test_arrays_of_every_form_count_alike(
    name: str, engine: str, vocabulary: Callable[[str], Vocabulary]
) -> None:
    texts = ["naïve café", None, "", "The cat sat.", None, "<|endoftext|>", "The cat sat."]
    counter = counter_by(vocabulary(name), engine)
    plain = pa.array(texts, pa.large_string())
    expected = counter.count(plain)
    assert expected[[1, 2, 4]].tolist() == [0, 0, 0]
    assert expected[3] == expected[6] > 0
    hidden = pa.Array.from_buffers(plain.type, 7, [plain.is_valid().buffers()[1], *_texts(["x y z"] * 7)])
    forms = [plain.cast(pa.string()), plain.cast(pa.string_view()), plain.dictionary_encode()]
    assert all((counter.count(form) == expected).all() for form in forms)
    assert (counter.count(pa.concat_arrays([plain, plain]).slice(5, 9)) == expected[[5, 6, *range(7)]]).all()
    assert counter.count(hidden).tolist()[1::3] == [0, 0]
    assert counter.count(plain.slice(0, 0)).tolist() == []


def _texts(texts: list[str]) -> list[Any]:
    return pa.array(texts, pa.large_string()).buffers()[1:]


def test_words_are_counted_without_any_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("gigatoken", "tiktoken", "tokenizers"):
        monkeypatch.setitem(sys.modules, library, None)
    counter = token_counter(WORDS)
    assert counter.engine == "words"
    assert counter.count(pa.array(["The cat sat on the mat.", None, ""])).tolist() == [6, 0, 0]


def test_threads_count_what_one_thread_counts(
    vocabulary: Callable[[str], Vocabulary], webtext: list[Any]
) -> None:
    counter = counter_by(vocabulary("r50k_base"), INSTALLED)
    batches = [pa.array([d["text"] for d in webtext[start : start + 50]]) for start in range(0, 2000, 50)]
    with ThreadPoolExecutor(8) as threads:
        together = [counts.tolist() for counts in threads.map(counter.count, batches)]
    assert together == [counter.count(batch).tolist() for batch in batches]


SHARES = {"one core": (1, 1, 0), "four cores": (4, 4, 0), "the least share": (1000, 1, 1)}
"""Cores, and how many fifths of the tokens of the test may be remembered: by all together, at least by each."""


@pytest.mark.parametrize(("cores", "together", "least"), SHARES.values(), ids=SHARES)
def test_what_the_engine_remembers_is_dropped_now_and_then(
    cores: int,
    together: int,
    least: int,
    vocabulary: Callable[[str], Vocabulary],
    webtext: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = [pa.array([d["text"] for d in webtext[start : start + 25]]) for start in range(0, 500, 25)]
    settled = counter_by(vocabulary("r50k_base"), INSTALLED)
    expected = [settled.count(batch).tolist() for batch in batches]
    build = Mock(side_effect=fast_tokens._build)
    fifth = sum(map(sum, expected)) // 5
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(fast_tokens, "CACHE_TOKENS", together * fifth)
    monkeypatch.setattr(fast_tokens, "LEAST_TOKENS", least * fifth)
    monkeypatch.setattr(fast_tokens, "_build", build)
    counter = token_counter(vocabulary("r50k_base"))
    assert [counter.count(batch).tolist() for batch in batches] == expected
    assert 3 <= build.call_count <= 6


def test_nobody_else_reads_the_file_of_ranks_and_it_goes_away_when_the_engine_fails(
    vocabulary: Callable[[str], Vocabulary], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Path, int]] = []

    def refuse(file: Path, *_: object) -> None:
        given.append((file, file.parent.stat().st_mode & 0o777))
        raise ValueError("not these")

    monkeypatch.setattr("gigatoken.gigatoken_rs.BPETokenizer", Mock(from_tiktoken=refuse))
    assert "(gigatoken does not know this vocabulary)" in token_counter(vocabulary("gpt2")).engine
    [(file, mode)] = given
    assert mode == 0o700
    assert not file.parent.exists()


def test_a_run_that_overwhelms_the_library_is_still_counted(
    vocabulary: Callable[[str], Vocabulary], monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = " " * 1_000_000
    fast = count(vocabulary("o200k_base"), [spaces, "a b"])
    _uninstall("gigatoken", monkeypatch)
    assert count(vocabulary("o200k_base"), [spaces, "a b"], "without gigatoken") == fast


@pytest.mark.parametrize("name", ["p50k_base", HUGGING_FACE])
def test_a_worker_needs_nothing_but_the_pickle(
    name: str, vocabulary: Callable[[str], Vocabulary], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent = pickle.dumps(vocabulary(name))
    assert len(sent) < 1_000_000
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.load.read_file", lambda path: pytest.fail(f"a worker reads {path}"))
    received = pickle.loads(sent)  # noqa: S301 -- our own
    assert received == vocabulary(name)
    assert hash(received) == hash(vocabulary(name))
    assert token_counter(received).count(pa.array(["The cat sat."])).tolist() == [4]
