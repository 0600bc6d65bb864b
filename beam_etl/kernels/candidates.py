"""Near-duplicates, first half: documents to signatures, and what of them travels to meet others."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.banding import Banding, band_of, buckets, content_buckets, twins
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.components import link_arrays, link_batch
from beam_etl.kernels.content import byte_lengths, content_hashes
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.keeping import Keep, ranks
from beam_etl.kernels.minhash import permutations, signatures
from beam_etl.kernels.numbering import Numbering, with_room
from beam_etl.kernels.provenance import POSITION, add_place
from beam_etl.kernels.similarity import low_bytes

BUCKET, BUCKETS, TWIN, RANK, LOW = "bucket", "buckets", "twin", "rank", "low"
"""Columns: one band's hash; all of a document's; the hash of the whole signature; see `keeping`; see `similarity`."""

PLACE = (schema.ID, schema.FILE, POSITION)
"""What a document is called outside its run."""

PERMUTATIONS = 128
"""Of a signature, unless the bands need more: as many as the field uses, and 128 bytes to verify by."""

FIRST_NEW = np.uint64(1 << 63)
"""Where documents of earlier runs take part, their nodes are smaller than this, and those of this run are not."""

BUCKET_ROW = pa.schema(
    [pa.field(BUCKET, pa.uint64(), nullable=False), pa.field(schema.NODE, pa.uint64(), nullable=False)]
)
"""What crosses for each band: 16 bytes."""


@dataclass(frozen=True, kw_only=True)
class NearRule:
    """What makes two documents near-duplicates: an equal band of their MinHash signatures, and more if asked.

    Args:
      ngram: words of a shingle. Documents with fewer words are compared by their exact text; empty ones never.
      banding: bands of the signature and rows of a band.
      threshold: estimated Jaccard similarity that a candidate pair needs as well; None verifies nothing.
      seed: of the permutations.
      within: a column; documents with other values in it are never duplicates. Null is a value.

    Raises:
      ValueError: a number out of range.
    """

    ngram: int = 5
    banding: Banding = field(default_factory=Banding)
    threshold: float | None = None
    seed: int = 1
    within: str | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is a similarity above 0 and at most 1, got {self.threshold}")
        if not 1 <= self.ngram <= 64:
            raise ValueError(f"ngram is 1 to 64 words, got {self.ngram}")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed is a number of 32 bits, got {self.seed}")

    @property
    def num_perm(self) -> int:
        """Permutations of a signature."""
        return max(PERMUTATIONS, self.banding.needed)

    @property
    def columns(self) -> tuple[str, ...]:
        """What it needs of a document."""
        return (schema.TEXT, self.within) if self.within else (schema.TEXT,)


def sign(
    batch: pa.RecordBatch,
    rule: NearRule,
    keep: Keep,
    low: bool,
    after_others: bool = False,
    names: bool = False,
) -> pa.RecordBatch:
    """What stands for each document from here on.

    Args:
      batch: documents with an address, and the columns of both rules.
      rule: what is compared.
      keep: which document stays.
      low: the bytes to verify by are wanted.
      after_others: documents of earlier runs take part, so nodes are addresses from FIRST_NEW on.
      names: later runs shall know the documents: id, file and position are wanted.

    Returns:
      Rows of node, twin, buckets (fixed_size_list<uint64>[bands]; all alike for a document compared by its exact
      text), and where wanted rank, low and names. Empty documents are left out.
    """
    batch = batch.filter(pc.greater(byte_lengths(batch.column(schema.TEXT)), 0))
    text = batch.column(schema.TEXT)
    salts = hash_values(batch.column(rule.within)) if rule.within else None
    count = None if low else rule.banding.needed
    found = signatures(text, rule.ngram, permutations(rule.num_perm, rule.seed), count)
    matrix, twin = buckets(found.mins, rule.banding, salts), twins(found.mins, salts)
    short = np.flatnonzero(found.shingles == 0)
    if short.size:
        some = content_hashes([text.take(pa.array(short))])
        twin[short] = content_buckets(some, rule.banding, None if salts is None else salts[short])
        matrix[short] = twin[short, None]
    flat = pa.array(matrix.reshape(-1))
    node = numbers(batch, schema.ADDRESS)
    columns = {
        schema.NODE: pa.array(node | FIRST_NEW if after_others else node),
        TWIN: pa.array(twin),
        BUCKETS: pa.FixedSizeListArray.from_arrays(flat, rule.banding.bands),
    }
    if keep.column is not None:
        columns[RANK] = pa.array(ranks(batch, keep))
    if low:
        columns[LOW] = low_bytes(found.mins)
    if names:
        placed = add_place(batch)
        columns |= {name: placed.column(name) for name in PLACE}
    return pa.RecordBatch.from_pydict(columns)


class Contracted(NamedTuple):
    """What a bundle's signatures come to."""

    buckets: pa.RecordBatch
    """Rows that travel: BUCKET_ROW."""
    links: pa.RecordBatch
    """What is known already: schema.LINK."""


def contract_signatures(batch: pa.RecordBatch, banding: Banding, verified: bool) -> Contracted:
    """Documents of one bundle that are alike are linked here, and one of them travels for all.

    Args:
      batch: signatures, in any order.
      banding: of their buckets.
      verified: candidates are verified, so that only equal signatures may be linked unseen.

    Returns:
      The rows that travel, and links to the smallest node of each group of equals.
    """
    batch = batch.take(pa.array(np.argsort(numbers(batch, schema.NODE), kind="stable")))
    node, matrix = numbers(batch, schema.NODE), bucket_matrix(batch, banding)
    first = _first_equal(numbers(batch, TWIN))
    links = [_links(node, first, band_of(matrix[:, 0].copy(), banding))]
    rows = np.flatnonzero(first == np.arange(len(first)))
    node, flat = _flatten(node[rows], matrix[rows], banding)
    if not verified:
        first = _first_equal(flat)
        links.append(_links(node, first, band_of(flat, banding)))
        rows = np.flatnonzero(first == np.arange(len(first)))
        node, flat = node[rows], flat[rows]
    return Contracted(bucket_rows(flat, node), pa.concat_batches(links))


def bucket_rows(bucket: npt.NDArray[np.uint64], node: npt.NDArray[np.uint64]) -> pa.RecordBatch:
    """A batch of BUCKET_ROW."""
    return pa.RecordBatch.from_arrays([pa.array(bucket), pa.array(node)], schema=BUCKET_ROW)


def bucket_matrix(batch: pa.RecordBatch, banding: Banding) -> npt.NDArray[np.uint64]:
    """uint64[rows, bands]: the buckets of signatures."""
    values: npt.NDArray[np.uint64] = batch.column(BUCKETS).flatten().to_numpy()
    return values.reshape(batch.num_rows, banding.bands)


def signature_buckets(batch: pa.RecordBatch, banding: Banding) -> pa.RecordBatch:
    """All buckets of signatures, as BUCKET_ROW."""
    node, bucket = _flatten(numbers(batch, schema.NODE), bucket_matrix(batch, banding), banding)
    return bucket_rows(bucket, node)


def _flatten(
    node: npt.NDArray[np.uint64], matrix: npt.NDArray[np.uint64], banding: Banding
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Nodes and buckets, a row a bucket, in the order of the nodes. A document compared by its text has one."""
    wanted = np.ones(matrix.shape, np.bool_)
    wanted[band_of(matrix[:, 0].copy(), banding) == schema.NO_BAND, 1:] = False
    return np.repeat(node, wanted.sum(axis=1)), matrix[wanted]


def _first_equal(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """int64[n]: for each key the place where it first occurs."""
    codes = Numbering().add(keys)
    places = np.arange(len(keys))
    first = np.empty(codes.max(initial=-1) + 1, np.int64)
    first[codes[::-1]] = places[::-1]  # the last write is the first place
    return first[codes]


def _links(
    node: npt.NDArray[np.uint64], first: npt.NDArray[np.int64], bands: npt.NDArray[np.uint16]
) -> pa.RecordBatch:
    """A link from each row whose key occurs more than once to the first row of that key."""
    several = np.bincount(first, minlength=len(first))[first] > 1
    return link_batch(node[several], node[first[several]], bands[several])


def bucket_links(
    batches: Iterable[pa.RecordBatch],
    banding: Banding,
    earlier: Iterable[pa.RecordBatch] = (),
    verified: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Each document of a bucket of several, linked to the bucket's smallest node: k documents, k - 1 edges.

    Args:
      batches: BUCKET_ROW of a partition, in any order, which can be iterated over twice. Memory is that of its distinct
        buckets, however many documents one of them has.
      banding: of the buckets.
      earlier: BUCKET_ROW of documents that were decided before, to be iterated over twice as well. Their nodes are
        below FIRST_NEW, those of `batches` aren't. Of a bucket without new documents nothing is told.
      verified: links are verified, so each earlier document of a bucket is a candidate: a new one may be like another
        than the smallest. Otherwise the smallest stands for them all.

    Returns:
      Batches of schema.LINK, one for each that has any; the smallest node's own row is among them.
    """
    numbering = Numbering()
    centre: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
    size: npt.NDArray[np.int64] = np.empty(0, np.int64)
    for batch in batches:
        codes = numbering.add(numbers(batch, BUCKET))
        centre = with_room(centre, len(numbering), np.iinfo(np.uint64).max)
        size = with_room(size, len(numbering), 0)
        _note(codes, numbers(batch, schema.NODE), centre, size)
    for batch in earlier:
        _note(numbering.find(numbers(batch, BUCKET)), numbers(batch, schema.NODE), centre, size)
    for source in (batches, earlier):
        for batch in source:
            bucket, node = numbers(batch, BUCKET), numbers(batch, schema.NODE)
            codes = numbering.find(bucket)
            wanted = (codes >= 0) & (size[codes] > 1)
            if source is earlier and not verified:
                wanted &= centre[codes] == node
            if wanted.any():
                bands = band_of(bucket[wanted], banding)
                yield link_batch(node[wanted], centre[codes[wanted]], bands)


@compiled
def _note(
    codes: ReadOnly[np.int64],
    node: ReadOnly[np.uint64],
    centre: npt.NDArray[np.uint64],
    size: npt.NDArray[np.int64],
) -> None:
    for row in range(codes.size):
        code = codes[row]
        if code >= 0:
            centre[code] = min(centre[code], node[row])
            size[code] += 1


def distinct_links(links: pa.RecordBatch) -> pa.RecordBatch:
    """Each pair of node and root once, in its smallest band: a merge kernel."""
    node, root, bands = link_arrays(links)
    order = np.lexsort((bands, root, node))
    node, root, bands = node[order], root[order], bands[order]
    new = np.ones(len(node), np.bool_)
    new[1:] = (node[1:] != node[:-1]) | (root[1:] != root[:-1])
    return link_batch(node[new], root[new], bands[new])


def numbers(batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    """A column of numbers without nulls as an array, without a copy."""
    found: npt.NDArray[Any] = batch.column(name).to_numpy()
    return found
