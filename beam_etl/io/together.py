"""Whether a partitioned input already has together what a job would shuffle together."""

from collections.abc import Sequence

from beam_etl import schema
from beam_etl.io.columns import Columns, Source, resolve
from beam_etl.io.dataset_input import InputPartitions
from beam_etl.io.read import ReadDocuments
from beam_etl.io.stored_types import is_text


def together(read: ReadDocuments, columns: Columns, by: Sequence[str]) -> InputPartitions | None:
    """The partitions of an input, where documents that are equal in some columns are all in one; else None.

    Args:
      read: the input.
      columns: what is read of it.
      by: columns of the documents.
    """
    partitions = read.partitions
    if partitions is None:
        return None
    reading = resolve(columns, read.stored_schema, read.files[0].path)
    stored = {carried.column: carried.stored for carried in reading.carried}
    for source in reading.sources:
        if source.stored is not None and _keeps_equality(source, read):
            stored[source.column] = source.stored
    known = [stored[name] for name in by if name in stored]
    return partitions if partitions.partitioning.keeps_together(known) else None


def _keeps_equality(source: Source, read: ReadDocuments) -> bool:
    """Whether values that are read as equal are stored as equal."""
    is_parsed = source.column in (schema.DATE, schema.TIME)
    if source.derived or source.others or source.stored is None:
        return False
    kind = read.stored_schema.field(source.stored).type
    return is_text(kind) != is_parsed and (not is_parsed or kind == schema.DOCUMENT.field(source.column).type)
