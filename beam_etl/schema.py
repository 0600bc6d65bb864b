"""Every column name and every Arrow schema that is read or written.

The vocabulary is stated for users in docs/vocabulary.md; this module is what the code uses.
"""

import pyarrow as pa

ADDRESS = "address"
"""uint64: 20 bits file number, 44 bits position. Means something inside one run only."""
ID = "id"
URL = "url"
DOMAIN = "domain"
LANGUAGE = "language"
DATE = "date"
TIME = "time"
TEXT = "text"
TOKENS = "token_count"
PAYLOAD = "payload"
"""Binary: what a server sent, of which a text can be made."""
FILE = "file"
"""The path that a document was read from."""

FILE_BITS = 20
POSITION_BITS = 44
MAX_FILES = 1 << FILE_BITS
MAX_POSITION = (1 << POSITION_BITS) - 1

UTC_TIME = pa.timestamp("us", tz="UTC")

DOCUMENT = pa.schema(
    [
        pa.field(ADDRESS, pa.uint64(), nullable=False),
        pa.field(ID, pa.string()),
        pa.field(URL, pa.string()),
        pa.field(DOMAIN, pa.string()),
        pa.field(LANGUAGE, pa.string()),
        pa.field(DATE, pa.date32()),
        pa.field(TIME, UTC_TIME),
        pa.field(TEXT, pa.large_string()),
    ]
)
"""The shared columns of a document. A batch holds those that its job asked for, then the columns carried through."""


def columns(*names: str) -> pa.Schema:
    """The schema of some of the shared columns, in this order.

    Raises:
      KeyError: a name that isn't shared.
    """
    return pa.schema([DOCUMENT.field(name) for name in names])


SYNONYMS = {LANGUAGE: ("lang",)}
"""Names that are read as one of ours without being told, when ours is absent."""

REJECT = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("position", pa.int64()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("rows", pa.int64()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("digest", pa.binary(32), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
    ]
)
"""What could not be read. `rows` is 1 for a record, the number of records where a damaged part tells it, else null;
`bytes` its size there; `digest` the SHA-256 of all of it, `payload` its first 4 KiB."""

PAYLOAD_BYTES = 4096
"""At most this much of a rejected record is kept: enough to recognise it, too little to fill a disk."""

FILE_METADATA = b"beam_etl.file"
"""Schema metadata key: the path a batch was read from. Kept until a shuffle."""

SPLIT_METADATA = b"beam_etl.split"
"""Schema metadata key, where that is asked for: the address that the batch's split begins with. Kept until a shuffle.
"""

WINDOW_START = "window_start"
WINDOW_END = "window_end"
WINDOW = pa.schema(
    [pa.field(WINDOW_START, UTC_TIME, nullable=False), pa.field(WINDOW_END, UTC_TIME, nullable=False)]
)
"""The window that a row of a result belongs to: from its start, up to its end, which is the next one's."""

ON_TIME, LATE, TOO_LATE = "on_time", "late", "too_late"
ARRIVALS = pa.schema(
    [*WINDOW, *(pa.field(name, pa.int64(), nullable=False) for name in (ON_TIME, LATE, TOO_LATE))]
)
"""How many of a window's rows came before its end by their clock, after it, and too late. A window has several rows, to
be added up."""

CLOCK = "beam_etl.clock"
"""timestamp[us, UTC], only between a stream's source and its windows: the clock of the row's split before the row."""
PARTITION = "beam_etl.partition"
"""int64, only up to the sink: the partition of the shuffle that an accumulating result comes from."""
PANE = "beam_etl.pane"
TIMING = "beam_etl.timing"
FIRING = pa.schema(
    [pa.field(PANE, pa.int64(), nullable=False), pa.field(TIMING, pa.string(), nullable=False)]
)
"""Only up to the sink: which firing of its window and partition a row is of, from 0, and whether that was early, on
time or late."""


NODE = "node"
"""uint64: names a document inside one run. Of a file's document it is the address."""
ROOT = "root"
BAND = "band"
CLUSTER = "cluster"
CLUSTER_SIZE = "cluster_size"
SURVIVOR = "survivor"
SIMILARITY = "similarity"

NO_BAND = 0xFFFF
"""Band of documents that matched by their content alone."""

LINK = pa.schema(
    [
        pa.field(NODE, pa.uint64(), nullable=False),
        pa.field(ROOT, pa.uint64(), nullable=False),
        pa.field(BAND, pa.uint16(), nullable=False),
    ]
)
"""`node` belongs to the component of `root`, and matched in `band`. Where both are equal, only the band is told."""

MEMBER = pa.schema(
    [
        pa.field(NODE, pa.uint64(), nullable=False),
        pa.field(CLUSTER, pa.uint64(), nullable=False),
        pa.field(CLUSTER_SIZE, pa.int64(), nullable=False),
        pa.field(BAND, pa.uint16(), nullable=False),
    ]
)
"""A document of a component of several. `cluster` is its smallest node, `band` the first one that `node` matched in."""

DECISION = pa.schema(
    [
        *MEMBER,
        pa.field(SURVIVOR, pa.uint64(), nullable=False),
        pa.field(SIMILARITY, pa.float32()),
    ]
)
"""A member and the one of its cluster that is kept: itself, or the document that it is removed for."""

REMOVAL = pa.schema(
    [
        pa.field(FILE, pa.string()),
        pa.field("position", pa.int64()),
        pa.field(ID, pa.string()),
        pa.field(CLUSTER, pa.uint64(), nullable=False),
        pa.field(CLUSTER_SIZE, pa.int64(), nullable=False),
        pa.field("survivor_dataset", pa.string()),
        pa.field("survivor_file", pa.string()),
        pa.field("survivor_position", pa.int64()),
        pa.field("survivor_id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field(BAND, pa.uint16()),
        pa.field("content_hash", pa.binary(16)),
        pa.field(SIMILARITY, pa.float32()),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""A removed document and the one it was removed for.

`cluster` is equal for the documents of one cluster and means nothing else. `survivor_dataset` is null where the
survivor is of the same run. `reason` is exact or near; then `content_hash` or `band` tells what matched. `similarity`
is the estimated Jaccard similarity to the survivor, null where nothing was verified. `bytes` are those of the removed
text. Where the survivor couldn't be read a second time, which is a reject then, its file and id are null.
"""

FAILED = "failed"
REASONS = "reasons"

_STRINGS = pa.list_(pa.string())

QUALITY_FAILURES = pa.schema(
    [pa.field(FAILED, _STRINGS, nullable=False), pa.field(REASONS, _STRINGS, nullable=False)]
)
"""The names of the quality rules that a document fails, in the order of the rules, and what broke each:
`fineweb.max_new_lines: 0.412 > 0.3`. Both lists are empty for a document that fails none."""

QUALITY_REMOVAL = pa.schema(
    [
        *(field.with_nullable(field.nullable or field.name.startswith(CLUSTER)) for field in REMOVAL),
        *QUALITY_FAILURES,
    ]
)
"""A document that was removed for its quality, as REMOVAL has it: without cluster and survivor; `reason` is quality."""

STEP = "step"

STEP_REMOVAL = pa.schema([pa.field(STEP, pa.string(), nullable=False), *QUALITY_REMOVAL])
"""A document that a step of several removed, and which one did, as QUALITY_REMOVAL has it."""

_PLACES = pa.list_(pa.int64())

_OF_DOCUMENT = (pa.field(FILE, pa.string()), pa.field("position", pa.int64()), pa.field(ID, pa.string()))

EDIT = pa.schema(
    [
        *_OF_DOCUMENT,
        pa.field("pieces", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("begins", _PLACES, nullable=False),
        pa.field("ends", _PLACES, nullable=False),
    ]
)
"""What was cut out of a document's text: lines or paragraphs, their bytes with the line breaks, and where they were:
from `begins` up to `ends`, in bytes of the text before (UTF-8). Neighbours are one place."""

CONTAMINATION = pa.schema(
    [
        *_OF_DOCUMENT,
        pa.field("evaluation", pa.string(), nullable=False),
        pa.field("evaluation_row", pa.int64(), nullable=False),
        pa.field("ngram", pa.string(), nullable=False),
        pa.field("matches", pa.int64(), nullable=False),
        pa.field("begins", _PLACES, nullable=False),
        pa.field("ends", _PLACES, nullable=False),
    ]
)
"""A document and an evaluation set that share n-grams: how often one of the set's occurs in the document, and where
these words are, as in EDIT. `ngram` is the first one, `evaluation_row` the set's first row that has it, from 0."""

CLUSTERS = pa.schema(
    [
        pa.field(CLUSTER, pa.uint64(), nullable=False),
        pa.field(CLUSTER_SIZE, pa.int64(), nullable=False),
        pa.field("removed", pa.int64(), nullable=False),
        pa.field("exact", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("bands", pa.list_(pa.int32()), nullable=False),
        pa.field("survivor_id", pa.string()),
        pa.field("sample_ids", pa.list_(pa.string()), nullable=False),
    ]
)
"""One of the largest clusters: documents removed, those of them removed as exact, bytes of their text, the bands that
joined them, the document kept, and the smallest ids of those removed."""

CLUSTER_SIZES = pa.schema(
    [
        pa.field(CLUSTER_SIZE, pa.int64(), nullable=False),
        pa.field("clusters", pa.int64(), nullable=False),
        pa.field("removed", pa.int64(), nullable=False),
        pa.field("exact", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""How many clusters have this size, and what was removed of them."""

DOMAINS = pa.schema(
    [
        pa.field(DOMAIN, pa.string()),
        pa.field("removed", pa.int64(), nullable=False),
        pa.field("exact", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""What was removed of each domain that lost anything."""


NUMBER = "document"
"""uint64: names a document inside one dataset of signatures."""

SIGNATURE_BUCKET = pa.schema(
    [pa.field("bucket", pa.uint64(), nullable=False), pa.field(NUMBER, pa.uint64(), nullable=False)]
)
"""A band of a document's signature, as it is kept for later runs."""

SIGNATURE = pa.schema(
    [
        pa.field(NUMBER, pa.uint64(), nullable=False),
        pa.field(ID, pa.string()),
        pa.field(FILE, pa.string()),
        pa.field("position", pa.int64()),
    ]
)
"""What is told of a document when a later one is removed for it. Where candidates are verified, `low` follows: the
low bytes of its signature, binary of a fixed size; all ones for a document that has no shingles."""


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

TOKEN_SHARD = pa.schema(
    [
        pa.field("shard", pa.int32(), nullable=False),
        pa.field(FILE, pa.string(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("marks", pa.int64(), nullable=False),
    ]
)
"""A shard of token ids: its file below the dataset, and how many ids it has, `tokens` of texts and `marks` of ends."""
