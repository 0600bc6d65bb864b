"""Files of token ids, `.bin`, and their indexes, `.idx`, as kernels/token_index.py lays them out."""

from beam_etl.io.access import open_file
from beam_etl.io.stores import store_of
from beam_etl.kernels.token_index import check_index

IDS, INDEX = ".bin", ".idx"


def token_rows(path: str) -> int | None:
    """Documents that an index tells of, 0 for a file of ids, which doesn't tell; None for a file of another kind.

    Raises:
      ValueError: the index is damaged, or tells of another number of ids than its file has.
      OSError: one of both can't be read.
    """
    if path.endswith(IDS):
        return 0
    if not path.endswith(INDEX):
        return None
    with open_file(path) as file:
        documents, size = check_index(bytes(file.read()))
    ids = path.removesuffix(INDEX) + IDS
    if (stored := store_of(ids).look(ids).bytes) != size:
        raise ValueError(f"it tells of {size:,} bytes of ids, {ids} has {stored:,}")
    return documents
