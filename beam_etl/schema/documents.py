"""Documents as they are read, and what could not be read of them."""

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
NUMBER = "document"
"""Unsigned: names a document inside one dataset of signatures, or one index."""

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
