"""`python -m beam_etl.pipelines.lines`: documents without the lines or paragraphs that repeat."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.access import StoreFiles
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.file_source import FileSource, Sample
from beam_etl.io.stores import is_object
from beam_etl.io.write import FAILURES
from beam_etl.kernels.repeated_lines import (
    CORPUS,
    EXACT,
    FIRST,
    LINE,
    NONE,
    NORMAL,
    PARAGRAPH,
    LineRule,
    count_lines,
    merge_counts,
)
from beam_etl.pipelines.as_stored import as_stored
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import flag
from beam_etl.pipelines.job import Job
from beam_etl.transforms.batches import merge_batches
from beam_etl.transforms.documents import usable
from beam_etl.transforms.line_tables import REPEATED_LINES
from beam_etl.transforms.link_files import BeamFiles
from beam_etl.transforms.repeated_lines import PIECES_REMOVED, FindRepeatedLines, RemoveRepeatedLines

SAMPLE_BYTES = 4 << 20
"""Read by the launcher, to expect how many lines there will be."""


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    """What can be asked of the job."""

    unit: str = flag(
        "what is compared and removed: lines, or paragraphs between blank lines",
        default=LINE,
        choices=(LINE, PARAGRAPH),
    )
    scope: str = flag(
        "count how often one occurs in the whole corpus, or how many documents of a domain have it",
        default=CORPUS,
        choices=(CORPUS, schema.DOMAIN),
    )
    more_than: int = flag("remove those that are counted more often", default=1)
    min_length: int = flag("shorter ones stay", default=1, unit="characters")
    match: str = flag(
        "compare in lower case, digits as 0, without punctuation and accents; or exactly",
        default=NORMAL,
        choices=(NORMAL, EXACT),
    )
    keep: str = flag("keep the first of equal ones, or none", default=FIRST, choices=(FIRST, NONE))
    lines_memory: int = flag(
        "what a process may hold of repeated lines, 16 bytes each, 8 with --keep=none",
        default=2 << 30,
        unit="bytes",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.line_rule  # noqa: B018 - what can't be is told at once

    @property
    def line_rule(self) -> LineRule:
        """What goes."""
        return LineRule(
            unit=self.unit,
            scope=self.scope,
            more_than=self.more_than,
            min_length=self.min_length,
            match=self.match,
            keep=self.keep,
        )

    @property
    def counted(self) -> Columns:
        """What is read to count. Where the first stays, all: a document that has it must not be a reject later."""
        if self.keep == FIRST:
            return self.columns
        return self.read_as(self.line_rule.needed)

    @property
    def columns(self) -> Columns:
        """What is read to be written."""
        return self.read_as((schema.ID, *self.line_rule.needed), carry=ALL)

    def finding(self, expected_bytes: int | None) -> FindRepeatedLines:
        """What finds the lines, of which so many bytes of counts are expected to cross the shuffle."""
        return FindRepeatedLines(
            rule=self.line_rule,
            folder=os.path.join(staging.staging_folder(self.output, self.run), "lines"),
            files=StoreFiles() if is_object(self.output) else BeamFiles(),
            memory=self.lines_memory,
            expected_bytes=expected_bytes,
        )


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables documents, edits, removals and rejects. One shuffle, of hashes: the text is read twice."""
    documents, rejects, _ = source.documents(config.counted)
    again, others, _ = source.documents(again=True)
    done = documents | "Remove repeated lines" >> RemoveRepeatedLines(
        find=config.finding(expected_crossing(source.sample(SAMPLE_BYTES), config.line_rule)), again=again
    )
    del rejects  # the second read wants as many columns or more, so it rejects these as well
    return {
        "documents": as_stored(done.documents, source),
        "edits": done.edits,
        "removals": done.removals,
        "rejects": (others, done.rejects) | "All rejects" >> beam.Flatten(),
        FAILURES: done.failures,
    }


def expected_crossing(sample: Sample, rule: LineRule) -> int:
    """Bytes of counts, estimated: lines that a sample has once are taken to be distinct everywhere."""
    counts = list(usable(partial(count_lines, rule=rule), sample.batches))
    found = merge_counts(merge_batches(counts), rule).nbytes if counts else 0
    return round(found * sample.scale)


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """How many lines repeat, and how often one was cut out."""
    found, cut = counters.get(REPEATED_LINES, 0), counters.get(PIECES_REMOVED, 0)
    return [f"{found:,} distinct {config.unit}s repeat; {cut:,} were cut out of documents that stay"]


JOB = Job("lines", "Documents without the lines or paragraphs that repeat.", Config, build, notes)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
