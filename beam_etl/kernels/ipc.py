"""A batch as bytes: one Arrow IPC stream, which other processes read without a copy."""

import pyarrow as pa

from beam_etl.kernels.compaction import compact


def encode(batch: pa.RecordBatch) -> bytes:
    """The bytes of an IPC stream with one batch, schema and its metadata too. A slice costs its own bytes."""
    sink = pa.BufferOutputStream()
    owned = compact(batch)
    with pa.ipc.new_stream(sink, owned.schema) as writer:
        writer.write_batch(owned)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def decode(encoded: bytes) -> pa.RecordBatch:
    """The batch that `encode` encoded. Its columns are views of `encoded`."""
    with pa.ipc.open_stream(encoded) as reader:
        return reader.read_next_batch()
