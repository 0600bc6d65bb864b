"""`python -m beam_etl.pipelines.inverted_index`: which documents have a word, how often, and where."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.index.files import ABOUT, DOCUMENTS, POSTINGS, SPLIT_TERMS, TERMS, VERSION, WriteIndex
from beam_etl.io.index.segment_rows import SEGMENTS, segment_of
from beam_etl.io.write import FAILURES, FINDINGS
from beam_etl.kernels.index_sample import expected_crossing
from beam_etl.kernels.inverting import INVERTED_BYTES
from beam_etl.kernels.partitioning import hashed
from beam_etl.kernels.unicode_table import RULES, UNICODE_VERSION
from beam_etl.pipelines.config import RunConfig
from beam_etl.pipelines.flags import flag
from beam_etl.pipelines.job import PARTITIONING, Job
from beam_etl.pipelines.window_config import WindowConfig
from beam_etl.transforms.index_segments import BuildSegments
from beam_etl.transforms.inverted_index import BuildInvertedIndex, Index, invertible
from beam_etl.transforms.partition_index import KEY


@dataclass(frozen=True, kw_only=True)
class Config(WindowConfig):
    """What can be asked of the job."""

    words: str = flag("what a word is; see docs/vocabulary.md", default="words", choices=RULES)
    positions: bool = flag("keep the places of words, for phrases", default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_format != "parquet":
            raise ValueError(
                f"--output_format={self.output_format}: an index is read by row groups, so it is Parquet"
            )

    @property
    def columns(self) -> Columns:
        return self.read_as((schema.ID, schema.TEXT), optional=(schema.URL,))


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """The tables of the index, and rejects. One shuffle of postings, a small one of a sample of terms.

    With --window segments, as rows of a table; one shuffle of all text.
    """
    if config.window is not None:
        return _segments(source, config)
    documents, rejects, _ = source.documents()
    sample = source.sample(INVERTED_BYTES)
    # Documents of the sample may be longer than others, and the input may expand less than is taken for granted: each
    # makes one of the two too high.
    sampled = sum(batch.num_rows for batch in sample.batches)
    rows, _ = sample.expected(source.told_documents())
    scale = min(sample.scale, rows / max(sampled, 1))
    index = BuildInvertedIndex(
        words=config.words,
        positions=config.positions,
        expected_bytes=_expected_crossing(sample.batches, scale, config),
    )
    found = documents | "Index" >> index
    described = {
        "version": VERSION,
        "words": config.words,
        "unicode": UNICODE_VERSION,
        "positions": config.positions,
    }
    more = () if found.rejects is None else (found.rejects,)
    both = (rejects, *more) | "Rejects" >> beam.Flatten()
    return {**index_tables(found, config, described, index.partition.count), "rejects": both}


def _segments(source: FileSource, config: Config) -> dict[str, Any]:
    documents, rejects, _ = source.documents()
    built = documents | "Segments" >> BuildSegments(
        write=segment_of,
        words=config.words,
        positions=config.positions,
        keep_partition=config.accumulates and not documents.is_bounded,
    )
    rejects = (rejects, built.rejects) | "Rejects" >> beam.Flatten()
    return {SEGMENTS: built.segments, "rejects": rejects, FAILURES: built.failures}


def _expected_crossing(batches: Sequence[pa.RecordBatch], scale: float, config: Config) -> int:
    try:
        return expected_crossing(batches, scale, config.words, config.positions)
    except Exception:  # noqa: BLE001 - of documents that the job will reject
        good, _ = invertible(batches, config.words, config.positions)
        return expected_crossing(good, scale, config.words, config.positions)


def index_tables(
    found: Index,
    config: RunConfig,
    described: Mapping[str, Any],
    partitions: int,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The tables of an index, for a Job.

    Args:
      found: what is written.
      config: where to.
      described: what its manifest says besides the statistics.
      partitions: how many there are.
      more: what the manifest says beside that of the index.
    """
    files = found.partitions | "Write index" >> WriteIndex(
        output=config.output, run=config.run, positions=described["positions"]
    )
    return {
        POSTINGS: files.postings,
        TERMS: files.terms,
        DOCUMENTS: files.documents,
        SPLIT_TERMS: found.split_terms,
        FAILURES: found.failures,
        FINDINGS: found.statistics
        | "About" >> beam.Map(partial(_about, described=described, more=more or {})),
        PARTITIONING: {table: hashed(KEY, partitions).to_json() for table in (POSTINGS, TERMS, DOCUMENTS)},
    }


def _about(
    statistics: Mapping[str, Any], described: Mapping[str, Any], more: Mapping[str, Any]
) -> dict[str, Any]:
    return {**more, ABOUT: {**described, **statistics}}


JOB = Job("inverted_index", "Which documents have a word, how often, and where.", Config, build)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
