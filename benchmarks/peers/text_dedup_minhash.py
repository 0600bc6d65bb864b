"""text-dedup's MinHash over Parquet files; prints how many documents it keeps.

text_dedup_minhash.py FOLDER WORK NGRAM BANDS ROWS: its command line with its defaults (sha1, one process a core,
documents of fewer than 5 words dropped). An empty folder WORK gets the kept documents, Arrow files, in WORK/kept.
"""

import sys
from pathlib import Path

from datasets import load_from_disk
from text_dedup import minhash

if __name__ == "__main__":
    folder, work = sys.argv[1], Path(sys.argv[2])
    ngram, bands, rows = map(int, sys.argv[3:])
    flags = {
        "path": "parquet",
        "data_dir": folder,
        "split": "train",
        "column": "text",
        "cache_dir": work / "cache",
        "output": work / "kept",
        "ngram": ngram,
        "num_perm": bands * rows,
        "b": bands,
        "r": rows,
    }
    minhash.main([f"--{name}={value}" for name, value in flags.items()], standalone_mode=False)
    print(load_from_disk(str(work / "kept")).num_rows)
