"""Small elements and the rows that carry their keys."""

from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl.observe.plan import plan
from beam_etl.transforms import slices
from beam_etl.transforms.batches import RecordBatchCoder
from beam_etl.transforms.shuffle import Attach, Attachment
from tests.beam import run

KEYS = [0, 7, 1 << 44, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
"""A row with key k is there as often as k's place in the list: none of the first."""
ROWS = [key for place, key in enumerate(KEYS) for _ in range(place)]


def batches(keys: Iterable[int], size: int = 4) -> list[pa.RecordBatch]:
    """The rows of these keys, numbered, a few in each batch."""
    every = list(keys)
    rows = pa.record_batch({"key": pa.array(every, pa.uint64()), "row": pa.array(range(len(every)))})
    return [rows.slice(start, size) for start in range(0, len(every), size)]


def numbers(attached: tuple[str, Iterable[pa.RecordBatch]]) -> tuple[str, list[int]]:
    element, found = attached
    once, again = ([row for batch in found for row in batch.column("row").to_pylist()] for _ in range(2))
    assert once == again
    return element, sorted(once)


HOPS = {"one hop": Attach(by=("key",)), "two hops": Attach(by=("key",), keys=10**6, expected_bytes=10**10)}


@pytest.mark.parametrize("attach", HOPS.values(), ids=HOPS.keys())
def test_each_element_meets_its_rows_once_with_any_64_bits_as_key(attach: Attach) -> None:
    expected = [(f"of {key}", [row for row, of in enumerate(ROWS) if of == key]) for key in KEYS]
    with run("--direct_num_workers=2") as pipeline:
        keyed = [(int(np.uint64(key).view(np.int64)), f"of {key}") for key in KEYS]
        elements = pipeline | "Elements" >> beam.Create(keyed)
        rows = pipeline | "Rows" >> beam.Create(batches(ROWS))
        found = Attachment(elements, rows) | attach | beam.Map(numbers)
        assert_that(found, equal_to(expected))
    (step,) = [step for step in plan(pipeline).shuffles if "Attach" in step.label]
    assert (step.by, step.hops) == (("key",), 1 + (attach is HOPS["two hops"]))


def test_rows_larger_than_a_slice_come_as_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_BYTES", slices._IPC_OVERHEAD + (32 << 10))
    count = 100_000
    coder = RecordBatchCoder()

    def bounded(attached: tuple[str, Iterable[pa.RecordBatch]]) -> tuple[str, bool, bool]:
        encoded = [len(coder.encode(batch)) for batch in attached[1]]
        return attached[0], len(encoded) > 32, max(encoded) <= slices.SLICE_BYTES

    with run() as pipeline:
        elements = pipeline | "Elements" >> beam.Create([(5, "all")])
        rows = pipeline | "Rows" >> beam.Create(batches([5] * count, 16_384))
        attached = Attachment(elements, rows) | Attach(by=("key",))
        assert_that(attached | beam.Map(bounded), equal_to([("all", True, True)]), "sizes")
        assert_that(attached | beam.Map(numbers), equal_to([("all", list(range(count)))]), "rows")


def test_rows_of_no_element_are_an_error_that_tells_the_key() -> None:
    pipeline = run()
    elements = pipeline | "Elements" >> beam.Create([(5, "five")])
    rows = pipeline | "Rows" >> beam.Create(batches([5, (1 << 64) - 9]))
    _ = Attachment(elements, rows) | Attach(by=("key",))
    with pytest.raises(Exception, match=f"key {(1 << 64) - 9}, which no element has"):
        pipeline.run().wait_until_finish()


def test_one_column_of_keys_is_asked_for() -> None:
    with pytest.raises(ValueError, match="one column"):
        Attach(by=("a", "b"))
