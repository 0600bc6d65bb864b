"""Copying lines into another file, compressed as theirs is."""

import zlib
from typing import Any

import numpy as np
import pyarrow as pa

from beam_etl.io.access import compression
from beam_etl.io.formats.base import Rows

GZIP_LEVEL = 2
"""As fast as level 1, 150 MB/s, and three times as fast as level 6, which saves a sixth of the bytes."""


class LineCopier:
    """Lines as bytes. A line keeps its end, and its byte order mark."""

    def __init__(self, sink: Any, path: str) -> None:
        self._stream = _STREAMS[compression(path)](sink)

    def write(self, rows: Rows, kept: np.ndarray | None) -> int:
        self._stream.write(rows.stored(kept))
        return rows.batch.num_rows if kept is None else len(kept)

    def close(self) -> None:
        self._stream.close()


class _Open:
    """A sink that stays open when the stream above it is closed."""

    closed = False

    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, data: Any) -> int:
        return int(self._sink.write(data))

    def flush(self) -> None:
        """Nothing: closing the sink syncs."""

    def close(self) -> None:
        """Nothing."""


class _Gzip:
    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)

    def write(self, data: bytes) -> None:
        self._sink.write(self._deflate.compress(data))

    def close(self) -> None:
        self._sink.write(self._deflate.flush())


def _zstd(sink: Any) -> Any:
    return pa.CompressedOutputStream(pa.PythonFile(_Open(sink), mode="w"), "zstd")


_STREAMS: dict[str, Any] = {"": _Open, ".gz": _Gzip, ".zst": _zstd}
