"""What `tokenize` wrote, read by the loaders that people train with, and compared with ids made here.

    python benchmarks/peers/token_loaders.py DATASET DOCUMENTS TOKENIZER MARK [SEED]

DATASET is the --output of tokenize, DOCUMENTS a folder of Parquet with id and text, TOKENIZER a tokenizer.json, MARK
the id that ends a document. Runs in an environment of its own: megatron-core and torch for .bin and .idx, datatrove
and torch for .bin, datasets for Parquet, NumPy for .npy; a loader that isn't there is told.
"""

import importlib.metadata
import itertools
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import xxhash
from tokenizers import Tokenizer

LENGTH = 128
"""Ids of a sequence."""

Shard = list[tuple[str, np.ndarray]]
"""Its documents, each its id and the ids of its tokens and its mark, in order."""


def expected(documents: str, tokenizer: str, mark: int, seed: int, shards: int) -> list[Shard]:
    """The documents of each shard by the rules that docs/tokenize.md states."""
    table = pq.read_table(documents, columns=["id", "text"])
    cutter = Tokenizer.from_file(str(tokenizer))
    cutter.encode_special_tokens = True  # what reads like a mark is ordinary text
    first = xxhash.xxh64_intdigest(seed.to_bytes(8, "little", signed=True))
    found = [[] for _ in range(shards)]
    texts = cutter.encode_batch(table["text"].to_pylist(), add_special_tokens=False)
    for name, text in zip(table["id"].to_pylist(), texts, strict=True):
        place = xxhash.xxh64_intdigest(xxhash.xxh64_digest(name.encode())[::-1], first)
        found[place * shards >> 64].append((place, name, np.array([*text.ids, mark])))
    return [[one[1:] for one in sorted(shard, key=lambda one: one[0])] for shard in found]


def stream_of(shard: Shard) -> np.ndarray:
    return np.concatenate([ids for _, ids in shard])


def indexed_dataset(files: list[Path], shards: list[Shard], mark: int) -> str:
    """Every document of every shard, whole and in part; and the documents' order."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    for file, shard in zip(files, shards, strict=True):
        for mmap in (True, False):
            found = IndexedDataset(str(file.with_suffix("")), mmap=mmap)
            assert len(found) == len(shard)
            assert found.document_indices.tolist() == list(range(len(shard) + 1))
            for number, (_, ids) in enumerate(shard):
                assert np.array_equal(found[number], ids)
                assert np.array_equal(found.get(number, 1, len(ids) - 1), ids[1:])
    return "each document, mapped and by reads"


def gpt_dataset(files: list[Path], shards: list[Shard], mark: int) -> str:
    """All sequences of an epoch are those of the documents in the order that the loader chose."""
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from megatron.core.datasets.utils import Split

    sequences = 0
    for file, shard in zip(files, shards, strict=True):
        low = IndexedDataset(str(file.with_suffix("")))
        largest = 1 << 17 if low.index.dtype == np.int32 else 1 << 15
        with tempfile.TemporaryDirectory() as cache:
            config = GPTDatasetConfig(
                random_seed=7,
                sequence_length=LENGTH,
                split="1",
                path_to_cache=cache,
                reset_position_ids=True,
                reset_attention_mask=True,
                eod_mask_loss=True,
                create_attention_mask=False,
                tokenizer=SimpleNamespace(eod=mark, pad=-1, vocab_size=largest, unique_identifiers={}),
            )
            documents = np.arange(len(shard), dtype=np.int32)
            found = GPTDataset(low, str(file), documents, None, Split.train, config)
            assert sorted(found.document_index.tolist()) == documents.tolist()
            stream = np.concatenate([shard[number][1] for number in found.document_index])
            assert len(found) == (len(stream) - 1) // LENGTH
            for number in range(len(found)):
                begin, sequence = found.shuffle_index[number] * LENGTH, found[number]
                assert np.array_equal(sequence["tokens"], stream[begin : begin + LENGTH])
                assert np.array_equal(sequence["labels"], stream[begin + 1 : begin + LENGTH + 1])
                ends = np.flatnonzero(stream[begin : begin + LENGTH] == mark)
                assert np.array_equal(np.flatnonzero(sequence["loss_mask"].numpy() == 0), ends)
            sequences += len(found)
    return f"{sequences:,} sequences of {LENGTH}, labels, and the loss masked at marks"


def datatrove(files: list[Path], shards: list[Shard], mark: int) -> str:
    """Windows of each file, and the place of each id in its document."""
    from datatrove.utils.dataset import DatatroveFolderDataset

    size = 4 if files[0].stat().st_size > 2 * sum(map(len, map(stream_of, shards[:1]))) else 2
    found = DatatroveFolderDataset(
        str(files[0].parent),
        LENGTH,
        filename_pattern="*.bin",
        token_size=size,
        return_positions=True,
        positions_from_eos_token_id=mark,
    )
    windows = []
    for stream in map(stream_of, shards):
        windows += list(stream[: len(stream) // (LENGTH + 1) * (LENGTH + 1)].reshape(-1, LENGTH + 1))
    assert len(found) == len(windows)
    for number, window in enumerate(windows):
        item = found[number]
        assert np.array_equal(item["input_ids"], window)
        starts = [0, *(np.flatnonzero(window[:-1] == mark) + 1), len(window)]
        places = np.concatenate([np.arange(end - begin) for begin, end in itertools.pairwise(starts)])
        assert np.array_equal(item["positions"], places)
    return f"{len(windows):,} windows of {LENGTH + 1}, and places in documents"


def hugging_face(files: list[Path], shards: list[Shard], mark: int) -> str:
    """Rows, loaded and streamed."""
    from datasets import load_dataset

    wanted = [(name, ids.tolist()) for shard in shards for name, ids in shard]
    with tempfile.TemporaryDirectory() as cache:
        for streaming in (False, True):
            given = {"data_files": list(map(str, files)), "split": "train", "cache_dir": cache}
            rows = load_dataset("parquet", streaming=streaming, **given)
            assert [(row["id"], row["tokens"]) for row in rows] == wanted
    return "each row, loaded and streamed"


def mapped(files: list[Path], shards: list[Shard], mark: int) -> str:
    """Ids without their index, as scripts map them."""
    dtype = np.uint16 if files[0].stat().st_size == 2 * len(stream_of(shards[0])) else np.uint32
    for file, shard in zip(files, shards, strict=True):
        assert np.array_equal(np.memmap(file, dtype, "r"), stream_of(shard))
    return "all ids"


def arrays(files: list[Path], shards: list[Shard], mark: int) -> str:
    """Arrays that are mapped, and their offsets."""
    for file, shard in zip(files, shards, strict=True):
        ids, offsets = np.load(file, mmap_mode="r"), np.load(file.with_suffix(".offsets"))
        assert np.array_equal(ids, stream_of(shard))
        assert np.array_equal(offsets, np.cumsum([0, *(len(ids) for _, ids in shard)]))
    return "all ids and offsets"


LOADERS = {
    ".bin": {
        ("megatron-core", "IndexedDataset"): indexed_dataset,
        ("megatron-core", "GPTDataset"): gpt_dataset,
        ("datatrove", "DatatroveFolderDataset"): datatrove,
        ("numpy", "memmap"): mapped,
    },
    ".parquet": {("datasets", "load_dataset"): hugging_face},
    ".npy": {("numpy", "load"): arrays},
}


if __name__ == "__main__":
    dataset, documents, tokenizer, mark, *seed = sys.argv[1:]
    for suffix, loaders in LOADERS.items():
        if not (files := sorted(Path(dataset, "tokens").glob(f"*{suffix}"))):
            continue
        shards = expected(documents, tokenizer, int(mark), int(*seed), len(files))
        ids = sum(len(stream_of(shard)) for shard in shards)
        print(f"{len(files)} shards, {sum(map(len, shards)):,} documents, {ids:,} ids with their marks")
        for (package, name), read in loaders.items():
            try:
                version = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                print(f"{package} isn't installed: {name} was not tried")
                continue
            print(f"{package} {version} {name}: {read(files, shards, int(mark))}", flush=True)
