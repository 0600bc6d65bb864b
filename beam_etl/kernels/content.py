"""The hash of a document's content: equal hashes are taken for equal documents, and all but one are removed.

BLAKE2b (RFC 7693) with a digest of 16 bytes. Anybody may write a page that a crawl finds. For a fast hash that isn't
cryptographic, such as XXH64, somebody can make a page with the hash of another's, so that the other one is removed as
a copy. Here that is a second preimage: 2^128 hashes. With 2^64 hashes one gets two pages of one's own that share a
hash, and loses one of them: nobody else is harmed, and deduplication of one's own pages is to be had for less. By
chance, 10^12 different documents hold an equal pair with probability 10^-15.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.hashing import canonical_bytes, numbers_as_bytes, string_buffers
from beam_etl.kernels.text import split
from beam_etl.kernels.utf8 import is_byte_string

HASH_BYTES = 16
HASH = pa.binary(HASH_BYTES)


def content_hashes(columns: Sequence[pa.Array]) -> pa.FixedSizeBinaryArray:
    """The 128-bit hash of each row's values.

    Args:
      columns: of equal length, at least one, of the types in the table of hashing.

    Returns:
      fixed_size_binary[16], null where any of the values is null. Equal values have equal hashes in any encoding, as in
      hashing. Of one column, the hash of the value's canonical bytes: of a text, of its UTF-8. Of several, of each
      value's length as 8 bytes, little-endian, and its canonical bytes, one after another.

    Raises:
      ValueError: no columns.
      TypeError: a type that has no stable bytes, such as a list or a struct.
    """
    if not columns:
        raise ValueError("needs at least one column to hash")
    values = [canonical_bytes(column) for column in columns]
    rows = values[0] if len(values) == 1 else _one_after_another(values)
    offsets, data = string_buffers(rows)
    valid = rows.is_valid()
    view, blake2b = data.data, hashlib.blake2b
    digests = [
        blake2b(view[begin:end], digest_size=HASH_BYTES).digest() for begin, end in pairwise(offsets.tolist())
    ]
    hashes = pa.FixedSizeBinaryArray.from_buffers(HASH, len(rows), [None, pa.py_buffer(b"".join(digests))])
    return pc.if_else(valid, hashes, pa.scalar(None, HASH)) if rows.null_count else hashes


def byte_lengths(column: pa.Array) -> pa.Int64Array:
    """Bytes of each value, null where it is null.

    Args:
      column: strings or bytes, in any of Arrow's forms (utf8.is_byte_string), or a dictionary of them.
    """
    if pa.types.is_dictionary(column.type):
        return byte_lengths(column.dictionary).take(column.indices)
    if pa.types.is_string_view(column.type) or pa.types.is_binary_view(column.type):
        column = column.cast(pa.large_binary())
    return pa.array(pc.binary_length(column), pa.int64())


def _one_after_another(values: list[pa.Array]) -> pa.Array:
    lengths = [pc.fill_null(pc.binary_length(value), 0).to_numpy().astype(np.uint64) for value in values]
    parts = [part for pair in zip(map(numbers_as_bytes, lengths), values, strict=True) for part in pair]
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()), null_handling="emit_null")


def normalised(text: pa.Array) -> pa.LargeStringArray:
    """The words of each text in lower case, a space between two. Null stays null.

    Texts that differ in case, punctuation, spaces or Unicode's normal form alone become equal. The words are those
    of text.words.

    Raises:
      TypeError: text is no string array.
    """
    found = split(text)
    counts = np.diff(found.edges)
    letters = np.empty(found.letters.size + int(np.maximum(counts - 1, 0).sum()), np.uint8)
    offsets = np.zeros(counts.size + 1, np.int64)
    _join_words(found.letters, found.begins, found.edges, letters, offsets)
    joined = pa.LargeStringArray.from_buffers(counts.size, pa.py_buffer(offsets), pa.py_buffer(letters))
    return pc.if_else(text.is_valid(), joined, pa.scalar(None, joined.type)) if text.null_count else joined


@compiled
def _join_words(
    letters: ReadOnly[np.uint8],
    begins: ReadOnly[np.int64],
    edges: ReadOnly[np.int64],
    joined: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
) -> None:
    size = 0
    for row in range(edges.size - 1):
        for word in range(edges[row], edges[row + 1]):
            if word > edges[row]:
                joined[np.uintp(size)] = 32  # a space
                size += 1
            for at in range(begins[word], begins[word + 1]):
                joined[np.uintp(size)] = letters[np.uintp(at)]
                size += 1
        offsets[row + 1] = size


def row_sizes(rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """int64[rows]: bytes of each row; of lists and the like, those of a mean one."""
    sizes = np.zeros(rows.num_rows, np.int64)
    for column in rows.columns:
        if is_byte_string(column.type):
            lengths = byte_lengths(column)
            sizes += (lengths.fill_null(0) if lengths.null_count else lengths).to_numpy()
        elif rows.num_rows:
            sizes += column.nbytes // rows.num_rows
    return sizes
