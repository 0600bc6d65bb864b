"""What a deduplicated folder lost, against documents of which every similar pair is known with its exact Jaccard."""

import csv
import gzip
import json
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOUND, ALIKE = 0.85, 0.7
"""Jaccard of 5-word shingles: of pairs that ought to be found, and that a removed document ought to have."""
FILES = 2


@dataclass(frozen=True)
class KnownPairs:
    """Documents with all their pairs of at least 0.3."""

    ids: Set[str]
    pairs: tuple[tuple[str, str, float], ...]

    def judge(self, kept: Set[str]) -> str:
        """How a tool did that kept these documents."""
        ought = [pair for pair in self.pairs if pair[2] >= FOUND]
        found = sum(not (one in kept and other in kept) for one, other, _ in ought)
        alike = {name for one, other, jaccard in self.pairs if jaccard >= ALIKE for name in (one, other)}
        wrong = len(self.ids - kept - alike)
        return (
            f"keeps {len(kept):,} of {len(self.ids):,}; of {len(ought):,} pairs >= {FOUND}, "
            f"{found / len(ought):.4f} lost one or both; {wrong} removed without a pair >= {ALIKE}"
        )


def known_pairs(source: Path, output: Path) -> KnownPairs:
    """Reads `source`, docs.jsonl.gz and one .tsv.gz of pairs, and writes the documents to `output` as Parquet."""
    with gzip.open(source / "docs.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [{name: row[name] for name in ("id", "text")} for row in map(json.loads, lines)]
    output.mkdir(parents=True)
    for number in range(FILES):
        part = rows[number * len(rows) // FILES : (number + 1) * len(rows) // FILES]
        pq.write_table(pa.Table.from_pylist(part), output / f"{number}.parquet", compression="zstd")
    (path,) = source.glob("*.tsv.gz")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        _, *pairs = csv.reader(lines, delimiter="\t")
    return KnownPairs(
        {row["id"] for row in rows}, tuple((one, other, float(jaccard)) for one, other, jaccard in pairs)
    )


def kept_ids(folder: Path) -> set[str]:
    """The ids in a folder of Parquet files, or of Arrow streams."""
    found: set[str] = set()
    for path in folder.glob("*.parquet"):
        found.update(pq.read_table(path, columns=["id"])["id"].to_pylist())
    for path in folder.glob("*.arrow"):
        with pa.memory_map(str(path)) as stored:
            found.update(pa.ipc.open_stream(stored).read_all()["id"].to_pylist())
    return found
