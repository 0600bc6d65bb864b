"""`python -m beam_etl.pipelines.sort`: the documents in a global order."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beam_etl.io.dataset_input import DOCUMENTS_TABLE
from beam_etl.io.file_source import FileSource
from beam_etl.io.write import PARTITIONED
from beam_etl.io.write_sorted import WriteSorted
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.order_config import OrderConfig, check_order

SAMPLE_BYTES = 4 << 20
"""Read by the launcher, to expect how many bytes there will be."""


@dataclass(frozen=True, kw_only=True)
class Config(OrderConfig):
    """What can be asked of the job."""


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables documents, whose files are in order by their names, and rejects. One shuffle."""
    check_order(source, config.order)
    documents, rejects, _ = source.documents()
    rows, expected = source.sample(SAMPLE_BYTES).expected(source.told_documents())
    written = documents | "Sort" >> WriteSorted(
        order=config.order,
        output=config.output,
        run=config.run,
        table=DOCUMENTS_TABLE,
        format=config.output_format,
        file_bytes=config.file_bytes,
        expected_bytes=expected,
        expected_rows=rows,
    )
    return {DOCUMENTS_TABLE: written.files, PARTITIONED: written.partitioned, "rejects": rejects}


JOB = Job("sort", "The documents in a global order.", Config, build)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
