"""Reads the texts of a folder and makes their signals, as a pipeline: what domain_score is measured by.

python -m benchmarks.signals_alone FOLDER
"""

import sys

import apache_beam as beam
import pyarrow as pa

from beam_etl import Columns, MapBatches, ReadDocuments, schema
from beam_etl.kernels.quality import signals
from beam_etl.pipelines.runners import make_options, make_runner


def count(batch: pa.RecordBatch) -> None:
    """The kernel, and nothing of what it gives."""
    signals(batch.column(schema.TEXT))


def main(folder: str) -> None:
    pipeline = beam.Pipeline(runner=make_runner("direct"), options=make_options("direct", []))
    (
        pipeline | ReadDocuments(patterns=folder, columns=Columns(needed=(schema.TEXT,)))
    ).documents | MapBatches(count)
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    main(sys.argv[1])
