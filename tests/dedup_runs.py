"""Runs of the job dedup over documents that a test makes, each checked for what any run promises."""

import gzip
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io import manifest
from beam_etl.kernels.candidates import NearRule
from beam_etl.pipelines.dedup import run
from tests.duplicates import Clusters, Document, families, near_clusters, survivors

Files = dict[str, list[Document]]
MISSING = math.inf


def made_documents(count: int, seed: int = 1) -> list[Document]:
    """Families, with what an owner of documents may choose by."""
    rows = families(count, seed)
    for number, row in enumerate(rows):
        row["text"] = row["text"] or ""
        row["url"] = f"https://{row['domain'] or 'none.org'}/page/{number % 50}" if number % 7 else None
        row["time"] = row["seen"] = f"2026-{number % 9 + 1:02d}-11T05:06:07Z" if number % 5 else None
        row["views"] = (number * 7919) % 101 if number % 6 else None
        row["score"] = None if row["score"] != row["score"] else row["score"]
        del row["address"]
    return rows


ROWS = made_documents(10)
COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("text", "id", "domain", "url", "time", "seen")),
        ("views", pa.int64()),
        ("score", pa.float64()),
    ]
)


def cut(rows: Sequence[Document], count: int, suffix: str) -> Files:
    """Files whose names are in the order of the documents, however many there are."""
    edges = [len(rows) * number // count for number in range(count + 1)]
    return {
        f"{number:03d}.{suffix}": list(rows[edges[number] : edges[number + 1]]) for number in range(count)
    }


def lines_of(rows: Sequence[Document]) -> list[bytes]:
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True)
    for name, rows in files.items():
        content = b"".join(lines_of(rows))
        if name.endswith("parquet"):
            pq.write_table(pa.Table.from_pylist(rows, COLUMNS), folder / name, row_group_size=23)
        else:
            (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return folder


def positions(name: str, rows: Sequence[Document]) -> list[int]:
    if name.endswith("parquet"):
        return list(range(len(rows)))
    return [0, *accumulate(map(len, lines_of(rows)))][:-1]


def read(path: Path) -> list[Document]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    content = path.read_bytes()
    return [
        json.loads(line)
        for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
    ]


@dataclass(frozen=True)
class Done:
    """What a run gave."""

    kept: list[Document]
    removals: list[Document]

    @property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.kept]

    @property
    def survivors(self) -> dict[str, str]:
        return {row["id"]: row["survivor_id"] for row in self.removals}


def table(output: Path, name: str) -> list[Document]:
    return pq.read_table(output / name).to_pylist() if (output / name).is_dir() else []


def deduplicate(folder: Path, files: Files, *flags: str) -> Done:
    """Runs the job over files, and checks all that holds for any rule."""
    source, output = write(folder / "in", files), folder / "out"
    assert run([f"--input={source}", f"--output={output}", *flags]) == 0
    found = manifest.latest(str(output))
    assert found is not None
    written: dict[str, list[Document]] = defaultdict(list)
    for path in sorted(file.path for file in found.table("documents")):
        written[Path(path).name.split("-")[1]] += read(output / path)
    removals = table(output, "removals")
    places = {
        row["id"]: (str(source / name), position)
        for name, rows in files.items()
        for row, position in zip(rows, positions(name, rows), strict=True)
    }
    removed = {row["id"] for row in removals}
    assert len(removed) == len(removals)
    expected = [[row for row in rows if row["id"] not in removed] for rows in files.values()]
    assert [rows for rows in written.values() if rows] == [rows for rows in expected if rows]
    assert sum(map(len, written.values())) + len(removals) == sum(map(len, files.values()))
    for row in removals:
        assert (row["file"], row["position"]) == places[row["id"]]
        assert (row["survivor_file"], row["survivor_position"]) == places[row["survivor_id"]]
        assert row["survivor_id"] not in removed
        assert row["survivor_dataset"] is None
    check_report(output, files, removals)
    return Done([row for rows in written.values() for row in rows], removals)


def check_report(output: Path, files: Files, removals: list[Document]) -> None:
    """The tables of the report add up to the removals, counted without our code."""
    rows = {row["id"]: row for some in files.values() for row in some}
    clusters = defaultdict(list)
    for row in removals:
        clusters[row["cluster"]].append(row)
        assert row["bytes"] == len(rows[row["id"]]["text"].encode())
    for some in clusters.values():
        assert {row["cluster_size"] for row in some} == {len(some) + 1}
        assert len({row["survivor_id"] for row in some}) == 1
    sizes = Counter(len(some) + 1 for some in clusters.values())
    assert summed(table(output, "cluster_sizes"), "cluster_size", "clusters") == sizes
    assert {row["cluster"]: row["removed"] for row in table(output, "clusters")} == {
        cluster: len(some) for cluster, some in clusters.items()
    }
    has_domains = any("domain" in row for row in rows.values())
    domains = Counter(rows[row["id"]].get("domain") for row in removals if has_domains)
    assert summed(table(output, "domains"), "domain", "removed") == domains
    for name in ("cluster_sizes", "clusters", "domains")[: 2 + has_domains]:
        told = table(output, name)
        assert sum(row["bytes"] for row in told) == sum(row["bytes"] for row in removals)
        assert sum(row["exact"] for row in told) == sum(row["reason"] == "exact" for row in removals)


def summed(rows: list[Document], key: str, value: str) -> Counter[Any]:
    """A run without shuffles tells a size once a file."""
    found: Counter[Any] = Counter()
    for row in rows:
        found[row[key]] += row[value]
    return found


def near(rows: Sequence[Document], **rule: Any) -> Clusters:
    numbered = [{**row, "address": place} for place, row in enumerate(rows)]
    return near_clusters(numbered, NearRule(**rule))


def equal(rows: Sequence[Document], *names: str) -> Clusters:
    groups = defaultdict(set)
    for place, row in enumerate(rows):
        key = tuple(row[name] for name in names)
        if None not in key and key != ("",):
            groups[key].add(place)
    return {place: nodes for nodes in groups.values() if len(nodes) > 1 for place in nodes}


def expected_survivors(
    rows: Sequence[Document], clusters: Clusters, worth: Callable[[Document], Any] = lambda row: 0
) -> dict[str, str]:
    best = survivors(clusters, lambda place: worth(rows[place]))
    return {rows[place]["id"]: rows[other]["id"] for place, other in best.items() if place != other}
