"""`python -m beam_etl.pipelines.describe DATASET`: what a dataset has, how it is partitioned, and its versions."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from beam_etl.io import manifest
from beam_etl.io.errors import InputError
from beam_etl.io.manifest import Manifest
from beam_etl.io.versions import read_versions
from beam_etl.kernels.partition_paths import folder_of
from beam_etl.kernels.partitioning import Partitioning
from beam_etl.observe.bars import size_bars
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.tool import DONE, run_tool

NAME = "describe"
SUMMARY = "What a dataset has: schema, partitions and their sizes, versions. DATASET [--files=true]"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    dataset: str = flag("folder of the dataset; may stand first, without --dataset=", unit=FOLDER)
    files: bool = flag("print the paths of the files of the current version instead", default=False)


def describe(folder: str) -> Iterator[str]:
    """Lines that tell of a dataset.

    Raises:
      InputError: there is none.
    """
    current = _latest(folder)
    rows = sum(map(current.rows, current.schemas))
    yield (
        f"{folder}: version {current.number}, {rows:,} rows, {format_bytes(current.stored_bytes)} in "
        f"{len(current.files):,} files, by {current.about.get('job', 'an unknown job')}"
    )
    for table in current.schemas:
        yield from _table(current, table)
    versions = read_versions(folder)
    yield "versions"
    for version in versions:
        made = version.about.get("created", "at an unknown time")
        how = "added by" if version.appended else "written by"
        yield (
            f"  {version.number}  {made}  {how} {version.about.get('job', 'an unknown job')}, "
            f"{len(version.files):,} files, {format_bytes(version.stored_bytes)}"
        )


def _latest(folder: str) -> Manifest:
    current = manifest.latest(folder)
    if current is None:
        raise InputError(
            f"{folder}: no dataset, since it has no manifest. Give a folder that a job wrote as --output."
        )
    return current


def _table(current: Manifest, table: str) -> Iterator[str]:
    files = current.table(table)
    size = sum(file.bytes for file in files)
    yield f"{table}: {current.rows(table):,} rows, {format_bytes(size)} in {len(files):,} files"
    columns = current.schemas[table]
    if columns:
        yield f"  columns  {', '.join(f'{name} {kind}' for name, kind in columns.items())}"
    partitioning = current.partitioned(table)
    if partitioning is None:
        return
    yield from (f"  {line}" for line in _partitioning(partitioning))
    sizes = [
        (folder_of(partitioning, values), sum(file.rows for file in some), sum(file.bytes for file in some))
        for values, some in sorted(current.partitions(table).items(), key=_by_value)
    ]
    yield f"  {len(sizes):,} partitions with rows{_spread([size for _, _, size in sizes])}"
    yield from (f"    {line}" for line in size_bars(sizes))


def _by_value(item: tuple[tuple[str | None, ...], Any]) -> list[tuple[bool, str]]:
    return [(value is None, value or "") for value in item[0]]


def _spread(sizes: Sequence[int]) -> str:
    if len(sizes) < 2:
        return ""
    mean = sum(sizes) / len(sizes)
    return f", the largest {max(sizes) / mean:.2f} times the mean of {format_bytes(mean)}"


def _partitioning(partitioning: Partitioning) -> Iterator[str]:
    for level in partitioning.by:
        columns = ", ".join(level.columns)
        how = {
            "hash": f"hash of {columns} into {level.partitions}",
            "range": f"range of {columns} from {', '.join(map(str, level.bounds or ()))}",
            "time": f"{level.unit} of {columns}",
            "value": f"value of {columns}",
        }[level.function]
        yield f"partitioned by {how}, in folders {level.name}=..."
    if partitioning.order:
        yield f"rows of each file ascend by {', '.join(partitioning.order)}"
    if partitioning.split:
        yield "some partition was cut into pieces: equal keys may be apart"


def _tell(config: Config) -> int:
    if config.files:
        lines: Iterator[str] = (f"{config.dataset}/{file.path}" for file in _latest(config.dataset).files)
    else:
        lines = describe(config.dataset)
    for line in lines:
        print(line)
    return DONE


def run(argv: Sequence[str] | None = None) -> int:
    """Tells of the dataset that the command line names; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, _tell)


if __name__ == "__main__":
    sys.exit(run())
