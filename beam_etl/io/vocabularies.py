"""Reading a vocabulary where a job is launched: what is wrong with it is known before anything runs."""

import os

from beam_etl.io.access import open_file
from beam_etl.kernels.tokens import reference_counter
from beam_etl.kernels.vocabularies import (
    HUGGING_FACE,
    TIKTOKEN,
    WORDS,
    Vocabulary,
    VocabularyError,
    hugging_face_vocabulary,
    tiktoken_vocabulary,
)

TOKENIZER_BYTES = 256 << 20
"""More of a file isn't read: the largest tokenizer.json in use have some 35 MB."""


def load_vocabulary(spec: str) -> Vocabulary:
    """The vocabulary that a user names.

    Args:
      spec: `words`; `tiktoken:NAME`, an encoding of tiktoken, from its cache folder ($TIKTOKEN_CACHE_DIR) or
        else from the network; or `hf:PATH`, a tokenizer.json on any filesystem that Beam knows.

    Returns:
      A value that holds all that workers need.

    Raises:
      VocabularyError: there is none of that name, it can't be reached, it is damaged, or a library is
      missing.
    """
    kind, _, name = spec.partition(":")
    if spec == WORDS.spec:
        return WORDS
    if kind == TIKTOKEN and name:
        return _tiktoken(name)
    if kind == HUGGING_FACE and name:
        return _hugging_face(name)
    raise VocabularyError(
        f"no vocabulary {spec!r}: it must be words, tiktoken:NAME (tiktoken:cl100k_base) "
        "or hf:PATH (hf:models/tokenizer.json)"
    )


def _tiktoken(name: str) -> Vocabulary:
    try:
        import tiktoken
        from tiktoken import registry
    except ImportError as error:
        raise VocabularyError(
            f'tiktoken:{name} needs the library tiktoken: pip install "beam-etl[tokens]"'
        ) from error
    known = tiktoken.list_encoding_names()
    constructors = registry.ENCODING_CONSTRUCTORS or {}
    if name not in constructors:
        raise VocabularyError(
            f"tiktoken {tiktoken.__version__} has no encoding {name!r}; it has {', '.join(known)}"
        )
    try:
        encoding = constructors[name]()
    except Exception as error:  # of requests, of the cache folder, of a plug-in
        raise VocabularyError(_unreachable(name, error)) from error
    return tiktoken_vocabulary(
        name, encoding["pat_str"], encoding["mergeable_ranks"], encoding["special_tokens"]
    )


def _unreachable(name: str, error: Exception) -> str:
    cache = os.environ.get("TIKTOKEN_CACHE_DIR")
    where = f"TIKTOKEN_CACHE_DIR={cache}" if cache else "tiktoken's cache (TIKTOKEN_CACHE_DIR is not set)"
    return (
        f"tiktoken:{name} is not in {where} and can't be downloaded ({type(error).__name__}: {error}). "
        f"Where there is a network, run: TIKTOKEN_CACHE_DIR=ranks python -c "
        f"\"import tiktoken; tiktoken.get_encoding('{name}')\". Then bring the folder here "
        "and set TIKTOKEN_CACHE_DIR to it; the workers don't need it"
    )


def _hugging_face(path: str) -> Vocabulary:
    try:
        with open_file(path) as file:
            content = file.read(TOKENIZER_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a filesystem whose library isn't installed
        raise VocabularyError(
            f"hf:{path} can't be read ({error}). It must be the path of a tokenizer.json; of a model on the "
            "Hugging Face Hub, get one by: hf download ORGANISATION/MODEL tokenizer.json"
        ) from error
    if len(content) > TOKENIZER_BYTES:
        raise VocabularyError(f"hf:{path}: not a tokenizer.json, it has more than {TOKENIZER_BYTES:,} bytes")
    vocabulary = hugging_face_vocabulary(path, bytes(content))
    reference_counter(vocabulary)
    return vocabulary
