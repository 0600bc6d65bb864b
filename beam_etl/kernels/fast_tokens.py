"""Counting with gigatoken: some ten times as fast as tiktoken, and not always right, so `tokens` checks it.

What its use depends on, measured with 0.10.0: an instance locks itself, so each thread has one; it releases
the GIL while it encodes; it remembers every piece of text that it has seen, for ever, so it is thrown away
now and then.
"""

import json
import os
import queue
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.hashing import string_buffers
from beam_etl.kernels.token_sample import hostile_sample
from beam_etl.kernels.utf8 import large_string
from beam_etl.kernels.vocabularies import TIKTOKEN, Vocabulary

if TYPE_CHECKING:
    from gigatoken.gigatoken_rs import BPETokenizer, SentencePieceTokenizer

CACHE_TOKENS = 24_000_000
"""Tokens that the instances of a process may have seen together; each has an equal share, after which it is
made anew. A piece that is remembered is two tokens or more and takes 43 to 85 bytes, so there are at most 12
million. Measured growth of an instance that saw 12 million: 110 MB with real text, 340 MB in the worst case,
unique words only. One that remembers nothing takes 40 MB, so the worst case on 8 cores is 1 GB."""

LEAST_TOKENS = 3_000_000
"""The least share. Making an instance takes 0.1 s (cl100k_base) or 0.2 s (o200k_base), as long as counting
this many. Beyond 8 cores, each therefore adds 70 MB with real text, 125 MB in the worst case."""

_SCHEMES = {
    "gpt2": "gpt2",
    "r50k_base": "gpt2",
    "p50k_base": "gpt2",
    "p50k_edit": "gpt2",
    "cl100k_base": "gpt4",
    "o200k_base": "o200k",
    "o200k_harmony": "o200k",
}
"""How gigatoken calls the way that an encoding of tiktoken cuts text into pieces."""


class EngineError(Exception):
    """Gigatoken can't count by this vocabulary. The message says why."""


def fast_count(vocabulary: Vocabulary) -> Callable[[pa.Array], npt.NDArray[np.int64]]:
    """A function as TokenCounter.count, thread-safe. It may count wrongly, and needs NFC if `composes`.

    Raises:
      EngineError: gigatoken isn't installed or doesn't know the vocabulary.
    """
    try:
        import gigatoken  # noqa: F401
    except ImportError as error:
        raise EngineError("gigatoken is not installed") from error
    counter = _Counter(lambda: _build(vocabulary))
    try:
        counter.count(hostile_sample(vocabulary))
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise EngineError("gigatoken does not know this vocabulary") from error
    return counter.count


def composes(vocabulary: Vocabulary) -> bool:
    """Whether the vocabulary brings text to NFC, which gigatoken is not let do: it knows a later Unicode."""
    if vocabulary.kind == TIKTOKEN:
        return False
    return (vocabulary.tokenizer().get("normalizer") or {}).get("type") == "NFC"


def is_panic(error: BaseException) -> bool:
    """Whether a library in Rust gave up. Such an error is no Exception, and its class can't be imported."""
    return type(error).__name__ == "PanicException"


def _build(vocabulary: Vocabulary) -> "BPETokenizer | SentencePieceTokenizer":
    from gigatoken.gigatoken_rs import BPETokenizer, load_hf_json

    if vocabulary.kind != TIKTOKEN:
        tokenizer = vocabulary.tokenizer()
        added = tokenizer.get("added_tokens") or []
        tokenizer["added_tokens"] = [token for token in added if not token.get("special")]
        if composes(vocabulary):
            tokenizer["normalizer"] = None
        return load_hf_json(json.dumps(tokenizer))
    scheme = _SCHEMES[vocabulary.spec.partition(":")[2]]
    with tempfile.TemporaryDirectory() as folder:  # it takes ranks from a file only
        file = Path(folder, "ranks.tiktoken")
        file.write_bytes(vocabulary.content())
        return BPETokenizer.from_tiktoken(file, scheme, {})


@dataclass
class _Instance:
    tokenizer: "BPETokenizer | SentencePieceTokenizer"
    tokens: int = 0


class _Counter:
    """Hands each call an instance that no other is using; there is at most one a core, so calls may wait."""

    def __init__(self, build: Callable[[], "BPETokenizer | SentencePieceTokenizer"]) -> None:
        self._build = build
        # Last in, first out: the instance used last has the warmest cache. None is one still to be made.
        self._idle: queue.LifoQueue[_Instance | None] = queue.LifoQueue()
        cores = os.cpu_count() or 1
        self._share = max(LEAST_TOKENS, CACHE_TOKENS // cores)
        for _ in range(cores):
            self._idle.put(None)

    def count(self, text: pa.Array) -> npt.NDArray[np.int64]:
        text = large_string(text)
        if not len(text):
            return np.zeros(0, np.int64)
        instance = self._idle.get()
        try:
            instance = instance or _Instance(self._build())
            counts = _count(instance.tokenizer, pc.fill_null(text, "") if text.null_count else text)
            instance.tokens += int(counts.sum())
            if instance.tokens >= self._share:
                instance = None
        except BaseException:
            instance = None
            raise
        finally:
            self._idle.put(instance)
        return counts


def _count(
    tokenizer: "BPETokenizer | SentencePieceTokenizer", text: pa.LargeStringArray
) -> npt.NDArray[np.int64]:
    """Tokens of each text; its buffers are read where they are."""
    import awkward as ak

    offsets, letters = string_buffers(text)
    characters = ak.contents.NumpyArray(letters, parameters={"__array__": "char"})
    strings = ak.contents.ListOffsetArray(
        ak.index.Index64(offsets), characters, parameters={"__array__": "string"}
    )
    tokens = tokenizer.encode_batch(ak.Array(strings), parallel=False)
    return np.array(ak.num(tokens, axis=1), np.int64)
