"""`python -m beam_etl.pipelines.repartition`: the documents in partitions, which later jobs and other engines know."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from beam_etl import schema
from beam_etl.io import manifest
from beam_etl.io.columns import ALL, SHARED, Columns, resolve
from beam_etl.io.dataset_input import DOCUMENTS_TABLE
from beam_etl.io.file_source import FileSource
from beam_etl.io.stored_types import is_text
from beam_etl.io.write import FAILURES, PARTITIONED
from beam_etl.io.write_partitioned import WritePartitioned
from beam_etl.kernels.partition_bounds import is_open
from beam_etl.kernels.partition_request import FORMS, parse_partitioning
from beam_etl.kernels.partition_rows import named_for
from beam_etl.kernels.partitioning import TIME, Partitioning
from beam_etl.kernels.sorting import Key, Order, key_rows
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import UsageError, flag
from beam_etl.pipelines.job import Job
from beam_etl.transforms.partition_bounds import FindBounds
from beam_etl.transforms.sampling import SampleKeys

SAMPLE_BYTES = 4 << 20
"""Read by the launcher, to expect how many bytes there will be."""


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    """What can be asked of the job."""

    partition: tuple[str, ...] = flag(f"the levels of partitions, outermost first: {FORMS}")
    order: tuple[str, ...] = flag("columns by which the rows of each file ascend, nulls last", default=())
    max_partition_bytes: int | None = flag(
        "cut a partition of more bytes, in memory, into pieces that count as partitions of their own",
        default=None,
        unit="bytes",
    )

    max_rows_per_key: int | None = flag(
        "keep at most so many documents that are equal in the columns of --partition, chosen by a hash of id, url "
        "or text; one shuffle more",
        default=None,
        unit="documents",
    )
    append: bool = flag("add to the dataset that is there, which is partitioned so", default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitioning  # noqa: B018 - checks the flags
        if self.max_partition_bytes is not None and self.max_partition_bytes < 1:
            raise ValueError(f"--max_partition_bytes must be at least 1, got {self.max_partition_bytes}")
        if self.max_rows_per_key is not None and self.max_rows_per_key < 1:
            raise ValueError(f"--max_rows_per_key must be at least 1, got {self.max_rows_per_key}")
        if len(set(self.order)) < len(self.order):
            raise ValueError(f"--order names a column twice: {','.join(self.order)}")

    @property
    def partitioning(self) -> Partitioning:
        """What is asked for."""
        try:
            return parse_partitioning(self.partition, self.order)
        except ValueError as error:
            raise ValueError(f"--partition={','.join(self.partition)}: {error}") from error

    @property
    def columns(self) -> Columns:
        return self.read_as((), carry=ALL)

    def reading(self, stored: pa.Schema) -> Columns:
        """What is read of an input with these columns: all of them as they are stored.

        A shared column that isn't stored, or is named by a flag, is made, and so is a date or time that is text.
        """
        times = {level.columns[0] for level in self.partitioning.by if level.function == TIME}
        made = []
        for name in dict.fromkeys((*self.partitioning.columns, *self.order)):
            as_text = name in stored.names and name in times and is_text(stored.field(name).type)
            told = name in SHARED and getattr(self, f"{name}_column") is not None
            if name in SHARED and (name not in stored.names or told or as_text):
                made.append(name)
        return self.read_as(made, carry=ALL)


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables documents and rejects. One shuffle, or two with --max_rows_per_key; ranges' columns are read before."""
    columns = config.reading(source.stored_schema)
    partitioning = _checked(source, config, columns)
    rows, expected = source.sample(SAMPLE_BYTES).expected(source.told_documents())
    documents, rejects, _ = source.documents(columns)
    found = None
    if any(map(is_open, partitioning.by)):
        keys, _, _ = source.documents(_keys(config, partitioning, source.stored_schema), again=True)
        found = keys | "Find bounds" >> FindBounds(partitioning=partitioning, expected_rows=rows)
    if config.max_rows_per_key is not None:
        documents = documents | "Sample keys" >> SampleKeys(
            by=partitioning.columns,
            sample_by=_sample_by(source.stored_schema),
            most=config.max_rows_per_key,
            expected_bytes=expected,
        )
    written = documents | "Partition" >> WritePartitioned(
        partitioning=partitioning,
        output=config.output,
        run=config.run,
        table=DOCUMENTS_TABLE,
        format=config.output_format,
        file_bytes=config.file_bytes,
        max_partition_bytes=config.max_partition_bytes,
        expected_bytes=expected,
        append=config.append,
        found=found,
    )
    return {
        DOCUMENTS_TABLE: written.files,
        "rejects": rejects,
        PARTITIONED: written.partitioned,
        FAILURES: written.failures,
    }


def _sample_by(stored: pa.Schema) -> tuple[str, ...]:
    """The column whose hash chooses among documents of a key.

    Raises:
      UsageError: there is none that tells them apart.
    """
    for name in (schema.ID, schema.URL, schema.TEXT):
        if name in stored.names:
            return (name,)
    raise UsageError("--max_rows_per_key needs a column id, url or text to choose by")


def _keys(config: Config, partitioning: Partitioning, stored: pa.Schema) -> Columns:
    """What is read to find bounds."""
    wanted = {level.columns[0] for level in partitioning.by if is_open(level)}
    made = tuple(name for name in config.reading(stored).needed if name in wanted)
    return config.read_as(made, carry=tuple(sorted(wanted - set(made))))


def _checked(source: FileSource, config: Config, columns: Columns) -> Partitioning:
    """The partitioning of an input, with its names.

    Raises:
      UsageError: a column is absent, or has values that can't be partitioned or ordered by.
    """
    reading = resolve(columns, source.stored_schema, source.files[0].path)
    read = pa.schema(
        [
            *(schema.DOCUMENT.field(found.column) for found in reading.sources),
            *(pa.field(carried.column, carried.type) for carried in reading.carried),
        ]
    )
    try:
        partitioning = _as_there(config, named_for(config.partitioning, read))
    except (TypeError, ValueError) as error:
        raise UsageError(f"--partition={','.join(config.partition)}: {error}") from error
    if config.order:
        try:
            key_rows(pa.RecordBatch.from_pylist([], read), Order(tuple(map(Key, config.order))))
        except (KeyError, TypeError) as error:
            raise UsageError(f"--order={','.join(config.order)}: {error.args[0]}") from error
    return partitioning


def _as_there(config: Config, partitioning: Partitioning) -> Partitioning:
    """The partitioning of the dataset that is added to, with its bounds; else the same.

    Raises:
      ValueError: it has another one.
    """
    current = manifest.latest(config.output) if config.append else None
    if current is None or DOCUMENTS_TABLE not in current.schemas:
        return partitioning
    there = current.partitioned(DOCUMENTS_TABLE)
    known = [
        replace(level, bounds=other.bounds, partitions=None)
        if is_open(level) and other.bounds is not None and len(other.bounds) < (level.partitions or 0)
        else level
        for level, other in zip(partitioning.by, there.by if there else (), strict=False)
    ]
    if there is None or tuple(known) != there.by or partitioning.order != there.order:
        raise ValueError(
            f"{config.output} is partitioned by {there.to_json() if there else 'nothing'}: what is added has to be, too"
        )
    return replace(there, split=False)


JOB = Job("repartition", "The documents in partitions, which later jobs find in the manifest.", Config, build)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
