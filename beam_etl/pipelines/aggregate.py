"""`python -m beam_etl.pipelines.aggregate`: counts, sums, limits, distinct values and quantiles of groups of rows."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.kernels.aggregating import expected_crossing
from beam_etl.kernels.aggregations import Aggregation, parse_aggregations
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import UsageError, flag
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.narrow import read_narrow
from beam_etl.transforms.aggregate_columns import AggregateColumns
from beam_etl.transforms.batches import Batches

SAMPLE_BYTES = 4 << 20
SAMPLE_PLACES = 16
"""Read by the launcher, to expect how many groups there will be: see token_count."""


@dataclass(frozen=True, kw_only=True)
class GroupConfig(JobConfig):
    """What can be asked of a job about groups of rows."""

    by: tuple[str, ...] = flag("columns to group by; none for everything as one group", default=())
    salts: int | None = flag(
        "combine so many parts of each group apart first, in a shuffle of their own (docs/skew.md says when)",
        default=None,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [*self.by, *(one.name for one in self.aggregations)]
        if len(set(names)) < len(names):
            raise ValueError(f"the result would have two columns of one name: {', '.join(names)}")

    @property
    def aggregations(self) -> tuple[Aggregation, ...]:
        """What is asked of each group."""
        raise NotImplementedError

    @property
    def columns(self) -> Columns:
        return Columns(needed=())


@dataclass(frozen=True, kw_only=True)
class Config(GroupConfig):
    """What can be asked of the job."""

    agg: tuple[str, ...] = flag(
        "what to tell of each group: count, and count, sum, mean, min, max, distinct or pN (p50, p99.9) as "
        "FUNCTION:COLUMN",
        default=("count",),
    )

    @property
    def aggregations(self) -> tuple[Aggregation, ...]:
        try:
            return parse_aggregations(self.agg)
        except ValueError as error:
            raise ValueError(f"--agg: {error}") from error


def open_source(pipeline: beam.Pipeline, config: GroupConfig) -> FileSource:
    """The columns that are asked for, and no others."""
    asked = [one.column for one in config.aggregations if one.column]
    coded = [name for name in config.by if name not in asked]
    return read_narrow(pipeline, config, tuple(dict.fromkeys((*config.by, *asked))), coded)


def aggregate(source: FileSource, config: GroupConfig, approximate: bool) -> tuple[Batches, Batches]:
    """The answers, and rejects. One shuffle.

    Raises:
      UsageError: something is asked that a column has no answer to.
    """
    documents, rejects, _ = source.documents()
    sample = source.sample(SAMPLE_BYTES, SAMPLE_PLACES)
    try:
        transform = AggregateColumns(
            by=config.by,
            aggregations=config.aggregations,
            input=_input(source, sample.batches),
            approximate=approximate,
            salts=config.salts,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(str(error.args[0])) from error
    if told := source.told_documents():
        sample = sample._replace(scale=told / max(1, sum(batch.num_rows for batch in sample.batches)))
    bundles = config.bundles(source.files, source.pipeline.options)
    transform.expected_bytes = expected_crossing(sample.batches, transform.state, sample.scale, bundles)
    return documents | "Aggregate" >> transform, rejects


def _input(source: FileSource, sample: Sequence[pa.RecordBatch]) -> pa.Schema:
    """The columns of batches that the source reads."""
    if sample:
        return sample[0].schema.remove_metadata()
    read = source.read.columns
    return pa.unify_schemas(
        [source.stored_schema, schema.columns(*read.shared)], promote_options="permissive"
    )


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables aggregates, a row a group, and rejects. One shuffle."""
    answers, rejects = aggregate(source, config, approximate=False)
    return {"aggregates": answers, "rejects": rejects}


JOB = Job(
    "aggregate",
    "Counts, sums, limits, distinct values and quantiles of groups of rows.",
    Config,
    build,
    source=open_source,
)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
