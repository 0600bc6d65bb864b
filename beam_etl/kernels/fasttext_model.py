"""A text classifier that fastText trained and quantised (.ftz), as arrays.

It reads the format of fastText's version 12, little-endian: settings, dictionary, a matrix of rows in codes, a matrix
of labels. Of all that fastText can train, it takes what the model of languages is made of.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

WIDTH: Final = 16
"""Numbers of a row."""

BUCKETS: Final = 2_000_000
"""What hashes of n-grams are taken modulo."""

LINE_END = b"</s>"
"""The word that stands for the end of a line."""

MOST_NGRAMS: Final = 0xFFFF
"""That a model may have kept."""

_MAGIC, _VERSION = 793_712_314, 12
_LABEL = "__label__"
_CODES = 256
_UNTOLD = 1e15
"""The count of a node of the tree that isn't made yet: more than any that is."""

_TAKEN = {
    "dim": WIDTH,
    "wordNgrams": 1,
    "loss": 1,
    "model": 3,
    "bucket": BUCKETS,
    "minn": 2,
    "maxn": 4,
    "quantised": 1,
    "output quantised": 0,
}
"""Settings that the kernels stand on: hierarchical softmax (loss 1), supervised (model 3), n-grams of 2 to 4
characters."""


@dataclass(frozen=True)
class FastTextModel:
    """A model.

    words: in UTF-8; the first one is LINE_END.
    labels: without their prefix.
    rows: float32[w + g, 16], of words, and of the n-grams that were kept.
    buckets: int64[g], those of the n-grams that were kept.
    nodes: float32[labels - 1, 16], of the inner nodes of the tree of labels, the root last.
    children: int32[labels - 1, 2], left and right of each: a label, or a node, numbered behind the labels.
    """

    words: list[bytes]
    labels: list[str]
    rows: npt.NDArray[np.float32]
    buckets: npt.NDArray[np.int64]
    nodes: npt.NDArray[np.float32]
    children: npt.NDArray[np.int32]


def parse_model(data: bytes) -> FastTextModel:
    """The model of a file.

    Raises:
      ValueError: it is none of this kind. The message says in which respect.
    """
    file = _Reader(data)
    try:
        return _parse(file)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a model of fastText that ends or breaks at byte {file.at}: {error}") from error


def _parse(file: "_Reader") -> FastTextModel:
    if file.numbers("ii") != (_MAGIC, _VERSION):
        raise ValueError(f"no model of fastText's version {_VERSION}")
    dim, _, _, _, _, ngrams, loss, model, bucket, minn, maxn, _, _ = file.numbers("12id")
    _check(dim=dim, wordNgrams=ngrams, loss=loss, model=model, bucket=bucket, minn=minn, maxn=maxn)
    size, word_count, _, _, kept = file.numbers("3i2q")
    entries = [(file.word(), *file.numbers("qb")) for _ in range(size)]
    if not 0 <= kept <= MOST_NGRAMS:
        raise ValueError(f"a model of fastText with {kept} n-grams; up to {MOST_NGRAMS} can be read")
    pruned = file.array(np.int32, 2 * kept).reshape(-1, 2)
    _check(quantised=file.numbers("?")[0])
    rows = _dequantised(file)
    _check(**{"output quantised": file.numbers("?")[0]})
    height, width = file.numbers("2q")
    output = file.array(np.float32, height * width).reshape(height, width)
    words = [word for word, _, _ in entries[:word_count]]
    counts = [count for _, count, _ in entries[word_count:]]
    if len(counts) < 2 or output.shape != (len(counts), WIDTH):
        raise ValueError(f"a model of fastText with {output.shape} numbers for {len(counts)} labels")
    if words[:1] != [LINE_END]:
        raise ValueError(f"a model of fastText whose first word is {words[:1]}, not {LINE_END!r}")
    if rows.shape != (word_count + kept, WIDTH):
        raise ValueError(
            f"a model of fastText with {rows.shape} numbers for {word_count} words and {kept} n-grams"
        )
    return FastTextModel(
        words=words,
        labels=[word.decode().removeprefix(_LABEL) for word, _, _ in entries[word_count:]],
        rows=rows,
        buckets=_by_number(pruned),
        nodes=output[: height - 1],
        children=_tree(counts),
    )


def _by_number(pruned: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """The buckets of n-grams that were kept, in the order of their numbers, from pairs of both."""
    buckets, numbers = pruned[:, 0].astype(np.int64), pruned[:, 1]
    order = np.argsort(numbers)
    if not np.array_equal(numbers[order], np.arange(len(order))) or not np.all(
        (buckets >= 0) & (buckets < BUCKETS)
    ):
        raise ValueError("a model of fastText whose n-grams are numbered otherwise")
    return buckets[order]


def _check(**found: int) -> None:
    for name, value in found.items():
        if value != _TAKEN[name]:
            raise ValueError(f"a model of fastText with {name} {value}, not {_TAKEN[name]}")


def _dequantised(file: "_Reader") -> npt.NDArray[np.float32]:
    """A matrix: each row a code for each of its parts, and one for its norm."""
    has_norms, height, width, size = file.numbers("?qqi")
    codes = file.array(np.uint8, size).reshape(height, -1)
    matrix = _decoded(file, codes)
    if has_norms:
        matrix *= _decoded(file, file.array(np.uint8, height).reshape(height, 1))
    return matrix[:, :width]


def _decoded(file: "_Reader", codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Rows in place of their codes, of a product quantiser."""
    width, parts, part_width, last_width = file.numbers("4i")
    centroids = file.array(np.float32, width * _CODES)
    if last_width != part_width:
        raise ValueError(
            f"a model of fastText whose rows have parts of {part_width} and of {last_width} numbers"
        )
    table = centroids.reshape(parts, _CODES, part_width)
    return np.concatenate([table[part][codes[:, part]] for part in range(parts)], axis=1)


def _tree(counts: list[int]) -> npt.NDArray[np.int32]:
    """Children of the inner nodes of the Huffman tree, of counts of labels that descend."""
    leaves = len(counts)
    weights = [float(count) for count in counts] + [_UNTOLD] * leaves
    children = np.empty((leaves - 1, 2), np.int32)
    leaf, node = leaves - 1, leaves
    for made in range(leaves, 2 * leaves - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[made - leaves, side] = leaf
                leaf -= 1
            else:
                children[made - leaves, side] = node
                node += 1
        left, right = children[made - leaves]
        weights[made] = weights[left] + weights[right]
    return children


class _Reader:
    """A file's bytes from a place on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        layout = struct.Struct(f"<{form}")
        found = layout.unpack_from(self._data, self.at)
        self.at += layout.size
        return found

    def word(self) -> bytes:
        end = self._data.find(b"\0", self.at)
        if end < 0:
            raise IndexError("a word without an end")
        word, self.at = self._data[self.at : end], end + 1
        return word

    def array(self, kind: type[Any], count: int) -> npt.NDArray[Any]:
        layout = np.dtype(kind).newbyteorder("<")
        if self.at + count * layout.itemsize > len(self._data):
            raise IndexError(f"{count} numbers are said to follow")
        found = np.frombuffer(self._data, layout, count, self.at)
        self.at += found.nbytes
        return found.astype(kind)
