"""Decompressing gzip at speed: by ISA-L where it is installed, else by zlib."""

import zlib
from typing import Any

quick_zlib: Any = zlib
try:
    from isal import isal_zlib
except ImportError:  # it has no wheel for every platform
    pass
else:
    quick_zlib = isal_zlib

GZIP = zlib.MAX_WBITS | 16

QUICK_ERROR: type[Exception] = quick_zlib.error
"""What `quick_inflater` raises on bad content; zlib's words for it differ."""

_PLAIN_FLAGS = 0x1C
"""Of a gzip member that both read alike: a name, a comment, more fields. ISA-L passes over those that nobody knows."""


def inflater() -> Any:
    """Reads one member."""
    return zlib.decompressobj(GZIP)


def quick_inflater(head: bytes) -> Any:
    """Reads one member that begins with `head`, as `inflater` does."""
    if len(head) > 3 and not head[3] & ~_PLAIN_FLAGS:
        return quick_zlib.decompressobj(GZIP)
    return inflater()
