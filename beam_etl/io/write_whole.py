"""A small dataset written by one process: there as a whole, or not at all."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io import manifest, publishing, staging
from beam_etl.io.manifest import DataFile, Manifest


def write_whole(
    place: str,
    tables: Mapping[str, bytes],
    about: Mapping[str, Any],
    partitioning: Mapping[str, Mapping[str, Any]] | None = None,
    empty: Mapping[str, pa.Schema] | None = None,
) -> None:
    """Writes a dataset beside its place, hidden, and renames it.

    Args:
      place: its folder, which isn't there yet, or empty.
      tables: for each table a Parquet file.
      about, partitioning: as of Manifest.
      empty: further tables, which have no rows.

    Raises:
      OSError: the folder has something, or can't be written to.
    """
    run, hidden = staging.new_run(), os.path.join(os.path.dirname(place), f"_{os.path.basename(place)}")
    shutil.rmtree(hidden, ignore_errors=True)
    files: list[DataFile] = []
    schemas = {table: _types(columns) for table, columns in (empty or {}).items()}
    for table, content in tables.items():
        stored = pq.ParquetFile(pa.BufferReader(content))
        schemas[table] = _types(stored.schema_arrow)
        path = f"{table}/{staging.file_name(0, run, staging.new_attempt(), '.parquet')}"
        if stored.metadata.num_rows:
            os.makedirs(os.path.join(hidden, table))
            with open(os.path.join(hidden, path), "wb") as file:
                file.write(content)
            digest = hashlib.sha256(content).hexdigest()
            files.append(DataFile(table, path, stored.metadata.num_rows, len(content), digest))
    made = Manifest(1, run, tuple(files), schemas, about=about, partitioning=partitioning or {})
    prepared = os.path.join(hidden, "prepared")
    os.makedirs(os.path.join(hidden, manifest.FOLDER))
    with open(prepared, "wb") as file:
        file.write(publishing.prepare(os.path.join(hidden, manifest.FOLDER), made))
    publishing.publish(hidden, made.number, run, prepared)
    os.remove(prepared)
    os.replace(hidden, place)


def _types(columns: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in columns}
