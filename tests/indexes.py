"""What an inverted index should hold, by plain Python and brute force, and indexes on disk made of it.

Only the words and the hash are the project's; docs/index.md is what the rest follows.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl import schema
from beam_etl.io.manifest import DataFile, Manifest, latest
from beam_etl.kernels.hashing import hash_rows
from beam_etl.kernels.partitioning import hashed
from beam_etl.kernels.text import words
from beam_etl.kernels.unicode_table import UNICODE_VERSION
from tests.datasets import publish

Row = dict[str, Any]
Entry = tuple[int, int, tuple[int, ...]]
"""A posting: number of the document, frequency, places."""

LONGEST_TERM = 255
"""Bytes."""
WHOLE = 32
"""Width of a term that isn't split."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The rows that an index of some documents has.

    Args:
      texts: of the documents, in order.
      ids, urls, files, positions_in_files: of them; by default made up, and none of the others.
      rule: of the words.
      positions: whether they are kept.
      split: terms that are split, with the width of their ranges.
      partitions: how many.
      block_postings: a block has no more.
      granule_bits: 2^granule_bits documents are the least that a block or range is of.
      document_granule_bits: 2^document_granule_bits documents are in one partition.
    """

    texts: Sequence[str | None]
    ids: Sequence[str | None] | None = None
    urls: Sequence[str | None] | None = None
    files: Sequence[str | None] | None = None
    positions_in_files: Sequence[int | None] | None = None
    rule: str = "words"
    positions: bool = True
    split: Mapping[str, int] = field(default_factory=dict)
    partitions: int = 4
    block_postings: int = 1 << 16
    granule_bits: int = 14
    document_granule_bits: int = 12

    @cached_property
    def split_words(self) -> list[list[str]]:
        """All words of each document."""
        return [found or [] for found in words(pa.array(self.texts, pa.string()), self.rule).to_pylist()]

    def kept(self, document: int) -> list[tuple[int, str]]:
        """Place and word, without those that are too long."""
        return [
            (at, word)
            for at, word in enumerate(self.split_words[document])
            if len(word.encode()) <= LONGEST_TERM
        ]

    @cached_property
    def lengths(self) -> list[int]:
        return [len(self.kept(document)) for document in range(len(self.texts))]

    @property
    def statistics(self) -> Row:
        """What the manifest says, `about.index`."""
        tokens = sum(self.lengths)
        return {
            "version": 2,
            "words": self.rule,
            "unicode": UNICODE_VERSION,
            "positions": self.positions,
            "documents": len(self.texts),
            "tokens": tokens,
            "average_length": tokens / max(len(self.texts), 1),
            "left_out": sum(map(len, self.split_words)) - tokens,
        }

    @cached_property
    def entries(self) -> dict[str, list[Entry]]:
        """The postings of each term, terms in the order of their bytes."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for document in range(len(self.texts)):
            places: dict[str, list[int]] = defaultdict(list)
            for at, word in self.kept(document):
                places[word].append(at)
            for word, here in places.items():
                found[word].append((document, len(here), tuple(here)))
        return {term: found[term] for term in sorted(found, key=str.encode)}

    @cached_property
    def _parts(self) -> list[tuple[str, int, list[Entry]]]:
        """Terms in order, each in its ranges: the term, the partition, the postings."""
        cut = [
            (term, part, inside)
            for term, entries in self.entries.items()
            for part, inside in _cut(entries, self.split.get(term, WHOLE))
        ]
        partitions = self._partitions([term for term, _, _ in cut], [part for _, part, _ in cut])
        return [(term, number, inside) for (term, _, inside), number in zip(cut, partitions, strict=True)]

    def postings(self, partition: int | None = None) -> list[Row]:
        """The blocks of one partition, or of all, by (term, first document)."""
        return [
            _block(term, width, number, block, self.lengths, self.positions)
            for term, here, inside in self._parts
            if partition in (None, here)
            for width, number, block in self._blocks(inside, self.split.get(term, WHOLE))
        ]

    def _blocks(self, entries: list[Entry], width: int) -> Iterator[tuple[int, int, list[Entry]]]:
        if len(entries) > self.block_postings:
            while width > self.granule_bits:
                if max(len(block) for _, block in _cut(entries, width)) <= self.block_postings:
                    break
                width -= 1
        for number, block in _cut(entries, width):
            yield width, number, block

    def terms(self, partition: int | None = None) -> list[Row]:
        """Of one partition, or all in the order of (term, partition); without where they are."""
        rows: dict[tuple[bytes, int], Row] = {}
        for term, here, inside in self._parts:
            row = rows.setdefault(
                (term.encode(), here), {"term": term, "document_frequency": 0, "collection_frequency": 0}
            )
            row["document_frequency"] += len(inside)
            row["collection_frequency"] += sum(frequency for _, frequency, _ in inside)
        return [rows[key] for key in sorted(rows) if partition in (None, key[1])]

    def documents(self, partition: int | None = None) -> list[Row]:
        """Of one partition, or all."""
        lengths, count = self.lengths, len(self.texts)
        granules = [number >> self.document_granule_bits for number in range(count)]
        here = self._partitions([None] * count, granules)
        nothing: list[None] = [None] * count
        ids = self.ids if self.ids is not None else [f"id{number}" for number in range(count)]
        return [
            {
                "document": number,
                "id": ids[number],
                "url": (self.urls or nothing)[number],
                "length": lengths[number],
                "file": (self.files or nothing)[number],
                "position": (self.positions_in_files or nothing)[number],
            }
            for number in range(count)
            if partition in (None, here[number])
        ]

    def split_terms(self) -> list[Row]:
        return [{"term": term, "width": self.split[term]} for term in sorted(self.split, key=str.encode)]

    def partition_of(self, term: str | None, part: int) -> int:
        """Of a term's range, or without a term, of a granule of documents."""
        return self._partitions([term], [part])[0]

    def _partitions(self, terms: Sequence[str | None], parts: Sequence[int]) -> list[int]:
        if not terms:
            return []
        hashes = hash_rows([pa.array(terms, pa.string()), pa.array(parts, pa.uint32())])
        return [int(each) % self.partitions for each in hashes]


def _cut(entries: list[Entry], width: int) -> list[tuple[int, list[Entry]]]:
    """Entries by document >> width."""
    parts: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        parts[entry[0] >> width].append(entry)
    return sorted(parts.items())


def _block(
    term: str, width: int, number: int, entries: list[Entry], lengths: list[int], positions: bool
) -> Row:
    pairs = {(frequency, lengths[document]) for document, frequency, _ in entries}
    best = [
        (frequency, length)
        for frequency, length in sorted(pairs)
        if not any(more >= frequency and less <= length for more, less in pairs - {(frequency, length)})
    ]
    row = {
        "term": term,
        "width": width,
        "block": number,
        "document_frequency": len(entries),
        "first_document": entries[0][0],
        "last_document": entries[-1][0],
        "documents": [document for document, _, _ in entries],
        "frequencies": [frequency for _, frequency, _ in entries],
        "impact_frequencies": [frequency for frequency, _ in best],
        "impact_lengths": [length for _, length in best],
    }
    places = [place for _, _, here in entries for place in here]
    return {**row, "positions": places} if positions else row


@dataclass
class _Writer:
    """The files of an index that is being written."""

    folder: Path
    files: list[DataFile] = field(default_factory=list)

    def write(self, table: str, number: int, rows: list[Row], columns: pa.Schema, group_rows: int) -> str:
        """A file of a partition, in row groups of so many rows; its path."""
        path = self.folder / table / f"part-{number:05d}-{'0' * 12}-{'0' * 16}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, columns, compression="zstd", write_page_checksum=True) as writer:
            for at in range(0, len(rows), group_rows):
                part = pa.Table.from_pylist(rows[at : at + group_rows], columns)
                writer.write_table(part, row_group_size=group_rows)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        relative = path.relative_to(self.folder).as_posix()
        self.files.append(DataFile(table, relative, len(rows), len(content), digest))
        return str(path)


def write_index(
    folder: Path,
    expected: Expected,
    *,
    group_blocks: int = 7,
    group_terms: int = 5,
    config: Row | None = None,
) -> Path:
    """An index on disk; its folder.

    Args:
      folder: of the dataset. One that is there is replaced by the next manifest.
      expected: what is in it.
      group_blocks, group_terms: rows of a row group of postings and of terms.
      config: what the manifest says of the job that built it.
    """
    writer = _Writer(folder)
    blocks = pa.schema([*schema.POSTING, schema.POSITIONS]) if expected.positions else schema.POSTING
    for partition in range(expected.partitions):
        if rows := expected.postings(partition):
            path = writer.write("postings", partition, rows, blocks, group_blocks)
            terms = _located(expected.terms(partition), rows, path, group_blocks)
            writer.write("terms", partition, terms, schema.INDEX_TERM, group_terms)
        if rows := expected.documents(partition):
            group = 1 << expected.document_granule_bits
            writer.write("documents", partition, rows, schema.INDEXED_DOCUMENT, group)
    if expected.split:
        writer.write("split_terms", 0, expected.split_terms(), schema.SPLIT_TERM, 1000)
    tables = {
        "postings": blocks,
        "terms": schema.INDEX_TERM,
        "documents": schema.INDEXED_DOCUMENT,
        "split_terms": schema.SPLIT_TERM,
    }
    before = latest(str(folder))
    made = Manifest(
        before.number + 1 if before else 1,
        "0" * 12,
        tuple(writer.files),
        {name: {column.name: str(column.type) for column in columns} for name, columns in tables.items()},
        {"job": "inverted_index", "config": config or {}, "index": expected.statistics},
        {
            name: hashed(("term", "range"), expected.partitions).to_json()
            for name in ("postings", "terms", "documents")
        },
    )
    assert publish(folder, made)
    return folder


def _located(terms: list[Row], blocks: list[Row], path: str, group_blocks: int) -> list[Row]:
    """Terms with the row groups that hold them."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, block in enumerate(blocks):
        groups[block["term"]].append(row // group_blocks)
    metadata = pq.read_metadata(path)
    located = []
    for term in terms:
        first, last = groups[term["term"]][0], groups[term["term"]][-1]
        begin, end = _bytes_of(metadata, first)[0], _bytes_of(metadata, last)[1]
        place = {"row_group": first, "row_groups": last - first + 1, "offset": begin, "bytes": end - begin}
        located.append({**term, **place})
    return located


def _bytes_of(metadata: pq.FileMetaData, group: int) -> tuple[int, int]:
    columns = [metadata.row_group(group).column(at) for at in range(metadata.row_group(group).num_columns)]
    begins = [column.dictionary_page_offset or column.data_page_offset for column in columns]
    ends = [begin + column.total_compressed_size for begin, column in zip(begins, columns, strict=True)]
    return min(begins), max(ends)
