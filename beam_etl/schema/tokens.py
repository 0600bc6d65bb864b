"""Shards of token ids."""

import pyarrow as pa

from beam_etl.schema.documents import FILE

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
