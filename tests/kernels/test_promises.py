"""Each kernel that a pipeline maps over batches gives the same rows whatever surrounds it."""

from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.grouping import IS_TOTAL, only
from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.provenance import add_file
from beam_etl.kernels.token_counts import document_counter
from beam_etl.kernels.token_totals import partial_counts_with_totals
from beam_etl.kernels.vocabularies import WORDS
from beam_etl.testing import check_kernel

TEXTS = ["Hello, world", "", None, "Grüße", "Hello, world", "日本 1945", "a\u0301 b", "one two three"]
DOCUMENTS = pa.record_batch(
    {
        schema.LANGUAGE: ["en", None, "en", "de", "en", "ja", None, ""],
        schema.TEXT: pa.array(TEXTS, pa.large_string()),
        schema.TOKENS: pa.array([2, 0, None, 1, 2, 3, 2, 3], pa.int64()),
        IS_TOTAL: [False, True, False, False, True, False, False, True],
    }
).replace_schema_metadata({schema.FILE_METADATA: "crawl/part-3.parquet"})

ROW_WISE: dict[str, Callable[[pa.RecordBatch], pa.RecordBatch]] = {
    "count tokens": once_per_process(document_counter, WORDS),
    "add the file": add_file,
    "groups only": partial(only, total=False),
    "totals only": partial(only, total=True),
}


@pytest.mark.parametrize("kernel", ROW_WISE.values(), ids=ROW_WISE.keys())
def test_a_kernel_that_treats_each_row_by_itself(kernel: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
    check_kernel(kernel, DOCUMENTS)


def test_partial_counts() -> None:
    counted = DOCUMENTS.drop_columns([IS_TOTAL])
    check_kernel(partial(partial_counts_with_totals, by=(schema.LANGUAGE,)), counted, row_wise=False)
