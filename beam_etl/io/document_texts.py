"""Single documents of an index or a dataset, read again where they were read from."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.errors import CONTENT_ERRORS
from beam_etl.io.index.compare import read_as_built
from beam_etl.io.read import ReadDocuments
from beam_etl.io.splits import plan_splits, read_split

PAGE = (schema.PAYLOAD, "charset", "content_type")
"""What it takes to make a text of a page."""


class Place(NamedTuple):
    """Where a document is, as an index tells, and its id."""

    file: str
    position: int
    id: str | None


def read_documents(
    places: Iterable[Place], config: Mapping[str, Any], patterns: Sequence[str] = ()
) -> dict[Place, pa.RecordBatch]:
    """Documents with `id`, `url` and `text`, each as one row.

    One that isn't there any more, is another one now, or has no text by itself, is left out.

    Args:
      places: of the documents.
      config: of the job that read them before, as its manifest has it.
      patterns: where the files are now, if they were moved: those of the same name are read.

    Raises:
      InputError: `patterns` match nothing that can be read as it was then.
    """
    moved = read_as_built(patterns, config) if patterns else None
    found: dict[Place, pa.RecordBatch] = {}
    by_file: dict[str, list[Place]] = {}
    for place in places:
        by_file.setdefault(place.file, []).append(place)
    for file, wanted in by_file.items():
        try:
            read = moved or read_as_built([file], config)
            for place in wanted:
                if (row := find_document(read, place)) is not None:
                    found[place] = row
        except (*CONTENT_ERRORS, BeamIOError):  # it is gone, or no longer what it was
            continue
    return found


def read_page(place: Place, config: Mapping[str, Any], patterns: Sequence[str] = ()) -> pa.RecordBatch | None:
    """A page of an archive, as one row with what it takes to make its text; None where it isn't at hand.

    Args: as of `read_documents`.
    """
    id, url = config.get("id_column"), config.get("url_column")
    columns = Columns(needed=(schema.ID,), optional=(schema.URL,), carry=PAGE, id=id, url=url)
    try:
        read = ReadDocuments(patterns=patterns or [place.file], columns=columns, format=config.get("format"))
        return find_document(read, place)
    except (*CONTENT_ERRORS, BeamIOError):
        return None


def find_document(read: ReadDocuments, place: Place) -> pa.RecordBatch | None:
    """The document at a place, as a batch of one row; None where it isn't there."""
    name = os.path.basename(place.file)
    files = [file for file in read.files if os.path.basename(file.path) == name]
    exact = [file for file in files if file.path == place.file]
    for file in exact or files[:1]:
        splits = list(plan_splits(file, read.known, read.split_bytes))
        before = [split for split in splits if split.first <= place.position]
        for split in before[-1:]:
            for batch in read_split(split, read.known, read.columns, read.stored_schema):
                if isinstance(batch, pa.RecordBatch) and (row := _row(batch, place)) is not None:
                    return row
    return None


def _row(batch: pa.RecordBatch, place: Place) -> pa.RecordBatch | None:
    positions = batch.column(schema.ADDRESS).to_numpy() & np.uint64(schema.MAX_POSITION)
    for row in np.flatnonzero(positions == np.uint64(place.position)).tolist():
        if batch.column(schema.ID)[row].as_py() == place.id:
            return batch.slice(row, 1)
    return None
