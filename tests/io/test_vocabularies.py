import json
import sys
from pathlib import Path

import pytest

from beam_etl.io import vocabularies
from beam_etl.io.vocabularies import load_vocabulary
from beam_etl.kernels import vocabularies as kernel
from beam_etl.kernels.vocabularies import WORDS, VocabularyError

UNKNOWN = {
    "nothing": ("", "must be words, tiktoken:NAME .* or hf:PATH"),
    "another word": ("word", "no vocabulary 'word'"),
    "an encoding without its library": ("cl100k_base", "tiktoken:NAME"),
    "no name": ("tiktoken:", "tiktoken:cl100k_base"),
    "no path": ("hf:", "hf:models/tokenizer.json"),
    "an encoding that there is not": ("tiktoken:cl100k", "no encoding 'cl100k'; it has .*cl100k_base"),
    "a path that there is not": ("hf:gpt2/none.json", "none.json can't be read .* hf download"),
    "a folder": (f"hf:{Path(__file__).parent}", "can't be read .* path of a tokenizer.json"),
    "a filesystem that there is not": ("hf:nowhere://a/tokenizer.json", "can't be read"),
}


@pytest.mark.parametrize(("spec", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_no_vocabulary_says_what_one_is(spec: str, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        load_vocabulary(spec)


BROKEN = {
    "empty": b"",
    "not JSON": b"\x0a\x0b\x0cSentencePiece",
    "cut short": b'{"model": {"type": "BPE", "vocab": {"a": 0',
    "a list": b"[1, 2]",
    "no model": b'{"version": "1.0"}',
    "a vocab.json": json.dumps({"the": 0, "model": 1}).encode(),
    "nested without end": b'{"model":' * 100_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_file_of_another_kind_is_told_by_its_beginning(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(VocabularyError, match=r"tokenizer.json: not a tokenizer.json.* it starts with '"):
        load_vocabulary(f"hf:{file}")


def test_a_model_that_the_library_cannot_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text('{"version": "1.0", "model": {"type": "Telepathy"}}')
    with pytest.raises(VocabularyError, match=r"tokenizers [0-9.]+ can't read it"):
        load_vocabulary(f"hf:{file}")


def test_merges_dropped_at_random_are_refused(shared: Path, tmp_path: Path) -> None:
    tokenizer = json.loads((shared / "data/tokens/gpt-neo-test-tokenizer.json").read_bytes())
    tokenizer["model"]["dropout"] = 0.1
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(VocabularyError, match="drops 10% of its merges at random"):
        load_vocabulary(f"hf:{file}")


def test_a_file_too_large_to_travel_is_refused(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = f"hf:{shared}/data/tokens/gpt-neo-test-tokenizer.json"
    monkeypatch.setattr(kernel, "PACKED_BYTES", 1 << 19)
    with pytest.raises(VocabularyError, match="at most 524,288 may travel"):
        load_vocabulary(spec)
    monkeypatch.setattr(vocabularies, "TOKENIZER_BYTES", 1 << 20)
    with pytest.raises(VocabularyError, match="more than 1,048,576 bytes"):
        load_vocabulary(spec)


@pytest.mark.parametrize("cache", ["", "set"])
def test_an_encoding_out_of_reach_says_how_to_bring_it(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str) -> bytes:
        raise ConnectionError(f"no route to {url.split('/')[2]}")

    monkeypatch.setattr("tiktoken.load.read_file", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    if cache:
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(VocabularyError) as caught:
        load_vocabulary("tiktoken:cl100k_base")
    message = str(caught.value)
    assert "no route to openaipublic" in message
    assert (f"TIKTOKEN_CACHE_DIR={tmp_path}" if cache else "TIKTOKEN_CACHE_DIR is not set") in message
    assert "tiktoken.get_encoding('cl100k_base')" in message


@pytest.mark.parametrize(
    ("library", "spec"),
    [("tiktoken", "tiktoken:gpt2"), ("tokenizers", "hf:{shared}/data/tokens/gpt-neo-test-tokenizer.json")],
)
def test_a_missing_library_says_what_to_install(
    library: str, spec: str, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        VocabularyError, match=rf'needs the library {library}: pip install "beam-etl\[tokens\]"'
    ):
        load_vocabulary(spec.format(shared=shared))


def test_words_need_nothing() -> None:
    assert load_vocabulary("words") == WORDS


def test_equal_files_are_equal_vocabularies(shared: Path) -> None:
    spec = f"hf:{shared}/data/tokens/gpt-neo-test-tokenizer.json"
    assert load_vocabulary(spec) == load_vocabulary(spec)
    assert len(repr(load_vocabulary(spec))) < 300
