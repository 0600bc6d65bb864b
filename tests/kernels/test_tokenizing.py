import json
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from beam_etl.kernels.token_index import check_index, index_pieces
from beam_etl.kernels.tokenizing import (
    ADDRESS,
    ID,
    PACKED,
    SHUFFLED,
    Packing,
    document_packer,
    ids_of_shards,
    mark_of,
    packed_ids,
    shard_bounds,
    shuffled,
)
from beam_etl.kernels.vocabularies import Vocabulary, VocabularyError, hugging_face_vocabulary
from beam_etl.testing import check_kernel
from tests.vocabularies import small_vocabulary


def seeded(value: bytes, seed: int) -> int:
    """XXH64 by the library of the same name, as docs/design.md says a row of two columns is hashed."""
    first = xxhash.xxh64_intdigest(struct.pack("<q", seed))
    return xxhash.xxh64_intdigest(struct.pack("<Q", xxhash.xxh64_intdigest(value)), first)


def documents(ids: list[str | None], texts: list[str | None]) -> pa.RecordBatch:
    addresses = pa.array(range(7, 7 + len(ids)), pa.uint64())
    return pa.RecordBatch.from_arrays(
        [addresses, pa.array(ids), pa.array(texts, pa.large_string())], [ADDRESS, ID, "text"]
    )


@pytest.mark.parametrize("seed", [0, 1, -3])
def test_the_order_is_the_published_hash_of_id_and_seed(seed: int) -> None:
    batch = documents(["a", None, "ä", "a"], [""] * 4)
    by_address = [seeded(struct.pack("<Q", address), seed) for address in range(7, 11)]
    by_id = [seeded(b"a", seed), by_address[1], seeded("ä".encode(), seed), seeded(b"a", seed)]
    assert shuffled(batch, seed, by_id=True).tolist() == by_id
    assert shuffled(batch, seed, by_id=False).tolist() == by_address


LISTS: list[list[int]] = [[1, 2, 3], [], [65535], [4, 5], []]


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
@pytest.mark.parametrize(("begin", "rows"), [(0, 5), (1, 3), (4, 1), (2, 0)])
def test_each_document_is_followed_by_the_mark(dtype: str, begin: int, rows: int) -> None:
    encoded = pa.array(LISTS, pa.large_list(pa.uint32())).slice(begin, rows)
    packed = packed_ids(encoded, 9, np.dtype(dtype))
    found = [np.frombuffer(value, dtype).tolist() for value in packed.to_pylist()]
    assert found == [[*ids, 9] for ids in LISTS[begin : begin + rows]]


def test_packing_is_a_kernel_whatever_the_batches() -> None:
    packing = Packing(small_vocabulary(), mark=3, seed=5, by_id=True, with_id=True)
    batch = documents(["a", "b", None, "b"], ["the cat", "", None, "dog the"])
    packer = document_packer(packing)
    check_kernel(_Packed(packing), batch)
    rows = packer(batch)
    assert rows.schema.names == [SHUFFLED, ADDRESS, PACKED, ID]
    assert [np.frombuffer(ids, "<u2").tolist() for ids in rows.column(PACKED).to_pylist()] == [
        [1, 2, 3],
        [3],
        [3],
        [0, 1, 3],
    ]


class _Packed:
    """The packer as another process makes it."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return document_packer(self.packing)(batch)


def vocabulary_of(special: dict[str, int], words: int = 4) -> Vocabulary:
    model = {
        "type": "WordLevel",
        "vocab": {f"w{number}": number for number in range(words)},
        "unk_token": "w0",
    }
    added = [{"content": token, "id": number, "special": True} for token, number in special.items()]
    return hugging_face_vocabulary("made.json", json.dumps({"model": model, "added_tokens": added}).encode())


MARKED = {
    "the usual one": ({"<pad>": 4, "</s>": 5}, None, 5),
    "the first usual one": ({"</s>": 4, "<|endoftext|>": 5}, None, 5),
    "by name": ({"<pad>": 4, "</s>": 5}, "<pad>", 4),
    "by number": ({"</s>": 5}, "3", 3),
}


@pytest.mark.parametrize(("special", "wanted", "mark"), MARKED.values(), ids=MARKED)
def test_the_mark_is_a_special_token_or_an_id(special: dict[str, int], wanted: str | None, mark: int) -> None:
    assert mark_of(vocabulary_of(special), wanted) == mark


@pytest.mark.parametrize("wanted", [None, "<eod>", "6", "-1"])
def test_a_vocabulary_without_such_a_mark_tells_those_it_has(wanted: str | None) -> None:
    with pytest.raises(VocabularyError, match="special tokens are: <a>, <b>.*id below 6"):
        mark_of(vocabulary_of({"<b>": 5, "<a>": 4}), wanted)


@pytest.mark.parametrize(
    ("words", "special", "name"), [(65535, 65535, "uint16"), (65536, 65536, "uint32"), (4, 70000, "uint32")]
)
def test_ids_have_two_bytes_where_all_of_the_vocabulary_fit(words: int, special: int, name: str) -> None:
    packing = Packing(vocabulary_of({"</s>": special}, words), special, 0, True)
    assert packing.dtype.name == name


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 1000])
def test_shards_are_equal_parts_of_all_hashes(shards: int) -> None:
    bounds = [0, *shard_bounds(shards).column(0).to_pylist(), 1 << 64]
    sizes = np.diff(np.array(bounds, object))
    assert len(sizes) == shards
    assert max(sizes) - min(sizes) <= 1


LENGTHS = [3, 1, 70000, 2]


@pytest.mark.parametrize("shards", [1, 3, 1000])
def test_ids_are_counted_by_the_shards_that_they_go_to(shards: int) -> None:
    bounds = [-(-(number << 64) // shards) for number in range(shards)]
    hashes = [0, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, 12345, *bounds]
    sizes = [number % 5 + 1 for number in range(len(hashes))]
    packed = pa.record_batch(
        {
            "shuffled": pa.array(hashes, pa.uint64()),
            "packed": pa.array([bytes(4 * size) for size in sizes], pa.large_binary()),
        }
    ).slice(1)
    wanted = [0] * shards
    for place, size in list(zip(hashes, sizes, strict=True))[1:]:
        wanted[place * shards >> 64] += size
    assert ids_of_shards(packed, shard_bounds(shards), 4).tolist() == wanted


def test_an_index_is_as_published() -> None:
    index = b"".join(index_pieces(np.array(LENGTHS, np.int32), 2))
    expected = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, 8, 4, 5)
    expected += struct.pack("<4i", *LENGTHS) + struct.pack("<4q", 0, 6, 8, 140008)
    assert index == expected + struct.pack("<5q", 0, 1, 2, 3, 4)
    assert check_index(index) == (4, 140012)


@pytest.mark.parametrize("rows", [0, 1, 5, 12])
def test_pieces_of_an_index_join_anywhere(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.arange(rows, dtype=np.int32)
    whole = b"".join(index_pieces(lengths, 4))
    monkeypatch.setattr("beam_etl.kernels.token_index._PIECE", 4)
    assert b"".join(index_pieces(lengths, 4)) == whole
    assert check_index(whole) == (rows, int(lengths.sum()) * 4)


DAMAGED: dict[str, Any] = {
    "short": lambda index: index[:20],
    "cut": lambda index: index[:-1],
    "magic": lambda index: b"X" + index[1:],
    "type": lambda index: index[:17] + b"\x07" + index[18:],
    "a length": lambda index: index[:34] + b"\x01" + index[35:],
    "a negative length": lambda index: index[:34] + b"\xff" * 4 + index[38:],
    "a place": lambda index: index[:51] + b"\x01" + index[52:],
    "documents": lambda index: index[:-8] + b"\x09" + index[-7:],
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_index_is_found_out(damage: Any) -> None:
    index = b"".join(index_pieces(np.array(LENGTHS, np.int32), 2))
    with pytest.raises(ValueError, match="index|bytes|places"):
        check_index(damage(index))
