"""What a token is, as bytes that travel to the workers: a worker needs no network, no path, no environment.

A vocabulary is read and checked where the job is launched, by beam_etl.io.vocabularies. Compressed,
tiktoken's are 0.4 MB (gpt2) to 1.7 MB (o200k_base), and a tokenizer.json of 2.1 MB is 0.6 MB; a pipeline
holds one for each step.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TIKTOKEN = "tiktoken"
HUGGING_FACE = "hf"

PACKED_BYTES = 16 << 20
"""A vocabulary that is larger, compressed, is refused: it is part of the job's graph, which engines limit."""


class VocabularyError(ValueError):
    """A vocabulary that can't be had or isn't one. The message names it and says what to do."""


@dataclass(frozen=True)
class Vocabulary:
    """A rule for cutting text into tokens. Equal ones count equally; hashable, and pickles as its bytes."""

    spec: str
    """As the user names it: words, tiktoken:NAME, hf:PATH."""

    kind: str
    """What is before the colon."""

    pattern: str = field(default="", repr=False)
    """Of tiktoken: the regular expression that cuts text into pieces."""

    packed: bytes = field(default=b"", repr=False)
    """Of tiktoken, lines of a token in base64 and its rank; of Hugging Face, the tokenizer.json;
    compressed."""

    def content(self) -> bytes:
        """The file that the vocabulary is."""
        return zlib.decompress(self.packed)

    def ranks(self) -> dict[bytes, int]:
        """Of tiktoken: tokens, and in which order they are merged."""
        pairs = (line.split(b" ") for line in self.content().splitlines())
        return {base64.b64decode(token): int(rank) for token, rank in pairs}

    def tokenizer(self) -> dict[str, Any]:
        """Of Hugging Face: the tokenizer.json, parsed."""
        parsed: dict[str, Any] = json.loads(self.content())
        return parsed


WORDS = Vocabulary("words", "words")


def tiktoken_vocabulary(name: str, pattern: str, ranks: Mapping[bytes, int]) -> Vocabulary:
    """The vocabulary of a tiktoken encoding.

    Ranks are numbered anew without gaps (p50k_base has one), which changes token numbers but no count.
    Special tokens are left out: their text in a document is ordinary text.

    Raises:
      VocabularyError: it is larger than PACKED_BYTES.
    """
    ordered = sorted(ranks, key=ranks.__getitem__)
    lines = b"".join(b"%b %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(ordered))
    return _packed(f"{TIKTOKEN}:{name}", TIKTOKEN, pattern, lines)


def hugging_face_vocabulary(path: str, content: bytes) -> Vocabulary:
    """The vocabulary of a tokenizer.json.

    Raises:
      VocabularyError: it is none, is larger than PACKED_BYTES, or drops merges at random.
    """
    spec = f"{HUGGING_FACE}:{path}"
    try:
        parsed = json.loads(content)
        model = parsed["model"]
        dropout = model.get("dropout")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        found = content[:40].decode("utf-8", "backslashreplace")
        raise VocabularyError(
            f"{spec}: not a tokenizer.json, which is a JSON object with a 'model'; it starts with {found!r}. "
            "Convert a SentencePiece .model or a vocab.txt first; save_pretrained of transformers does"
        ) from error
    if dropout:
        raise VocabularyError(
            f"{spec}: drops {dropout:.0%} of its merges at random; set model.dropout to null"
        )
    return _packed(spec, HUGGING_FACE, "", content)


def _packed(spec: str, kind: str, pattern: str, content: bytes) -> Vocabulary:
    packed = zlib.compress(content)
    if len(packed) > PACKED_BYTES:
        raise VocabularyError(
            f"{spec}: {len(packed):,} bytes compressed; at most {PACKED_BYTES:,} may travel in a job's graph"
        )
    return Vocabulary(spec, kind, pattern, packed)
