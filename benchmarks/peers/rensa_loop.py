"""What a good engineer writes by hand: pyarrow reads, rensa signs, NumPy and a union-find cluster, the first is kept.

rensa_loop.py FOLDER OUTPUT NGRAM BANDS ROWS writes the kept documents of each file, all columns, and prints how many.
One process; rensa signs a row group at a time and uses every core for it.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rensa import RMinHash

WORD = re.compile(r"\w+")
SEED = 42


def shingles(text: str, ngram: int) -> list[str]:
    """Runs of `ngram` words of the lower-cased text; of a shorter text all its words."""
    words = WORD.findall(text.lower())
    if len(words) < ngram:
        return [" ".join(words)]
    return list(map(" ".join, zip(*(words[start:] for start in range(ngram)), strict=False)))


def signatures(files: list[Path], ngram: int, permutations: int) -> np.ndarray:
    """uint32[documents, permutations]"""
    parts = []
    for path in files:
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            texts = file.read_row_group(group, columns=["text"])["text"].to_pylist()
            sets = (shingles(text, ngram) for text in texts)
            matrix = RMinHash.digest_matrix_from_token_sets(sets, permutations, SEED)
            parts.append(np.array(matrix.to_rows(), dtype=np.uint32))
    return np.concatenate(parts)


def find(parents: list[int], document: int) -> int:
    """The smallest document known to be in the same cluster."""
    while parents[document] != document:
        parents[document] = parents[parents[document]]
        document = parents[document]
    return document


def first_of_clusters(signed: np.ndarray, bands: int) -> np.ndarray:
    """bool[documents]: no earlier document is in the same cluster."""
    parents = list(range(len(signed)))
    for band in np.split(signed, bands, axis=1):
        keys = np.ascontiguousarray(band).view(np.dtype((np.void, band.shape[1] * 4))).ravel()
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        (later,) = np.nonzero(first[group] != np.arange(len(keys)))
        for document, earlier in zip(later.tolist(), first[group[later]].tolist(), strict=True):
            one, other = sorted((find(parents, document), find(parents, earlier)))
            parents[other] = one
    return np.array(parents) == np.arange(len(parents))


def write(files: list[Path], kept: np.ndarray, output: Path) -> None:
    """File in, file out; a row group in, a row group out."""
    output.mkdir(parents=True, exist_ok=True)
    done = 0
    for path in files:
        file = pq.ParquetFile(path)
        with pq.ParquetWriter(output / path.name, file.schema_arrow, compression="zstd") as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                writer.write_table(table.filter(pa.array(kept[done : done + table.num_rows])))
                done += table.num_rows


if __name__ == "__main__":
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    ngram, bands, rows = map(int, sys.argv[3:])
    files = sorted(folder.glob("*.parquet"))
    kept = first_of_clusters(signatures(files, ngram, bands * rows), bands)
    write(files, kept, output)
    print(kept.sum())
