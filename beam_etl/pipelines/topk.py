"""`python -m beam_etl.pipelines.topk`: the first documents in an order."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam

from beam_etl import schema
from beam_etl.io.dataset_input import DOCUMENTS_TABLE
from beam_etl.io.fetch_rows import FetchRows
from beam_etl.io.file_source import FileSource
from beam_etl.io.near_rows import spare_far
from beam_etl.io.rewrite import sorted_addresses
from beam_etl.kernels.nearest import Nearest
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.flags import UsageError, flag
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.narrow import NARROW_ROWS
from beam_etl.pipelines.order_config import OrderConfig, check_order
from beam_etl.transforms.shuffle import KEY_LIMIT
from beam_etl.transforms.top import PackFirst, TopK, unpack_rows

SAMPLE_BYTES = 4 << 20
"""Read by the launcher, to expect how large rows are."""


@dataclass(frozen=True, kw_only=True)
class Config(OrderConfig):
    """What can be asked of the job."""

    k: int = flag("how many documents", default=100)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"--k must be at least 1, got {self.k}")


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables documents, in order, and rejects. No shuffle.

    Which documents they are is found in the columns of the order alone; then they are read whole.
    """
    check_order(source, config.order)
    _check_size(source, config.k)
    narrow = replace(config.read_as((), carry=config.order.columns), batch_rows=NARROW_ROWS)
    keys, rejects, _ = source.documents(
        narrow, spare=partial(spare_far, nearest=Nearest(config.order, config.k))
    )
    first = keys | "First keys" >> PackFirst(k=config.k, order=config.order)
    addresses = first | "Addresses" >> beam.Map(_addresses).with_output_types(bytes)
    fetched = addresses | "Fetch" >> FetchRows(source=source, columns=config.columns)
    documents = fetched.rows | "First documents" >> TopK(k=config.k, order=config.order, few=True)
    return {
        DOCUMENTS_TABLE: documents,
        "rejects": (rejects, fetched.rejects) | "All rejects" >> beam.Flatten(),
    }


def _addresses(packed: bytes) -> bytes:
    """Addresses of packed rows, ascending."""
    return sorted_addresses(
        [batch.column(schema.ADDRESS).to_numpy().tobytes() for batch in unpack_rows(packed)]
    )


def _check_size(source: FileSource, k: int) -> None:
    """All documents are one element at the end."""
    sample = source.sample(SAMPLE_BYTES).batches
    rows = min(k, source.told_documents() or k)
    expected = sum(batch.nbytes for batch in sample) * rows // max(1, sum(batch.num_rows for batch in sample))
    if expected > KEY_LIMIT:
        raise UsageError(
            f"--k={k}: some {format_bytes(expected)} of documents, and one worker puts up to {format_bytes(KEY_LIMIT)} "
            f"in order. Ask for fewer, or sort them: python -m beam_etl.pipelines.sort"
        )


JOB = Job("topk", "The first documents in an order.", Config, build)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
