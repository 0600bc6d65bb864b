"""Sorted runs in files: blocks of rows that are read one by one."""

from collections import OrderedDict

import numpy as np
import pyarrow as pa

from beam_etl.io.access import create_file, open_file
from beam_etl.kernels.range_bounds import row_bytes
from beam_etl.kernels.sorting import Order, key_rows

BLOCK_BYTES = 256 << 10
"""What is read at once of a run."""

OPEN_FILES = 256
"""Of runs, in one merge: a process may have some 1,000."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def write_run(
    path: str, rows: pa.RecordBatch, order: Order, block_bytes: int = BLOCK_BYTES
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Writes sorted rows, one or more, as blocks of about `block_bytes`, each readable by itself.

    Returns:
      `key_rows` of the first row of each block, and of the last one.
    """
    block = np.cumsum(row_bytes(rows)) // block_bytes
    begins = np.flatnonzero(np.diff(block, prepend=-1))
    ends = np.append(begins[1:], rows.num_rows)
    with create_file(path) as sink, pa.ipc.new_file(sink, rows.schema, options=_OPTIONS) as writer:
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            writer.write_batch(rows.slice(begin, end - begin))
    keys = key_rows(rows, order)
    return keys.take(pa.array(begins)), keys.take(pa.array(ends - 1))


class RunFiles:
    """Files of runs, of which those stay open that were read last."""

    def __init__(self) -> None:
        self._readers: OrderedDict[str, pa.ipc.RecordBatchFileReader] = OrderedDict()

    def read(self, path: str, block: int) -> pa.RecordBatch:
        """One block.

        Raises:
          FileNotFoundError: the file is gone.
        """
        if path not in self._readers:
            self._readers[path] = pa.ipc.open_file(open_file(path))
            if len(self._readers) > OPEN_FILES:
                self._readers.popitem(last=False)
        self._readers.move_to_end(path)
        return self._readers[path].get_batch(block)
