"""Files of token ids with the files beside them that tell of documents, as kernels lay them out.

`.bin` and `.idx`: kernels/token_index.py. `.npy` and `.offsets`: kernels/token_arrays.py.
"""

from beam_etl.io.access import open_file
from beam_etl.io.stores import store_of
from beam_etl.kernels.token_arrays import HEADER_BYTES, check_offsets, read_header
from beam_etl.kernels.token_index import check_index

IDS, INDEX = ".bin", ".idx"
ARRAY, OFFSETS = ".npy", ".offsets"


def token_rows(path: str) -> int | None:
    """Documents that a file tells of, 0 for one of ids, which doesn't tell; None for a file of another kind.

    Raises:
      ValueError: it is damaged, or tells of another number of ids than the file of ids has.
      OSError: one of both can't be read.
    """
    if path.endswith((IDS, ARRAY)):
        return 0
    if path.endswith(INDEX):
        documents, size = check_index(_read(path))
        _compare(path.removesuffix(INDEX) + IDS, size)
        return documents
    if path.endswith(OFFSETS):
        documents, ids = check_offsets(_read(path))
        array = path.removesuffix(OFFSETS) + ARRAY
        _, length, size = read_header(_read(array, HEADER_BYTES))
        if length != ids:
            raise ValueError(f"it tells of {ids:,} ids, {array} of {length:,}")
        _compare(array, size)
        return documents
    return None


def _read(path: str, size: int | None = None) -> bytes:
    with open_file(path) as file:
        return bytes(file.read(size))


def _compare(ids: str, size: int) -> None:
    """Raises ValueError where a file of ids has another size than is told."""
    if (stored := store_of(ids).look(ids).bytes) != size:
        raise ValueError(f"it tells of {size:,} bytes of ids, {ids} has {stored:,}")
