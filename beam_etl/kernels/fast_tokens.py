"""Tokens by gigatoken: some ten times as fast as tiktoken, and not always right, so `tokens` checks it.

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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.hashing import string_buffers
from beam_etl.kernels.token_sample import hostile_sample
from beam_etl.kernels.utf8 import large_string
from beam_etl.kernels.vocabularies import TIKTOKEN, Vocabulary, rank_lines

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


def fast_encode(vocabulary: Vocabulary) -> Callable[[pa.Array], pa.LargeListArray]:
    """A function as TokenCounter.encode, thread-safe. It may be wrong, and needs NFC if `composes`.

    Raises:
      EngineError: gigatoken isn't installed or doesn't know the vocabulary.
    """
    try:
        import gigatoken  # noqa: F401
    except ImportError as error:
        raise EngineError("gigatoken is not installed") from error
    encoder = _Encoder(lambda: _build(vocabulary))
    try:
        encoder.encode(hostile_sample(vocabulary))
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise EngineError("gigatoken does not know this vocabulary") from error
    ids = _gapped_ids(vocabulary)
    return encoder.encode if ids is None else partial(_renumbered, encode=encoder.encode, ids=ids)


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
        file.write_bytes(rank_lines(enumerate(vocabulary.ranks())))
        return BPETokenizer.from_tiktoken(file, scheme, {})


@dataclass
class _Instance:
    tokenizer: "BPETokenizer | SentencePieceTokenizer"
    tokens: int = 0


class _Encoder:
    """Hands each call an instance that no other is using; there is at most one a core, so calls may wait."""

    def __init__(self, build: Callable[[], "BPETokenizer | SentencePieceTokenizer"]) -> None:
        self._build = build
        # Last in, first out: the instance used last has the warmest cache. None is one still to be made.
        self._idle: queue.LifoQueue[_Instance | None] = queue.LifoQueue()
        cores = os.cpu_count() or 1
        self._share = max(LEAST_TOKENS, CACHE_TOKENS // cores)
        for _ in range(cores):
            self._idle.put(None)

    def encode(self, text: pa.Array) -> pa.LargeListArray:
        text = large_string(text)
        if not len(text):
            return pa.array([], pa.large_list(pa.uint32()))
        instance = self._idle.get()
        try:
            instance = instance or _Instance(self._build())
            encoded = _encode(instance.tokenizer, pc.fill_null(text, "") if text.null_count else text)
            instance.tokens += len(encoded.values)
            if instance.tokens >= self._share:
                instance = None
        except BaseException:
            instance = None
            raise
        finally:
            self._idle.put(instance)
        return encoded


def _encode(
    tokenizer: "BPETokenizer | SentencePieceTokenizer", text: pa.LargeStringArray
) -> pa.LargeListArray:
    """Tokens of each text; its buffers are read where they are, as are the tokens."""
    import awkward as ak

    offsets, letters = string_buffers(text)
    characters = ak.contents.NumpyArray(letters, parameters={"__array__": "char"})
    strings = ak.contents.ListOffsetArray(
        ak.index.Index64(offsets), characters, parameters={"__array__": "string"}
    )
    tokens: Any = tokenizer.encode_batch(ak.Array(strings), parallel=False).layout
    ids = ak.to_numpy(ak.Array(tokens.content)).astype(np.uint32, copy=False)
    return pa.LargeListArray.from_arrays(tokens.offsets.data, ids)


def _gapped_ids(vocabulary: Vocabulary) -> npt.NDArray[np.uint32] | None:
    """Ids of tiktoken's tokens by rank, where some numbers are no token's: gigatoken takes numbers without gaps."""
    if vocabulary.kind != TIKTOKEN:
        return None
    ids = np.fromiter(vocabulary.ranks().values(), np.uint32)
    return ids if ids[-1] != len(ids) - 1 else None


def _renumbered(
    text: pa.Array, encode: Callable[[pa.Array], pa.LargeListArray], ids: npt.NDArray[np.uint32]
) -> pa.LargeListArray:
    encoded = encode(text)
    return pa.LargeListArray.from_arrays(encoded.offsets, ids[encoded.values.to_numpy()])
