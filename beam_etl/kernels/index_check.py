"""Whether the tables of an inverted index agree: the rows of a partition, and its terms with their postings."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.blocks import BLOCK_POSTINGS
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.findings import Found, found, without_rows
from beam_etl.kernels.hashing import string_buffers
from beam_etl.kernels.indexing import DOCUMENT_GRANULE_BITS
from beam_etl.kernels.partition import hash_partition
from beam_etl.kernels.pieces import GRANULE_BITS, UNSPLIT_WIDTH
from beam_etl.schema import INDEX_TERM, NUMBER, RANGE, TERM

Numbers64 = npt.NDArray[np.int64]

MAX_TERM_BYTES = 255

KEY = (TERM, RANGE)


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """What rows are cut by. Tests have others."""

    granule_bits: int = GRANULE_BITS
    document_granule_bits: int = DOCUMENT_GRANULE_BITS
    block_postings: int = BLOCK_POSTINGS


CUTS = Cuts()


@dataclass(frozen=True, kw_only=True)
class Layout(Cuts):
    """What rows are cut and partitioned by."""

    partitions: int
    documents: int


@dataclass(frozen=True)
class Blocks:
    """The blocks of a partition without their postings, in the order of its file.

    term: string[blocks]; the others int64[blocks]: postings, their frequencies summed, and the row group.
    """

    term: pa.StringArray
    postings: Numbers64
    occurrences: Numbers64
    width: Numbers64
    block: Numbers64
    first: Numbers64
    last: Numbers64
    group: Numbers64


@dataclass(frozen=True)
class Groups:
    """The row groups of a file of postings, as bytes of it: int64[groups]."""

    starts: Numbers64
    stops: Numbers64


def check_partition(blocks: Blocks, number: int, layout: Layout, split: pa.RecordBatch) -> list[Found]:
    """What is wrong between the blocks of a partition: order, place, and how they are cut.

    Args:
      blocks: of one partition, at least one.
      number: of the partition.
      layout: what the index is cut by.
      split: SPLIT_TERM of the index, no term twice.
    """
    order = term_order(blocks.term)
    widest = _widest(blocks.term, split)
    ranges = blocks.first >> widest
    sizes = pc.binary_length(blocks.term).to_numpy()
    overlap = (order == 0) & (blocks.first <= np.append(-1, blocks.last[:-1]))
    return [
        *found(
            "length of a term",
            sizes > MAX_TERM_BYTES,
            lambda row: f"{_term(blocks, row)}: {sizes[row]} bytes",
        ),
        *found(
            "order of terms",
            order < 0,
            lambda row: f"{_term(blocks, row)} comes after {blocks.term[row - 1].as_py()!r}",
        ),
        *found(
            "order of blocks",
            overlap,
            lambda row: (
                f"{_term(blocks, row)}: a block that begins at document {blocks.first[row]} comes after one "
                f"that ends at {blocks.last[row - 1]}"
            ),
        ),
        *_elsewhere(blocks, ranges, number, layout.partitions),
        *_cuts(blocks, (order != 0) | (np.diff(ranges, prepend=-1) != 0), widest, layout),
    ]


def _term(blocks: Blocks, row: int) -> str:
    return f"term {blocks.term[row].as_py()!r}"


def _widest(term: pa.StringArray, split: pa.RecordBatch) -> Numbers64:
    """Of each term, how many documents a range has: 2^width."""
    if not split.num_rows:
        return np.full(len(term), UNSPLIT_WIDTH, np.int64)
    at = pc.index_in(term, value_set=split.column(TERM)).fill_null(split.num_rows).to_numpy()
    return np.append(split.column("width").to_numpy().astype(np.int64), UNSPLIT_WIDTH)[at]


def _elsewhere(blocks: Blocks, ranges: Numbers64, number: int, partitions: int) -> list[Found]:
    keys = pa.RecordBatch.from_arrays([blocks.term, pa.array(ranges.astype(np.uint32))], KEY)
    proper = hash_partition(keys, KEY, partitions)
    return found(
        "partition",
        proper != number,
        lambda row: (
            f"{_term(blocks, row)}, range {ranges[row]}, belongs to partition {proper[row]} of {partitions}"
        ),
    )


def _cuts(blocks: Blocks, new: npt.NDArray[np.bool_], widest: Numbers64, layout: Layout) -> list[Found]:
    """What is wrong with the width of blocks. `new` tells where another term begins, or another range of it."""
    begins = np.flatnonzero(new)
    counts = np.diff(np.append(begins, new.size))
    total = np.repeat(np.add.reduceat(blocks.postings, begins), counts)
    alone = total <= layout.block_postings
    uneven = blocks.width != np.repeat(blocks.width[begins], counts)
    wrong = np.where(
        alone,
        (np.repeat(counts, counts) > 1) | (blocks.width != widest),
        (blocks.width >= widest) | (blocks.width < layout.granule_bits) | uneven,
    )
    pairs = new | (np.diff(blocks.block >> 1, prepend=-1) != 0)
    joint = np.flatnonzero(pairs)
    joined = np.add.reduceat(blocks.postings, joint)
    most = np.maximum.reduceat(joined, np.searchsorted(joint, begins))
    small = ~alone & (np.repeat(most, counts) <= layout.block_postings) & ~wrong
    return [
        *found(
            "postings of a block",
            blocks.postings > layout.block_postings,
            lambda row: f"{_term(blocks, row)}: a block of {blocks.postings[row]:,} postings",
        ),
        *found(
            "width of blocks",
            wrong,
            lambda row: (
                f"{_term(blocks, row)}: a block of width {blocks.width[row]}, where {total[row]:,} postings "
                f"are in a range of width {widest[row]}"
            ),
        ),
        *found(
            "width of blocks",
            small,
            lambda row: (
                f"{_term(blocks, row)}: blocks of width {blocks.width[row]}, {blocks.width[row] + 1} does"
            ),
        ),
    ]


def expected_terms(blocks: Blocks, groups: Groups) -> pa.RecordBatch:
    """INDEX_TERM of a partition, as its blocks give it: a row for each run of blocks of one term."""
    begins = np.flatnonzero(term_order(blocks.term) != 0)
    ends = np.append(begins[1:], len(blocks.term)) - 1
    first, last = blocks.group[begins], blocks.group[ends]
    columns = [
        blocks.term.take(pa.array(begins)),
        np.add.reduceat(blocks.postings, begins),
        np.add.reduceat(blocks.occurrences, begins),
        first.astype(np.int32),
        (last - first + 1).astype(np.int32),
        groups.starts[first],
        groups.stops[last] - groups.starts[first],
    ]
    return pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=INDEX_TERM)


def check_terms(terms: pa.RecordBatch, expected: pa.RecordBatch) -> list[Found]:
    """What is wrong with the terms of a partition.

    Args:
      terms: INDEX_TERM as it is stored.
      expected: as `expected_terms` gives it.
    """
    stored, proper = terms.column(TERM), expected.column(TERM)
    problems = found(
        "order of terms",
        term_order(stored) <= 0,
        lambda row: f"term {stored[row].as_py()!r} comes after {stored[row - 1].as_py()!r}",
    )
    at = pc.index_in(stored, value_set=proper).fill_null(-1).to_numpy().astype(np.int64)
    problems += found("terms", at < 0, lambda row: f"term {stored[row].as_py()!r} has no postings")
    absent = ~np.asarray(pc.is_in(proper, value_set=stored), np.bool_)
    unnamed = found("terms", absent, lambda row: f"term {proper[row].as_py()!r} is absent, it has postings")
    problems += map(without_rows, unnamed)
    if not len(proper):
        return problems
    for name in INDEX_TERM.names[1:]:
        told = terms.column(name).to_numpy()
        counted = expected.column(name).to_numpy()[at]
        problems += found(
            f"{name} of a term",
            (told != counted) & (at >= 0),
            lambda row, told=told, counted=counted, name=name: (  # type: ignore[misc]
                f"term {stored[row].as_py()!r}: {name} is {told[row]:,}, its postings give {counted[row]:,}"
            ),
        )
    return problems


def check_documents(rows: pa.RecordBatch, before: int, number: int, layout: Layout) -> list[Found]:
    """What is wrong with the order and the place of documents of a partition.

    Args:
      rows: INDEXED_DOCUMENT.
      before: the document before the first of them, -1 for none.
      number: of the partition.
      layout: what the index is partitioned by.
    """
    numbers = rows.column(NUMBER).to_numpy()
    ahead = np.append(before, numbers[:-1].astype(np.int64))
    granules = pa.array(numbers >> np.uint32(layout.document_granule_bits))
    keys = pa.RecordBatch.from_arrays([pa.nulls(rows.num_rows, pa.string()), granules], KEY)
    proper = hash_partition(keys, KEY, layout.partitions)
    return [
        *found(
            "order of documents",
            numbers <= ahead,
            lambda row: f"document {numbers[row]} comes after {ahead[row]}",
        ),
        *found(
            "unknown document",
            numbers >= layout.documents,
            lambda row: (
                f"document {numbers[row]}, of {layout.documents:,}: they aren't numbered from 0 without gaps"
            ),
        ),
        *found(
            "partition",
            proper != number,
            lambda row: f"document {numbers[row]} belongs to partition {proper[row]} of {layout.partitions}",
        ),
    ]


def check_split_terms(split: pa.RecordBatch, granule_bits: int = GRANULE_BITS) -> list[Found]:
    """What is wrong with SPLIT_TERM, all of it, by term."""
    term, width = split.column(TERM), split.column("width").to_numpy()
    return [
        *found("split terms", term_order(term) == 0, lambda row: f"term {term[row].as_py()!r} twice"),
        *found(
            "width of a split term",
            (width < granule_bits) | (width > UNSPLIT_WIDTH),
            lambda row: (
                f"term {term[row].as_py()!r}: width {width[row]}, {granule_bits} to {UNSPLIT_WIDTH} can be"
            ),
        ),
    ]


def term_order(terms: pa.StringArray) -> npt.NDArray[np.int8]:
    """Of each term whether it is behind the one before it, by bytes (1), the same (0), or before it (-1).

    The first one counts as behind.
    """
    offsets, data = string_buffers(terms)
    return _order(data, offsets)


@compiled
def _order(data: ReadOnly[np.uint8], offsets: ReadOnly[np.int64]) -> npt.NDArray[np.int8]:
    order = np.ones(offsets.size - 1, np.int8)
    for row in range(1, offsets.size - 1):
        before, here, end = offsets[row - 1], offsets[row], offsets[row + 1]
        common = min(here - before, end - here)
        at = np.int64(0)
        while at < common and data[np.uintp(before + at)] == data[np.uintp(here + at)]:
            at += 1
        if at < common:
            order[row] = 1 if data[np.uintp(here + at)] > data[np.uintp(before + at)] else -1
        else:
            order[row] = 1 if end - here > here - before else -1 if end - here < here - before else 0
    return order
