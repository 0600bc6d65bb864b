"""Indexes that are wrong though their checksums are right: a sound one is read, changed, and written again."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.io import manifest
from beam_etl.io.index import files as index_files
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.kernels.blocks import posting_schema
from tests.datasets import publish

ROW_GROUP_BYTES = 150
"""So that a term of some postings has several."""

Row = dict[str, Any]
Parts = dict[int, list[Row]]
"""The rows of each partition."""


@dataclass
class Index:
    """All of an index, to be changed."""

    manifest: Manifest
    postings: Parts
    documents: Parts
    split_terms: list[Row]
    about: dict[str, Any]
    schemas: dict[str, dict[str, str]]
    partitioning: dict[str, Any]
    in_terms: Callable[[Parts], None] = lambda terms: None
    """Changes what is written as terms."""
    in_files: Callable[[list[DataFile]], None] = lambda files: None
    """Changes what the manifest lists."""
    statistics: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.statistics = self.about[index_files.ABOUT]

    def blocks(self, term: str) -> list[Row]:
        """The blocks of a term in its first partition."""
        return next(
            found
            for rows in self.postings.values()
            if (found := [row for row in rows if row["term"] == term])
        )

    def block(self, term: str) -> Row:
        return self.blocks(term)[0]

    def rows_with(self, term: str) -> list[Row]:
        """The rows of the partition that has a term."""
        return next(rows for rows in self.postings.values() if any(row["term"] == term for row in rows))

    def document(self, number: int) -> Row:
        return next(row for rows in self.documents.values() for row in rows if row["document"] == number)


def load(folder: Path) -> Index:
    found = manifest.latest(str(folder))
    assert found is not None

    def parts(name: str) -> Parts:
        return {
            int(file.path.split("/part-")[1].split("-")[0]): pq.read_table(folder / file.path).to_pylist()
            for file in found.table(name)
        }

    split = [row for rows in parts("split_terms").values() for row in rows]
    about = {**found.about, "index": dict(found.about["index"])}
    schemas = {name: dict(columns) for name, columns in found.schemas.items()}
    return Index(
        found, parts("postings"), parts("documents"), split, about, schemas, dict(found.partitioning)
    )


def save(index: Index, folder: Path) -> None:
    """Writes it, with a manifest that is right about its files."""
    files: list[DataFile] = []
    terms: Parts = {}
    positions = "positions" in index.schemas["postings"]
    columns = posting_schema(positions)
    for number, rows in index.postings.items():
        path = _path(folder, "postings", number)
        if not rows:
            pq.write_table(columns.empty_table(), path)
            terms[number] = []
            files.append(_listed("postings", folder, path, 0))
            continue
        with path.open("wb") as sink, pytest.MonkeyPatch.context() as patch:
            patch.setattr(index_files, "ROW_GROUP_BYTES", ROW_GROUP_BYTES)
            writer = index_files.PostingWriter(sink, columns)
            writer.write(pa.RecordBatch.from_pylist(rows, columns))
            writer.close()
        terms[number] = writer.terms().to_pylist()
        files.append(_listed("postings", folder, path, len(rows)))
    index.in_terms(terms)
    tables = {
        "terms": (terms, schema.INDEX_TERM),
        "documents": (index.documents, schema.INDEXED_DOCUMENT),
        "split_terms": ({0: index.split_terms} if index.split_terms else {}, schema.SPLIT_TERM),
    }
    for name, (parts, columns) in tables.items():
        for number, rows in parts.items():
            path = _path(folder, name, number)
            pq.write_table(pa.Table.from_pylist(rows, columns), path, write_page_checksum=True)
            files.append(_listed(name, folder, path, len(rows)))
    index.in_files(files)
    made = replace(
        index.manifest,
        files=tuple(files),
        about=index.about,
        schemas=index.schemas,
        partitioning=index.partitioning,
    )
    assert publish(folder, made)


def _path(folder: Path, table: str, number: int) -> Path:
    (folder / table).mkdir(parents=True, exist_ok=True)
    return folder / table / f"part-{number:05d}-{'0' * 12}-{'0' * 16}.parquet"


def _listed(table: str, folder: Path, path: Path, rows: int) -> DataFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return DataFile(table, path.relative_to(folder).as_posix(), rows, len(content), digest)
