"""Writes a Hugging Face tokenizer.json that encodes as a tiktoken encoding does: what datatrove can load.

python benchmarks/peers/hf_from_tiktoken.py cl100k_base OUTPUT.json
"""

import base64
import sys
import tempfile
from pathlib import Path

import tiktoken
from transformers.convert_slow_tokenizer import TikTokenConverter

if __name__ == "__main__":
    encoding = tiktoken.get_encoding(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        ranks = Path(folder) / "ranks.tiktoken"
        lines = (
            f"{base64.b64encode(token).decode()} {rank}\n"
            for token, rank in encoding._mergeable_ranks.items()
        )
        ranks.write_text("".join(lines))
        # Oniguruma, the library's engine, reads {1,3}+ as a repetition, not as possessive.
        pattern = encoding._pat_str.replace("{1,3}+", "{1,3}")
        converter = TikTokenConverter(vocab_file=str(ranks), pattern=pattern, add_prefix_space=False)
        converter.converted().save(sys.argv[2])
