"""Kernels that can't be bounded from inside: for child processes."""

import os
import signal
import sys

import pyarrow as pa


def by_its_word(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Does what the text of its row says."""
    [word] = batch.column("text").to_pylist()
    if word == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "spin":
        while True:
            sum(range(1_000_000))
    if word == "eat":
        held = [bytes(64 << 20) for _ in range(1000)]
        del held
    if word == "fail":
        raise ValueError("as it says")
    if word == "print":
        sys.stdout.write("to nobody" * 100_000)
    return batch


def lacks_a_library(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Of a worker without an extra."""
    raise ImportError("No module named 'parser'")
