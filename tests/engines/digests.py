"""What a dataset holds, as a digest that no order of files, rows or bundles changes."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl import schema
from beam_etl.io import manifest


@dataclass(frozen=True)
class Contents:
    """All rows of a dataset, each as a hash, and what its manifest says of them."""

    rows: Mapping[str, Counter[bytes]]
    told: Mapping[str, int]
    """Rows of each table, by the manifest."""
    files: Mapping[str, str]
    """SHA-256 of each file of documents that dedup wrote, by the part of its name that says which split it is."""

    @property
    def digest(self) -> str:
        """One digest of all rows of all tables, whatever their order."""
        every = hashlib.sha256()
        for table, rows in sorted(self.rows.items()):
            every.update(f"{table} {self.told[table]}\n".encode())
            for row in sorted(rows.elements()):
                every.update(row)
        return every.hexdigest()[:16]

    def lost(self, other: "Contents") -> int:
        """Rows that the other has and this one lacks."""
        return sum(sum((rows - self.rows.get(name, Counter())).values()) for name, rows in other.rows.items())

    def doubled(self, other: "Contents") -> int:
        """Rows that this one has and the other lacks."""
        return other.lost(self)


def contents(dataset: Path) -> Contents:
    """Reads all that the manifest lists, and sees that a reader by glob finds the same."""
    published = manifest.latest(str(dataset))
    assert published is not None, f"nothing is published in {dataset}"
    listed = {dataset / file.path for file in published.files}
    there = {path for path in dataset.rglob("*.*") if path.parent.name != manifest.FOLDER}
    assert there == listed, f"files that no manifest lists, or none: {sorted(there ^ listed)}"
    assert not (dataset / "_staging").exists()
    for name in published.schemas:
        paths = [path for path in listed if path.relative_to(dataset).parts[0] == name]
        if paths and paths[0].suffix not in _OF_TOKENS:
            assert _globbed(dataset / name, paths[0].suffix) == published.rows(name)
    return Contents(
        {name: Counter(_hashes(dataset, published, name)) for name in published.schemas},
        {name: published.rows(name) for name in published.schemas},
        {
            _split_of(file.path): hashlib.sha256((dataset / file.path).read_bytes()).hexdigest()
            for file in published.table("documents")
            if published.about["job"] == "dedup" and _split_of(file.path)
        },
    )


_OF_TOKENS = (".bin", ".idx", ".npy", ".offsets")
"""Files that are compared whole."""


def _globbed(folder: Path, suffix: str) -> int:
    """Rows that DuckDB sees."""
    reader = "read_parquet" if suffix == ".parquet" else "read_json"
    with duckdb.connect() as database:
        return database.sql(f"SELECT count(*) FROM {reader}('{folder}/**/*{suffix}')").fetchall()[0][0]


def _hashes(dataset: Path, published: manifest.Manifest, table: str) -> Iterator[bytes]:
    places = _places(dataset, published) if table in ("buckets", "signatures") else {}
    for file in published.table(table):
        for batch in _batches(dataset / file.path):
            named_by_run = ("file",) if table == "shards" else ()
            names = sorted(set(batch.schema.names).difference(named_by_run))
            columns = [batch.column(name).to_pylist() for name in names]
            if places:
                columns[names.index(schema.NUMBER)] = [
                    places[n] for n in batch.column(schema.NUMBER).to_pylist()
                ]
            for row in zip(*columns, strict=True):
                yield hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _places(dataset: Path, published: manifest.Manifest) -> dict[int, tuple[str, int]]:
    """Of signatures: the place of each document by its number, which is another one in each run."""
    found = {}
    for file in published.table("signatures"):
        for batch in _batches(dataset / file.path):
            for row in batch.select([schema.NUMBER, "file", "position"]).to_pylist():
                found[row[schema.NUMBER]] = row["file"], row["position"]
    return found


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    if path.suffix in _OF_TOKENS:
        number = path.name.split("-")[1]
        yield pa.record_batch({"shard": [f"{number}{path.suffix}"], "bytes": [path.read_bytes()]})
    elif path.suffix == ".parquet":
        yield from pq.ParquetFile(path).iter_batches(4096)
    else:
        lines = path.read_bytes().splitlines()
        yield pa.record_batch({"line": pa.array(lines, pa.large_binary())})


def _split_of(path: str) -> str:
    """`00003-00000` of `documents/part-00003-00000-RUN-ATTEMPT.jsonl`; nothing of `part-00000-RUN-ATTEMPT.jsonl`."""
    parts = Path(path).name.split("-")
    return "-".join(parts[1:3]) if len(parts) == 5 else ""
