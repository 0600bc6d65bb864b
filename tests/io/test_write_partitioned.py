"""Tables that WriteDataset partitions, whatever the batches, and kernels over whole partitions of what was written."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import Columns, UnbatchRows, WriteDataset, plan
from beam_etl.io import manifest
from beam_etl.io.columns import ALL
from beam_etl.io.file_source import FileSource
from beam_etl.io.map_partitions import MapDocumentPartitions
from beam_etl.kernels.partition_request import parse_partitioning
from beam_etl.kernels.partitioning import Partitioning, hashed
from tests.beam import run

ROWS = [
    {"shop": f"{number * 7 % 13}.shop", "price": number * 31 % 101, "text": f"text {number}"}
    for number in range(400)
]
TABLE = pa.Table.from_pylist(ROWS)


def write(output: Path, partitioning: Partitioning, rows: int, **options: Any) -> manifest.Manifest:
    """Writes ROWS as a table of a pipeline of one's own, in batches of so many rows, without addresses."""
    with run() as pipeline:
        batches = pipeline | beam.Create(TABLE.to_batches(rows)).with_output_types(pa.RecordBatch)
        partition = {"documents": partitioning}
        _ = {"documents": batches} | WriteDataset(output=str(output), partition=partition, **options)
    found = manifest.latest(str(output))
    assert found is not None
    return found


@pytest.mark.parametrize("rows", [400, 9], ids="batches of {}".format)
def test_the_same_rows_are_in_the_same_partitions_whatever_the_batches(rows: int, tmp_path: Path) -> None:
    found = write(tmp_path / "out", hashed(("shop",), 3, order=("price", "text")), rows)
    read = {
        values: [pq.read_table(tmp_path / "out" / file.path, partitioning=None).to_pylist() for file in files]
        for values, files in found.partitions("documents").items()
    }
    whole = write(tmp_path / "whole", hashed(("shop",), 3, order=("price", "text")), 400)
    expected = {
        values: [
            pq.read_table(tmp_path / "whole" / file.path, partitioning=None).to_pylist() for file in files
        ]
        for values, files in whole.partitions("documents").items()
    }
    assert read == expected
    assert sorted(row["text"] for parts in read.values() for part in parts for row in part) == sorted(
        row["text"] for row in ROWS
    )


@pytest.mark.parametrize("format_", ["jsonl", "avro"])
def test_other_formats_are_partitioned_as_well(format_: str, tmp_path: Path) -> None:
    found = write(tmp_path / "out", parse_partitioning(["value:shop"]), 100, format=format_)
    assert len(found.partitions("documents")) == 13
    assert {file.path.rpartition(".")[2] for file in found.files} == {format_}
    columns = Columns(needed=(), carry=ALL)
    source = FileSource(beam.Pipeline(), str(tmp_path / "out"), columns)
    read = [
        row for file in source.files for batch in source.read.read_file(file) for row in batch.to_pylist()
    ]
    assert sorted((row["shop"], row["text"]) for row in read) == sorted(
        (row["shop"], row["text"]) for row in ROWS
    )


def test_bounds_that_nobody_knows_are_refused_when_the_pipeline_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ranges without bounds"):
        write(tmp_path / "out", parse_partitioning(["range:price:3"]), 400)


def changes(batches: Iterator[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """A kernel with state: how often the price falls from one row of a shop to its next, and the rows of the shop."""
    last: dict[str, int] = {}
    falls: dict[str, int] = {}
    count: dict[str, int] = {}
    for batch in batches:
        for row in batch.to_pylist():
            shop, price = row["shop"], row["price"]
            falls[shop] = falls.get(shop, 0) + (price < last.get(shop, price))
            count[shop] = count.get(shop, 0) + 1
            last[shop] = price
    shops = sorted(count)
    yield pa.record_batch(
        {"shop": shops, "falls": [falls[shop] for shop in shops], "rows": [count[shop] for shop in shops]}
    )


WAYS = {
    "partitioned by the column": (hashed(("shop",), 4, order=("price",)), 0),
    "partitioned by its value": (parse_partitioning(["value:shop"], order=("price",)), 0),
    "partitioned by another": (hashed(("text",), 4, order=("price",)), 1),
}


@pytest.mark.parametrize(("partitioning", "shuffles"), WAYS.values(), ids=WAYS)
def test_a_kernel_sees_whole_partitions_in_order_and_rows_are_shuffled_only_where_they_are_apart(
    partitioning: Partitioning, shuffles: int, tmp_path: Path
) -> None:
    write(tmp_path / "out", partitioning, 50, file_bytes=1000)
    pipeline = run()
    source = FileSource(pipeline, str(tmp_path / "out"), Columns(needed=(), carry=ALL))
    mapped = pipeline | MapDocumentPartitions(source=source, kernel=changes, by=("shop",))
    assert len(plan(pipeline).shuffles) == shuffles
    found = mapped.batches | UnbatchRows()
    totals = found | beam.Map(lambda row: (row["shop"], row["rows"]))
    counts = {shop: sum(row["shop"] == shop for row in ROWS) for shop in {row["shop"] for row in ROWS}}
    assert_that(totals, equal_to(list(counts.items())))
    if not shuffles:  # files follow each other in the order that was asked for
        assert_that(
            found | "Falls" >> beam.Map(lambda row: row["falls"]),
            equal_to([0] * len(counts)),
            label="in order",
        )
    pipeline.run().wait_until_finish()
