"""`python -m beam_etl.pipelines.token_count`: how much text there is, by language, domain, date or source file."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.vocabularies import load_vocabulary
from beam_etl.kernels.grouping import IS_TOTAL
from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.provenance import add_file
from beam_etl.kernels.token_counts import DocumentCounter, document_counter, token_count_schema
from beam_etl.kernels.token_totals import expected_crossing
from beam_etl.pipelines.flags import UsageError, flag
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.window_config import STREAM_PARTITIONS, WindowConfig
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.token_count import CountTokens

SAMPLE_BYTES = 4 << 20
"""Read by the launcher, to expect how many groups there will be."""

SAMPLE_PLACES = 16
"""Where it is read: a place has few of the groups, since neighbours resemble each other.

By language, 8 and 16 places expected 54% and 76% of what crossed of the benchmarks' 1 GB, 87% and 79% of 2 GB, and 16
expected 141% of 0.14 GB. Whole row groups, a quarter of all documents, don't tell it better than to a third.
"""


@dataclass(frozen=True, kw_only=True)
class Config(WindowConfig):
    """What can be asked of the job."""

    WITHOUT_WINDOWS: ClassVar[tuple[str, ...]] = ("documents",)

    by: tuple[str, ...] = flag(
        "columns to group by: language, domain, date, file, or any of the input", default=("language",)
    )
    tokenizer: str = flag(
        "what a token is: words, tiktoken:NAME (cl100k_base, ...) or hf:PATH of a tokenizer.json",
        default="words",
    )
    documents: bool = flag("write the documents as well, with a column token_count", default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.by or len(set(self.by)) < len(self.by):
            raise ValueError(f"--by needs at least one column, and each once, got {','.join(self.by)!r}")
        if self.documents and self.window is not None:
            raise ValueError(
                "--documents has no windows: a document is in none, or in several. Leave out one of both"
            )

    @property
    def columns(self) -> Columns:
        stored = (name for name in self.by if name != schema.FILE)
        return self.read_as((schema.TEXT, *stored), carry=ALL if self.documents else ())


def build(source: FileSource, config: Config) -> dict[str, Batches]:
    """Tables counts and totals, rejects, and with `--documents` the documents. One shuffle.

    With --window counts and totals are those of each window.
    """
    _check_groups(source, config)
    documents, rejects, _ = source.documents()
    sample = source.sample(SAMPLE_BYTES, SAMPLE_PLACES)
    if told := source.told_documents():
        sample = sample._replace(scale=told / max(1, sum(batch.num_rows for batch in sample.batches)))
    if schema.FILE in config.by:
        documents = documents | "Add file" >> MapBatches(add_file)
        sample = sample._replace(batches=list(map(add_file, sample.batches)))
    streaming = not documents.is_bounded
    bundles = config.bundles(source.files, source.pipeline.options)
    counted = documents | "Count tokens" >> CountTokens(
        by=config.by,
        vocabulary=load_vocabulary(config.tokenizer),
        partitions=STREAM_PARTITIONS if streaming else None,
        expected_bytes=None
        if streaming
        else expected_crossing(sample.batches, config.by, sample.scale, bundles),
        keep_partition=config.accumulates and streaming,
    )
    rejects = (rejects, counted.rejects) | "Rejects" >> beam.Flatten()
    tables = {"counts": counted.counts, "totals": counted.totals, "rejects": rejects}
    return {**tables, "documents": counted.documents} if config.documents else tables


def _check_groups(source: FileSource, config: Config) -> None:
    """A column that can't be grouped by is told before the job starts."""
    known = pa.unify_schemas([schema.DOCUMENT, pa.schema([(schema.FILE, pa.string())])])
    groups = [known if name in known.names else source.stored_schema for name in config.by]
    fields = [found.field(name) for found, name in zip(groups, config.by, strict=True)]
    try:
        token_count_schema([*fields, pa.field(IS_TOTAL, pa.bool_())])
    except (TypeError, ValueError) as error:
        raise UsageError(f"--by={','.join(config.by)}: {error}") from error


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """Which engine counted: the fast one, or the reference and why."""
    del counters
    kernel = cast(
        DocumentCounter, once_per_process(document_counter, load_vocabulary(config.tokenizer)).get()
    )
    return [f"tokens: {config.tokenizer}, counted by {kernel.counter.engine}"]


JOB = Job("token_count", "Documents, bytes, characters and tokens of each group.", Config, build, notes)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
