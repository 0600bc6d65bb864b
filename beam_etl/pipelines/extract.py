"""`python -m beam_etl.pipelines.extract`: the documents of a crawl: text, title, language, filtered."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.file_source import FileSource
from beam_etl.kernels.languages import NoDetectorError
from beam_etl.pipelines.chosen_records import is_pages, read_crawl
from beam_etl.pipelines.extract_config import Config
from beam_etl.pipelines.flags import UsageError
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.put_down import Made, needing, put_documents_down
from beam_etl.pipelines.steps import DOCUMENTS, REJECTS, REMOVALS, Steps
from beam_etl.transforms.annotations import DetectLanguages, MaskAddresses
from beam_etl.transforms.batches import MapBatches


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables documents, removals and rejects. No shuffle.

    With --resume all that is made of a split is put down too, and what another run had put down isn't made again.
    """
    if config.resume:
        first = put_documents_down(source, config, partial(_made, source, config))
        again = {name: first.again(name) for name in (REMOVALS, REJECTS)}
        return {DOCUMENTS: first.documents, **again, **needing([first])}
    steps = _steps(source, config)
    return {
        DOCUMENTS: steps.documents,
        REMOVALS: steps.removals | "Removals" >> beam.Flatten(),
        REJECTS: steps.rejects | "Rejects" >> beam.Flatten(),
    }


def _made(source: FileSource, config: Config, **reading: Any) -> Made:
    return Made(_steps(source, config, tell_splits=True, **reading).by_table())


def _steps(source: FileSource, config: Config, **reading: Any) -> Steps:
    """All steps. Args as of `build`; reading: more for `FileSource.documents`."""
    documents, rejects, _ = source.documents(**reading)
    stored = source.stored_schema.names
    pages = is_pages(source)
    if pages:
        documents = documents | "Pages" >> MapBatches(partial(_without, column=schema.TEXT))
    steps = Steps(documents, rejects)
    steps.filter("Filter pages", config.first_rules(stored))
    if pages:
        steps.map("Extract text", config.extracting)
    steps.filter("Filter texts", config.text_rules)
    if config.detect_language:
        try:
            steps.map("Detect languages", DetectLanguages())
        except NoDetectorError as error:
            raise UsageError(f"{error}, or use --detect_language=false") from error
        steps.filter("Filter languages", config.language_rules)
    if config.mask:
        steps.map("Mask addresses", MaskAddresses())
    return steps


def _without(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    return batch.drop_columns([column])


def read(pipeline: beam.Pipeline, config: Config) -> FileSource:
    """The input, or what indexes choose of it."""
    if config.resume:
        config.look_at_contents()
    return read_crawl(pipeline, config)


JOB = Job("extract", "The documents of a crawl: text, title, language, filtered.", Config, build, source=read)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
