"""How many rejects a run wrote, by reason."""

import os
import re
from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.io import staging
from beam_etl.io.errors import CONTENT_ERRORS
from beam_etl.io.formats import FileEntry, format_of
from beam_etl.io.formats.base import SPLIT_BYTES
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.rejects import Reject

TABLE, REASON = "rejects", "reason"

LOOKED_AT = 1_000_000
"""Rejects whose reasons are counted: some seconds."""

KINDS = 20
"""Reasons that are told, the most frequent ones."""

OTHERS = "others"

_NUMBER = re.compile(r"\d+")
_CHARACTERS = 200


def reject_reasons(dataset: str, version: Manifest, run: str) -> Mapping[str, int]:
    """Rejects of a run by reason, the most frequent first; reasons that differ in numbers only are one.

    Of more than LOOKED_AT, or KINDS reasons, the rest is OTHERS.
    """
    files = [file for file in version.table(TABLE) if staging.run_of_file(file.path) == run]
    found: Counter[str] = Counter()
    for file in files:
        if sum(found.values()) >= LOOKED_AT:
            break
        for reason, count in _counts(dataset, file).items():
            found[_NUMBER.sub("#", reason)[:_CHARACTERS]] += count
    told = dict(found.most_common(KINDS))
    rest = sum(file.rows for file in files) - sum(told.values())
    return {**told, OTHERS: rest} if rest > 0 else told


def _counts(dataset: str, file: DataFile) -> Counter[str]:
    """Of one file; empty where it can't be read any more."""
    known, entry = format_of(file.path), FileEntry(0, os.path.join(dataset, file.path), file.bytes)
    counts: Counter[str] = Counter()
    if known is None:
        return counts
    try:
        for split in known.splits(entry, SPLIT_BYTES):
            for rows in known.open(split, None).rows((REASON,), False):
                if not isinstance(rows, Reject):
                    column = rows.batch.column(REASON).cast(pa.string())
                    for pair in pc.value_counts(column).to_pylist():
                        counts[str(pair["values"])] += pair["counts"]
    except CONTENT_ERRORS:
        return Counter()
    return counts
