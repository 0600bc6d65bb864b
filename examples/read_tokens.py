"""Reads the shards of `tokenize` with NumPy alone: documents by number, and batches to train with."""

import argparse
import itertools
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HEADER = struct.Struct("<9sQBQQ")
"""Of an .idx: a magic word, a version, the code of the ids' type, sequences, documents and one."""
TYPES = {8: np.uint16, 4: np.int32}


class Shard:
    """The ids of a `.bin`, mapped into memory, and where its documents begin."""

    def __init__(self, ids: Path) -> None:
        index = ids.with_suffix(".idx").read_bytes()
        magic, version, code, self.documents, _ = HEADER.unpack_from(index)
        if magic != b"MMIDIDX\x00\x00" or version != 1:
            sys.exit(f"{ids}: its .idx is none")
        self.ids = np.memmap(ids, TYPES[code], "r")
        lengths = np.frombuffer(index, "<i4", self.documents, HEADER.size)
        self.ends = np.cumsum(lengths, dtype=np.int64)

    def __getitem__(self, number: int) -> np.ndarray:
        """A document, with the mark of its end."""
        return self.ids[self.ends[number - 1] if number else 0 : self.ends[number]]


def sequences(shards: list[Shard], length: int) -> Iterator[np.ndarray]:
    """All ids in order, so many at a time, whatever the documents; a rest is left out."""
    rest = shards[0].ids[:0]
    for shard in shards:
        begin = length - len(rest) if len(rest) else 0
        if len(rest):
            rest = np.concatenate([rest, shard.ids[:begin]])
            if len(rest) < length:
                continue
            yield rest
        end = begin + (len(shard.ids) - begin) // length * length
        yield from shard.ids[begin:end].reshape(-1, length)
        rest = shard.ids[end:]


def batches(shards: list[Shard], rows: int, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets: int64[rows, length], each target one id further."""
    sequence = sequences(shards, length + 1)
    while len(found := list(itertools.islice(sequence, rows))) == rows:
        together = np.stack(found)
        yield together[:, :-1], together[:, 1:]


def main() -> None:
    """Prints what there is, and the first batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="folder that tokenize wrote as --output")
    parser.add_argument("--rows", type=int, default=2, help="of a batch (default: %(default)s)")
    parser.add_argument("--length", type=int, default=8, help="ids of a row (default: %(default)s)")
    given = parser.parse_args()
    shards = [Shard(file) for file in sorted((given.dataset / "tokens").glob("*.bin"))]
    if not shards:
        sys.exit(f"No shards in {given.dataset}: give the --output of beam-etl tokenize.")
    documents, ids = sum(shard.documents for shard in shards), sum(len(shard.ids) for shard in shards)
    print(
        f"{len(shards)} shards, {documents:,} documents, {ids - documents:,} tokens and {documents:,} marks"
    )
    print("the last ids of the first document:", shards[0][0][-4:].tolist())
    for inputs, targets in itertools.islice(batches(shards, given.rows, given.length), 1):
        print("inputs:", inputs.tolist())
        print("targets:", targets.tolist())


if __name__ == "__main__":
    main()
