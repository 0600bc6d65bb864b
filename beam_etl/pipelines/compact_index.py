"""`python -m beam_etl.pipelines.compact_index`: several inverted indexes as one, without what was removed."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from beam_etl.io.index.read_segments import DOCUMENTS_REMOVED, REMOVALS_ABSENT, SegmentSource
from beam_etl.pipelines.config import RunConfig, check_apart
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.inverted_index import index_tables
from beam_etl.pipelines.job import Job
from beam_etl.transforms.inverted_index import Index
from beam_etl.transforms.partition_index import NumberedIndex, PartitionIndex

SEGMENTS = "segments"
"""Where a manifest has which indexes it was made of."""


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """What can be asked of the job."""

    input: tuple[str, ...] = flag(
        "folders of the indexes; the documents of each come behind those of the one before", unit=FOLDER
    )
    removals: str | None = flag(
        "folder of a dataset with a table `removals`, as dedup writes it; what it names is left out",
        default=None,
        unit=FOLDER,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        folders = [("output", self.output), *(("input", folder) for folder in self.input)]
        check_apart([*folders, *([("removals", self.removals)] if self.removals else [])])


def build(source: SegmentSource, config: Config) -> dict[str, Any]:
    """The tables of the index. One shuffle of postings, a small one of a sample of terms."""
    found = source.read()
    partition = PartitionIndex(expected_bytes=source.expected_bytes())
    numbered = NumberedIndex(found.rows, found.sample, found.count)
    partitioned = numbered | "Index" >> partition
    index = Index(partitioned.partitions, partitioned.split_terms, found.statistics, found.failures)
    return index_tables(index, config, source.about, partition.count, {SEGMENTS: source.origins})


def open_source(pipeline: beam.Pipeline, config: Config) -> SegmentSource:
    """The indexes."""
    return SegmentSource(pipeline, config.input, config.removals)


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """What was removed."""
    if config.removals is None or DOCUMENTS_REMOVED not in counters:
        return []
    absent = counters.get(REMOVALS_ABSENT, 0)
    more = f"; {absent:,} removals are of documents that these indexes don't have" if absent else ""
    return [f"documents removed: {counters[DOCUMENTS_REMOVED]:,}{more}"]


JOB = Job(
    "compact_index",
    "Several inverted indexes as one, without documents that were removed.",
    Config,
    build,
    notes,
    source=open_source,
)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
