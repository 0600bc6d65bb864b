"""What jobs took out of a corpus, and why."""

import pyarrow as pa

from beam_etl.schema.dedup import BAND, CLUSTER, CLUSTER_SIZE, SIMILARITY
from beam_etl.schema.documents import FILE, ID

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
