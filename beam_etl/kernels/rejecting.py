"""Rejects of documents that were read, and that a kernel fails on."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.provenance import files_of

REASON_CHARACTERS = 300
"""A longer message quotes data."""


def reject_documents(batch: pa.RecordBatch, reasons: Mapping[int, str], stage: str) -> pa.RecordBatch:
    """Some documents as rejects.

    Args:
      batch: documents, as they were read or after `carry_file`, by which their file is known.
      reasons: for each row that is rejected, why.
      stage: of the pipeline.

    Returns:
      schema.REJECT, in the order of `reasons`. Bytes, digest and payload are those of the text, else of the payload,
      where there is one; the position is null where there is no address.
    """
    files = files_of(batch)
    rows = []
    for row, reason in reasons.items():
        text = _text(batch, row)
        rows.append(
            {
                "file": "" if files is None else files[row].as_py(),
                "position": _position(batch, row),
                "stage": stage,
                "reason": " ".join(reason.split())[:REASON_CHARACTERS]
                .encode("utf-8", "backslashreplace")
                .decode(),
                "rows": 1,
                "bytes": len(text),
                "digest": hashlib.sha256(text).digest(),
                "payload": text[: schema.PAYLOAD_BYTES],
            }
        )
    return pa.RecordBatch.from_pylist(rows, schema.REJECT)


def _text(batch: pa.RecordBatch, row: int) -> bytes:
    """A document's text, or its payload."""
    if schema.TEXT in batch.schema.names:
        return (batch.column(schema.TEXT)[row].as_py() or "").encode()
    if schema.PAYLOAD in batch.schema.names:
        return batch.column(schema.PAYLOAD)[row].as_py() or b""
    return b""


def _position(batch: pa.RecordBatch, row: int) -> int | None:
    if schema.ADDRESS not in batch.schema.names:
        return None
    address: int = batch.column(schema.ADDRESS)[row].as_py()
    return address & schema.MAX_POSITION
