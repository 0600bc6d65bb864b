"""What a token is, as bytes that travel to the workers: a worker needs no network, no path, no environment.

A vocabulary is read and checked where the job is launched, by beam_etl.io.vocabularies. Compressed,
tiktoken's are 0.4 MB (gpt2) to 1.7 MB (o200k_base), and a tokenizer.json of 2.1 MB is 0.6 MB; a pipeline
holds one for each step.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
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

    special: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    """Of tiktoken: tokens that no text is cut into, and their ids."""

    packed: bytes = field(default=b"", repr=False)
    """Of tiktoken, lines of a token in base64 and its rank; of Hugging Face, the tokenizer.json;
    compressed."""

    def content(self) -> bytes:
        """The file that the vocabulary is."""
        return zlib.decompress(self.packed)

    def ranks(self) -> dict[bytes, int]:
        """Of tiktoken: tokens and their ids, in which they are merged, ascending."""
        pairs = (line.split(b" ") for line in self.content().splitlines())
        return {base64.b64decode(token): int(rank) for token, rank in pairs}

    def tokenizer(self) -> dict[str, Any]:
        """Of Hugging Face: the tokenizer.json, parsed."""
        parsed: dict[str, Any] = json.loads(self.content())
        return parsed

    def special_tokens(self) -> dict[str, int]:
        """Tokens that no text is cut into, such as <|endoftext|>, and their ids."""
        if self.kind != HUGGING_FACE:
            return dict(self.special)
        added = self.tokenizer().get("added_tokens") or []
        return {token["content"]: token["id"] for token in added if token.get("special")}

    def id_count(self) -> int:
        """One more than the largest id that a token has. Words have none."""
        if self.kind == WORDS.kind:
            return 0
        if self.kind == TIKTOKEN:
            return 1 + max([*self.ranks().values(), *(number for _, number in self.special)])
        tokenizer = self.tokenizer()
        known = tokenizer["model"]["vocab"]
        numbers = known.values() if isinstance(known, dict) else range(len(known))
        added = (token["id"] for token in tokenizer.get("added_tokens") or [])
        return 1 + max([*numbers, *added], default=-1)


WORDS = Vocabulary("words", "words")


def rank_lines(ranked: Iterable[tuple[int, bytes]]) -> bytes:
    """Tokens by rank as tiktoken's files have them: lines of a token in base64 and its rank."""
    return b"".join(b"%b %d\n" % (base64.b64encode(token), rank) for rank, token in ranked)


def tiktoken_vocabulary(
    name: str, pattern: str, ranks: Mapping[bytes, int], special: Mapping[str, int]
) -> Vocabulary:
    """The vocabulary of a tiktoken encoding. The text of a special token in a document is ordinary text.

    Raises:
      VocabularyError: it is larger than PACKED_BYTES.
    """
    lines = rank_lines(sorted((rank, token) for token, rank in ranks.items()))
    return _packed(f"{TIKTOKEN}:{name}", TIKTOKEN, pattern, lines, tuple(sorted(special.items())))


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


def _packed(
    spec: str, kind: str, pattern: str, content: bytes, special: tuple[tuple[str, int], ...] = ()
) -> Vocabulary:
    packed = zlib.compress(content)
    if len(packed) > PACKED_BYTES:
        raise VocabularyError(
            f"{spec}: {len(packed):,} bytes compressed; at most {PACKED_BYTES:,} may travel in a job's graph"
        )
    return Vocabulary(spec, kind, pattern, special, packed)
