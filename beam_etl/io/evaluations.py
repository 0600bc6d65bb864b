"""Evaluation sets as files, of any format that is read."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.checks import check_files
from beam_etl.io.columns import Columns
from beam_etl.io.convert import NULL_TEXT
from beam_etl.io.errors import InputError
from beam_etl.io.files import input_format
from beam_etl.io.formats import FileEntry, Format
from beam_etl.io.formats.base import SPLIT_BYTES, limited
from beam_etl.io.read import ReadDocuments
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.kernels.contamination import FindShared, Shared
from beam_etl.kernels.evaluations import MAX_WORDS, NGRAM, TooManyWordsError, make_evaluations
from beam_etl.kernels.process import OncePerProcess, once_per_process

MAX_BYTES = 16 * MAX_WORDS
"""Of the text of all sets. With more there are too many words, which is told before all of it is in memory."""

COLUMN = schema.TEXT
"""Of evaluation sets."""


class EvaluationSet(NamedTuple):
    """A set's name and files."""

    name: str
    files: tuple[FileEntry, ...]


def evaluations_in(
    paths: Sequence[str], column: str = COLUMN, ngram: int = NGRAM
) -> OncePerProcess[[pa.RecordBatch], Shared]:
    """What finds the n-grams of evaluation sets in documents: each process reads the files when it first does.

    Args:
      paths: a file, folder, glob or @list.txt each: a set. It is called by the file's name without suffixes, or as the
        path is written where these aren't distinct.
      column: that has the texts.
      ngram: words.

    Raises:
      InputError: there are no such files, or they lack the column. `get()` of the result raises it where they can't
        be read to their end, changed meanwhile, or have too many words.
    """
    columns = Columns(text=column)
    sets = (
        EvaluationSet(name, _files(path, columns)) for name, path in zip(set_names(paths), paths, strict=True)
    )
    return once_per_process(_finder, tuple(sets), column, ngram)


_HINTS = {
    "--text_column": "--evaluation_column",
    ", or --format=NAME": "",
    "Use --format=NAME": "Give it one of these",
}
"""What helps with the input, and what with an evaluation set."""


def _files(path: str, columns: Columns) -> tuple[FileEntry, ...]:
    try:
        return tuple(ReadDocuments(patterns=path, columns=columns).files)
    except InputError as error:
        told = str(error).replace("the input has", "it has")
        for flag, instead in _HINTS.items():
            told = told.replace(flag, instead)
        raise InputError(f"the evaluation set {path}: {told}") from error


def set_names(paths: Sequence[str]) -> tuple[str, ...]:
    """What sets are called; see evaluations_in."""
    names = [os.path.basename(path.rstrip("/")).split(".")[0] for path in paths]
    counts = Counter(names)
    return tuple(
        name if name and counts[name] == 1 else path for name, path in zip(names, paths, strict=True)
    )


def _finder(sets: tuple[EvaluationSet, ...], column: str, ngram: int) -> FindShared:
    try:
        held = _Held()
        read = [(each.name, _texts(each.files, Columns(text=column), held)) for each in sets]
        return FindShared(make_evaluations(read, ngram))
    except TooManyWordsError as error:
        raise InputError(str(error)) from error


class _Held:
    """Bytes of text that are in memory, of all files of all sets."""

    def __init__(self) -> None:
        self._size = 0

    def add(self, texts: pa.Array, path: str) -> None:
        """Counts these, of this file.

        Raises:
          InputError: together they are too many.
        """
        self._size += texts.nbytes
        if self._size > MAX_BYTES:
            raise InputError(
                f"{path}: with it, evaluation sets have over {MAX_BYTES:,} bytes of text. Each process holds the "
                f"sets: give some of {MAX_WORDS:,} words together."
            )


def _texts(files: tuple[FileEntry, ...], columns: Columns, held: _Held) -> pa.Array:
    """By row, null ones too.

    Raises:
      InputError: a part of a file can't be read: what it has would be missed in documents.
    """
    known = limited(input_format(files), columns.limits)
    stored = check_files(files, known, columns, 0.0)
    texts = [_texts_of(file, known, columns, stored, held) for file in files]
    return pa.chunked_array(texts, pa.large_string()).combine_chunks()


def _texts_of(file: FileEntry, known: Format, columns: Columns, stored: pa.Schema, held: _Held) -> pa.Array:
    texts, positions = [pa.array([], pa.large_string())], [np.empty(0, np.uint64)]
    for split in plan_splits(file, known, SPLIT_BYTES):
        for found in read_split(split, known, columns, stored):
            if isinstance(found, pa.RecordBatch):
                texts.append(found.column(schema.TEXT))
                held.add(texts[-1], file.path)
                positions.append(found.column(schema.ADDRESS).to_numpy() & np.uint64(schema.MAX_POSITION))
            elif found.reason == NULL_TEXT and found.position is not None:
                texts.append(pa.nulls(1, pa.large_string()))
                positions.append(np.array([found.position], np.uint64))
            else:
                raise InputError(
                    f"{found.file}: the evaluation text at {found.position} can't be read: {found.reason}"
                )
    return pa.concat_arrays(texts).take(pa.array(np.argsort(np.concatenate(positions))))
