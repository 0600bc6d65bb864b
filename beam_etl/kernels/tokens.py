"""Tokens of texts, their number and their ids: by words or by a tiktoken or Hugging Face vocabulary.

What counts is defined by a reference: tiktoken's `encode_ordinary`, or `encode` of Hugging Face's tokenizers
without the tokens that it would add, without truncation and with `encode_special_tokens`. The text of a
special token, such as <|endoftext|>, is ordinary text; added tokens that aren't special, such as runs of
spaces, belong to the vocabulary. A faster engine counts instead where it agrees with the reference on a
hostile sample.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.fast_tokens import EngineError, composes, fast_encode, is_panic
from beam_etl.kernels.nfc import not_nfc
from beam_etl.kernels.text import count_words
from beam_etl.kernels.token_sample import hostile_sample
from beam_etl.kernels.utf8 import large_string, utf8
from beam_etl.kernels.vocabularies import TIKTOKEN, WORDS, Vocabulary, VocabularyError

Count = Callable[[pa.Array], npt.NDArray[np.int64]]
Encode = Callable[[pa.Array], pa.LargeListArray]

ENCODING_BYTES = 256 << 10
"""Text given to tokenizers at once, which keeps some 100 bytes of each token until all of it is done."""


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens. Made by `token_counter`; thread-safe, and doesn't pickle."""

    count: Count
    """Tokens of each text of a string array: int64[rows]. A null has none."""

    encode: Encode
    """Ids of the tokens of each text of a string array: large_list<uint32>[rows]. A null has none. Words have no ids:
    a VocabularyError."""

    engine: str
    """What counts, and why nothing faster does: `tiktoken 0.14.0 (gigatoken is not installed)`."""


def token_counter(vocabulary: Vocabulary) -> TokenCounter:
    """The fastest exact counter there is for a vocabulary. Takes half a second: do it once a process.

    Raises:
      VocabularyError: a library is missing, or can't read the vocabulary.
    """
    if vocabulary == WORDS:
        return TokenCounter(count_words, _no_ids, WORDS.spec)
    reference = reference_counter(vocabulary)
    try:
        fast = fast_encode(vocabulary)
        name = _named("gigatoken")
        if composes(vocabulary):
            fast = _split_by_form(fast, reference.encode)
        sample = hostile_sample(vocabulary)
        if not fast(sample).equals(reference.encode(sample)):
            raise EngineError(f"{name} encodes differently")
    except EngineError as error:
        return replace(reference, engine=f"{reference.engine} ({error})")
    return TokenCounter(partial(_lengths, encode=fast), fast, name)


def reference_counter(vocabulary: Vocabulary) -> TokenCounter:
    """The counter by the library whose counts are right by definition.

    Raises:
      VocabularyError: the library is missing, or can't read the vocabulary.
    """
    make, library = (_tiktoken, "tiktoken") if vocabulary.kind == TIKTOKEN else (_tokenizers, "tokenizers")
    try:
        return TokenCounter(*make(vocabulary), _named(library))
    except ImportError as error:
        raise VocabularyError(
            f'{vocabulary.spec} needs the library {library}: pip install "beam-etl[tokens]"'
        ) from error


def _named(library: str) -> str:
    return f"{library} {version(library)}"


def _no_ids(text: pa.Array) -> pa.LargeListArray:
    raise VocabularyError("words have no ids: use tiktoken:NAME or hf:PATH")


def _lengths(text: pa.Array, encode: Encode) -> npt.NDArray[np.int64]:
    return np.diff(encode(text).offsets.to_numpy())


def _split_by_form(composed: Encode, other: Encode) -> Encode:
    """Encodes with `composed` the texts that are NFC, with `other` the few that aren't."""

    def encode(text: pa.Array) -> pa.LargeListArray:
        text = large_string(text)
        encoded = composed(text)
        rows = not_nfc(utf8(text))
        if not rows.size:
            return encoded
        places = np.arange(len(text))
        places[rows] = len(text) + np.arange(rows.size)
        return pa.concat_arrays([encoded, other(text.take(pa.array(rows)))]).take(pa.array(places))

    return encode


def _tiktoken(vocabulary: Vocabulary) -> tuple[Count, Encode]:
    import tiktoken

    encoding = tiktoken.Encoding(
        vocabulary.spec, pat_str=vocabulary.pattern, mergeable_ranks=vocabulary.ranks(), special_tokens={}
    )

    def tokens(text: str) -> list[int]:
        try:
            return encoding.encode_ordinary(text)
        except BaseException as error:
            if not is_panic(error):
                raise
            return encoding._encode_only_native_bpe(text)  # a million spaces exhaust its own regex engine

    def count(text: pa.Array) -> npt.NDArray[np.int64]:
        return np.array([len(tokens(one)) for part in _parts(text) for one in part], np.int64)

    def encode(text: pa.Array) -> pa.LargeListArray:
        return _ids([tokens(one) for one in part] for part in _parts(text))

    return count, encode


def _tokenizers(vocabulary: Vocabulary) -> tuple[Count, Encode]:
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_str(vocabulary.content().decode())
    except Exception as error:  # the library raises nothing more exact
        raise VocabularyError(f"{vocabulary.spec}: {_named('tokenizers')} can't read it: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    batch: Any = partial(tokenizer.encode_batch_fast, add_special_tokens=False)

    def count(text: pa.Array) -> npt.NDArray[np.int64]:
        return np.array([len(one) for part in _parts(text) for one in batch(part)], np.int64)

    def encode(text: pa.Array) -> pa.LargeListArray:
        return _ids([one.ids for one in batch(part)] for part in _parts(text))

    return count, encode


def _ids(parts: Iterable[list[list[int]]]) -> pa.LargeListArray:
    """Lists of ids, part after part, so that few of them are Python's at a time."""
    kind = pa.large_list(pa.uint32())
    return pa.concat_arrays([pa.array([], kind), *(pa.array(part, kind) for part in parts)])


def _parts(text: pa.Array) -> Iterator[list[str]]:
    """The texts in lists of about ENCODING_BYTES; a null is empty."""
    text = large_string(text)
    if text.null_count:
        text = pc.fill_null(text, "")
    ends = np.cumsum(pc.binary_length(text).to_numpy())
    start = 0
    while start < len(text):
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + ENCODING_BYTES, "right")))
        yield text.slice(start, end - start).to_pylist()
        start = end
