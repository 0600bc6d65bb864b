"""Frames of zstd that need a dictionary, which an archive has in its first frame.

Source: Zstandard Compression for WARC Files 1.0 (IIPC); RFC 8878, section 5.
"""

from typing import Any

from beam_etl.io.access import STORED_BYTES

FRAME = b"\x5d\x2a\x4d\x18"
"""The skippable frame that holds it. Other archives have something else in such frames."""

MAX_BYTES = 8 << 20
"""Of a dictionary, stored or not: what readers have to take."""

_DICTIONARY, _COMPRESSED = b"\x37\xa4\x30\xec", b"\x28\xb5\x2f\xfd"


def read_dictionary(file: Any) -> bytes | None:
    """The dictionary that an opened file begins with; None where it doesn't.

    Raises:
      EOFError: the file ends in it.
      ValueError: it is too large, or can't be decompressed.
    """
    file.seek(0)
    head = bytes(file.read(len(FRAME) + 4))
    if not head.startswith(FRAME):
        return None
    size = int.from_bytes(head[len(FRAME) :], "little")
    if size > MAX_BYTES:
        raise ValueError(f"a zstd dictionary of {size} bytes, more than {MAX_BYTES}")
    found = bytes(file.read(size))
    if len(found) < size:
        raise EOFError("the zstd dictionary ends early")
    if found.startswith(_COMPRESSED):
        found = _decompressed(found)
    return found if found.startswith(_DICTIONARY) else None


def _decompressed(stored: bytes) -> bytes:
    import zstandard

    try:
        size = zstandard.frame_content_size(stored)
        if size > MAX_BYTES:
            raise ValueError(f"a zstd dictionary of {size} bytes, more than {MAX_BYTES}")
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=MAX_BYTES)
    except zstandard.ZstdError as error:
        raise ValueError(f"a zstd dictionary that can't be decompressed: {error}") from error


class Dictionary:
    """A dictionary that frames are read with.

    Args:
      content: as `read_dictionary` gives it.

    Raises:
      ValueError: it is none that can be used.
    """

    def __init__(self, content: bytes) -> None:
        import zstandard

        self._known = zstandard.ZstdCompressionDict(content)
        try:
            self._decompressor()
        except zstandard.ZstdError as error:
            raise ValueError(f"a zstd dictionary that can't be used: {error}") from error

    def open(self, frame: Any) -> "FrameReader":
        """The content of a file that holds one frame."""
        return FrameReader(self._decompressor().stream_reader(frame, read_size=STORED_BYTES, closefd=False))

    def _decompressor(self) -> Any:
        """A new one: what a used one says of damage depends on what it read before."""
        import zstandard

        return zstandard.ZstdDecompressor(dict_data=self._known)


class FrameReader:
    """Reads one frame."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def read(self, size: int) -> bytes:
        """Up to so many bytes of it; none at its end.

        Raises:
          ValueError: it is damaged, or needs another dictionary.
        """
        import zstandard

        try:
            return bytes(self._reader.read(size))
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
