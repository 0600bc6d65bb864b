"""Evaluation sets as files, of any format that is read."""

import os
from collections import Counter

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.convert import NULL_TEXT
from beam_etl.io.errors import InputError
from beam_etl.io.formats import FileEntry
from beam_etl.io.read import ReadDocuments
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.kernels.contamination import FindShared, Shared
from beam_etl.kernels.evaluations import (
    NGRAM,
    Evaluations,
    TooManyWordsError,
    make_evaluations,
)
from beam_etl.kernels.process import OncePerProcess, once_per_process

COLUMN = schema.TEXT
"""Of evaluation sets."""


def evaluations_in(
    paths: tuple[str, ...], column: str = COLUMN, ngram: int = NGRAM
) -> OncePerProcess[[pa.RecordBatch], Shared]:
    """What finds the n-grams of evaluation sets in documents: each process reads the files when it first does.

    Args:
      paths: a file, folder, glob or @list.txt each: a set. It is called by the file's name without suffixes, or as the
        path is written where these aren't distinct.
      column: that has the texts.
      ngram: words.
    """
    return once_per_process(_finder, paths, column, ngram)


def read_evaluations(paths: tuple[str, ...], column: str = COLUMN, ngram: int = NGRAM) -> Evaluations:
    """The sets themselves. Arguments as of evaluations_in.

    Raises:
      InputError: there are no such files, they can't be read or lack the column, or have too many words.
    """
    sets = [(name, _texts(path, column)) for name, path in zip(set_names(paths), paths, strict=True)]
    try:
        return make_evaluations(sets, ngram)
    except TooManyWordsError as error:
        raise InputError(str(error)) from error


def set_names(paths: tuple[str, ...]) -> tuple[str, ...]:
    """What sets are called; see evaluations_in."""
    names = [os.path.basename(path.rstrip("/")).split(".")[0] for path in paths]
    counts = Counter(names)
    return tuple(
        name if name and counts[name] == 1 else path for name, path in zip(names, paths, strict=True)
    )


def _finder(paths: tuple[str, ...], column: str, ngram: int) -> FindShared:
    return FindShared(read_evaluations(paths, column, ngram))


def _texts(path: str, column: str) -> pa.Array:
    """By row, null ones too.

    Raises:
      InputError: a part of a file can't be read: what it has would be missed in documents.
    """
    read = ReadDocuments(patterns=path, columns=Columns(text=column))
    files = [_texts_of(file, read) for file in read.files]
    return pa.chunked_array(files, pa.large_string()).combine_chunks()


def _texts_of(file: FileEntry, read: ReadDocuments) -> pa.Array:
    texts, positions = [pa.array([], pa.large_string())], [np.empty(0, np.uint64)]
    for split in plan_splits(file, read.known, read.split_bytes):
        for found in read_split(split, read.known, read.columns, read.stored_schema):
            if isinstance(found, pa.RecordBatch):
                texts.append(found.column(schema.TEXT))
                positions.append(found.column(schema.ADDRESS).to_numpy() & np.uint64(schema.MAX_POSITION))
            elif found.reason == NULL_TEXT and found.position is not None:
                texts.append(pa.nulls(1, pa.large_string()))
                positions.append(np.array([found.position], np.uint64))
            else:
                raise InputError(
                    f"{found.file}: the evaluation text at {found.position} can't be read: {found.reason}"
                )
    return pa.concat_arrays(texts).take(pa.array(np.argsort(np.concatenate(positions))))
