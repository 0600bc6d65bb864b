"""Segments of an index: as rows of a table, which a stream publishes pane by pane, and as folders that are searched."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl import schema
from beam_etl.io import manifest
from beam_etl.io.errors import InputError
from beam_etl.io.index.files import (
    ABOUT,
    DOCUMENTS,
    POSTINGS,
    SPLIT_TERMS,
    TERMS,
    VERSION,
    PostingWriter,
    parquet_writer,
    write_documents,
    write_terms,
)
from beam_etl.io.manifest import Manifest
from beam_etl.io.write_whole import write_whole
from beam_etl.kernels.blocks import merge_pieces, posting_schema
from beam_etl.kernels.indexing import (
    LENGTH,
    local_documents,
    local_pieces,
    number_from,
    number_pieces,
    put_in_ranges,
    shuffled_documents,
)
from beam_etl.kernels.inverting import invert_batches
from beam_etl.kernels.partitioning import hashed
from beam_etl.kernels.split_terms import term_strings
from beam_etl.kernels.unicode_table import UNICODE_VERSION
from beam_etl.transforms.batches import merge_batches

SEGMENTS = "segments"
"""The table of a stream that has them."""

_FILES = {POSTINGS: "postings_file", TERMS: "terms_file", DOCUMENTS: "documents_file"}
_KEY = (schema.TERM, schema.RANGE)


def segment_of(batches: Sequence[pa.RecordBatch], words: str, positions: bool) -> pa.RecordBatch:
    """One row of schema.INDEX_SEGMENT: documents are numbered in the order of (time, id).

    Args:
      batches: documents with address, time, id and text, after `provenance.carry_file`; at least one.
      words, positions: as for BuildInvertedIndex.
    """
    rows = merge_batches(batches).sort_by([(schema.TIME, "ascending"), (schema.ID, "ascending")])
    inverted = invert_batches([rows], words, positions)
    numbers, named = number_from(0, rows.num_rows), local_documents(rows, inverted.lengths)
    pieces = local_pieces(inverted, term_strings(inverted))
    postings, terms, documents = (pa.BufferOutputStream() for _ in range(3))
    posting_writer = PostingWriter(postings, posting_schema(positions))
    if pieces.num_rows:
        numbered = put_in_ranges(number_pieces(pieces, numbers, inverted.lengths, positions), [])
        for blocks in merge_pieces([numbered], merge_batches, positions):
            posting_writer.write(blocks)
    posting_writer.close()
    with parquet_writer(terms, schema.INDEX_TERM) as term_writer:
        if pieces.num_rows:
            write_terms(term_writer, posting_writer.terms())
    with parquet_writer(documents, schema.INDEXED_DOCUMENT) as document_writer:
        write_documents(document_writer, [shuffled_documents(named, numbers)])
    told = {
        "words": words,
        "unicode": UNICODE_VERSION,
        "positions": positions,
        "documents": rows.num_rows,
        "tokens": int(named.column(LENGTH).to_numpy().sum(dtype=np.int64)),
        "left_out": inverted.left_out,
        _FILES[POSTINGS]: postings.getvalue().to_pybytes(),
        _FILES[TERMS]: terms.getvalue().to_pybytes(),
        _FILES[DOCUMENTS]: documents.getvalue().to_pybytes(),
    }
    return pa.RecordBatch.from_pylist([told], schema.INDEX_SEGMENT)


def write_segments(dataset: str, folder: str) -> list[str]:
    """The segments that a stream has published so far, each as an index of its own in a folder.

    Those that are there already stay as they are; those that the stream has replaced since are removed.

    Args:
      dataset: with a table SEGMENTS.
      folder: of nothing else.

    Returns:
      The folders of the indexes, in the order of windows.

    Raises:
      InputError: the dataset has no segments, or the folder has something else.
    """
    published = manifest.latest(dataset)
    if published is None or SEGMENTS not in published.schemas:
        raise InputError(
            f"{dataset}: no segments. Give the folder that inverted_index --window wrote as --output."
        )
    os.makedirs(folder, exist_ok=True)
    strangers = [name for name in os.listdir(folder) if not name.startswith(("window=", "_"))]
    if strangers:
        raise InputError(f"{folder} has {strangers[0]}: segments need a folder of their own")
    found = []
    for row in _rows(dataset, published):
        digest = hashlib.sha256(b"".join(row[column] for column in _FILES.values())).hexdigest()[:16]
        start = row[schema.WINDOW_START]
        found.append((start, f"window={start:%Y%m%dT%H%M%SZ}-{digest}"))
        if not os.path.exists(os.path.join(folder, found[-1][1])):
            _write(os.path.join(folder, found[-1][1]), row)
    names = [name for _, name in sorted(found)]
    for name in set(os.listdir(folder)) - set(names):
        shutil.rmtree(os.path.join(folder, name))
    return [os.path.join(folder, name) for name in names]


def _rows(dataset: str, published: Manifest) -> Iterator[dict[str, Any]]:
    for file in published.table(SEGMENTS):
        opened = pq.ParquetFile(os.path.join(dataset, file.path))
        for batch in opened.iter_batches(batch_size=1):
            yield from batch.to_pylist()


def _write(place: str, row: dict[str, Any]) -> None:
    statistics = {
        name: row[name] for name in ("words", "unicode", "positions", "documents", "tokens", "left_out")
    }
    average = row["tokens"] / max(row["documents"], 1)
    write_whole(
        place,
        {table: row[column] for table, column in _FILES.items()},
        about={ABOUT: {"version": VERSION, **statistics, "average_length": average}},
        partitioning={table: hashed(_KEY, 1).to_json() for table in _FILES},
        empty={SPLIT_TERMS: schema.SPLIT_TERM},  # of one partition none is split
    )
