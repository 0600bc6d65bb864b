"""An inverted index."""

import pyarrow as pa

from beam_etl.schema.documents import FILE, ID, NUMBER, URL

TERM = "term"
RANGE = "range"
"""uint32: which part of the documents a piece of a term is of; 0 where a term isn't split."""

POSTING = pa.schema(
    [
        pa.field(TERM, pa.string(), nullable=False),
        pa.field("width", pa.uint8(), nullable=False),
        pa.field("block", pa.uint32(), nullable=False),
        pa.field("document_frequency", pa.uint32(), nullable=False),
        pa.field("first_document", pa.uint32(), nullable=False),
        pa.field("last_document", pa.uint32(), nullable=False),
        pa.field("documents", pa.list_(pa.field("element", pa.uint32(), nullable=False)), nullable=False),
        pa.field("frequencies", pa.list_(pa.field("element", pa.uint32(), nullable=False)), nullable=False),
        pa.field(
            "impact_frequencies", pa.list_(pa.field("element", pa.uint32(), nullable=False)), nullable=False
        ),
        pa.field(
            "impact_lengths", pa.list_(pa.field("element", pa.uint32(), nullable=False)), nullable=False
        ),
    ]
)
"""A block of a term's postings. It has the term's documents from `block * 2^width` up to `(block + 1) * 2^width`, and
`document_frequency` of them, ascending, each with how often it has the term. The impacts are the competitive pairs of
frequency and document length, both ascending: no document of the block has the term as often in a shorter text."""

POSITIONS = pa.field("positions", pa.list_(pa.field("element", pa.uint32(), nullable=False)), nullable=False)
"""A further column of POSTING: the places of the term in its documents, counted in words from 0, document by document:
each document has as many as its frequency."""

INDEX_TERM = pa.schema(
    [
        pa.field(TERM, pa.string(), nullable=False),
        pa.field("document_frequency", pa.int64(), nullable=False),
        pa.field("collection_frequency", pa.int64(), nullable=False),
        pa.field("row_group", pa.int32(), nullable=False),
        pa.field("row_groups", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""A term of one partition: documents that have it, how often all of them do, and the row groups of the partition's file
of postings that hold it, by number and as a range of bytes. A split term has a row in each of its partitions."""

SPLIT_TERM = pa.schema(
    [pa.field(TERM, pa.string(), nullable=False), pa.field("width", pa.uint8(), nullable=False)]
)
"""A term whose postings lie in several partitions: document d is in range `d >> width`."""

INDEXED_DOCUMENT = pa.schema(
    [
        pa.field(NUMBER, pa.uint32(), nullable=False),
        pa.field(ID, pa.string()),
        pa.field(URL, pa.string()),
        pa.field("length", pa.uint32(), nullable=False),
        pa.field(FILE, pa.string()),
        pa.field("position", pa.int64()),
    ]
)
"""A document of an index. `document` counts from 0 in the order of addresses; `length` is in indexed words."""


INDEX_SEGMENT = pa.schema(
    [
        pa.field("words", pa.string(), nullable=False),
        pa.field("unicode", pa.string(), nullable=False),
        pa.field("positions", pa.bool_(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("left_out", pa.int64(), nullable=False),
        pa.field("postings_file", pa.large_binary(), nullable=False),
        pa.field("terms_file", pa.large_binary(), nullable=False),
        pa.field("documents_file", pa.large_binary(), nullable=False),
    ]
)
"""A segment of an index as a row of a stream's results: its statistics, and its three files."""
