"""Documents that belong together, and what is kept of them for later runs."""

import pyarrow as pa

from beam_etl.schema.documents import DOMAIN, FILE, ID, NUMBER

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
