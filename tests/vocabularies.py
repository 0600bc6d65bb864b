"""A vocabulary of two words, which needs no file."""

import json

from beam_etl.kernels.vocabularies import Vocabulary, hugging_face_vocabulary

SMALL = {
    "version": "1.0",
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1, "cat": 2}, "unk_token": "[UNK]"},
    "pre_tokenizer": {"type": "Whitespace"},
    "added_tokens": [
        {
            "id": 3,
            "content": "</s>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ],
}


def small_vocabulary() -> Vocabulary:
    return hugging_face_vocabulary("small.json", json.dumps(SMALL).encode())
