import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.coders import registry
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from beam_etl import schema
from beam_etl.transforms.batches import (
    MAX_BYTES,
    MAX_ROWS,
    KernelError,
    MapBatches,
    RecordBatchCoder,
    merge_batches,
    split_batch,
)
from tests.beam import counters, run

NUMBERS = pa.record_batch({"n": range(10)})
SCALARS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(), st.binary(), st.booleans())


def columns() -> st.SearchStrategy[dict[str, list[Any]]]:
    kinds = (
        st.integers(-(2**63), 2**63 - 1),
        st.text(),
        st.binary(),
        st.booleans(),
        st.floats(allow_nan=False),
        st.dates(),
        st.lists(st.integers(0, 9)),
        st.fixed_dictionaries({"a": st.none() | st.text(), "b": st.integers(0, 9)}),
    )
    column = st.one_of(*(st.lists(st.none() | kind, min_size=5, max_size=5) for kind in kinds))
    return st.dictionaries(st.text(max_size=5), column, max_size=6)


@given(columns(), st.integers(0, 5), st.integers(0, 5))
def test_any_batch_survives_the_coder(values: dict[str, list[Any]], start: int, rows: int) -> None:
    coder = RecordBatchCoder()
    batch = pa.record_batch([pa.array(column) for column in values.values()], names=list(values))
    batch = batch.slice(start, rows)
    assert coder.decode(coder.encode(batch)).equals(batch)
    with_dictionaries = [
        column.dictionary_encode() if pa.types.is_string(column.type) else column for column in batch.columns
    ]
    encoded = pa.record_batch(with_dictionaries, names=list(values)) if values else batch
    decoded = coder.decode(coder.encode(encoded))
    assert decoded.schema == encoded.schema
    assert decoded.to_pylist() == encoded.to_pylist()


def test_extension_columns_and_metadata_survive_the_coder() -> None:
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16)))
    batch = pa.record_batch([uuids], names=["uuid"]).replace_schema_metadata({"a": "b"})
    decoded = RecordBatchCoder().decode(RecordBatchCoder().encode(batch))
    assert decoded.schema.equals(batch.schema, check_metadata=True)
    assert decoded.equals(batch)


def test_beam_uses_the_coder_for_batches() -> None:
    assert isinstance(registry.get_coder(pa.RecordBatch), RecordBatchCoder)
    assert not registry.get_coder(pa.RecordBatch).is_deterministic()


def test_importing_a_transform_is_enough_for_the_coder() -> None:
    code = """
        import pyarrow as pa
        from apache_beam.coders import registry
        from beam_etl import MapBatches
        print(type(registry.get_coder(pa.RecordBatch)).__name__)
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed == "RecordBatchCoder\n"


def test_what_a_kernel_returns_is_cut_to_bounded_batches() -> None:
    pipeline = run()
    large = pipeline | beam.Create([NUMBERS]) | "Grow" >> MapBatches(grow)
    sizes = large | beam.Map(lambda batch: (batch.num_rows, batch.nbytes <= MAX_BYTES))
    assert_that(sizes, equal_to([(MAX_ROWS, True)] * 64))
    assert counters(pipeline, "Grow")["rows_out"] == 64 * MAX_ROWS


def grow(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"n": np.arange(64 * MAX_ROWS)})


def test_a_kernel_may_return_a_batch_several_or_none() -> None:
    def evens(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pa.array([n % 2 == 0 for n in batch["n"].to_pylist()]))

    def rows(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for row in range(batch.num_rows):
            yield batch.slice(row, 1)

    for kernel, expected in (
        (evens, [5]),
        (rows, [1] * 10),
        (lambda _: None, []),
        (lambda b: b.slice(0, 0), []),
    ):
        with run() as pipeline:
            made = (
                pipeline
                | beam.Create([NUMBERS])
                | MapBatches(kernel)
                | beam.Map(lambda batch: batch.num_rows)
            )
            assert_that(made, equal_to(expected))


def test_rows_and_bytes_are_counted_under_the_name_of_the_step() -> None:
    pipeline = run()
    pipeline | beam.Create([NUMBERS]) | "Halve" >> MapBatches(lambda batch: batch.slice(0, 5))
    counted = counters(pipeline, "Halve")
    assert {name: counted[name] for name in ("rows_in", "rows_out", "bytes_in", "bytes_out")} == {
        "rows_in": 10,
        "rows_out": 5,
        "bytes_in": 80,
        "bytes_out": 40,
    }
    assert "microseconds" in counted


def test_a_failing_kernel_names_step_kernel_file_and_rows() -> None:
    def divide(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise ZeroDivisionError("no zeros please")

    addresses = pa.array([(3 << schema.POSITION_BITS) + 100, (3 << schema.POSITION_BITS) + 163], pa.uint64())
    batch = pa.record_batch({schema.ADDRESS: addresses}).replace_schema_metadata(
        {schema.FILE_METADATA: "crawl/part-3.parquet"}
    )
    pipeline = run()
    pipeline | beam.Create([batch]) | "Divide" >> MapBatches(divide)
    with pytest.raises(KernelError) as caught:
        pipeline.run()
    for part in ("divide", "crawl/part-3.parquet", "positions 100 to 163", "no zeros please", "Divide/Map"):
        assert part in str(caught.value)


def test_a_kernel_that_returns_something_else_is_told_so() -> None:
    pipeline = run()
    pipeline | beam.Create([NUMBERS]) | MapBatches(lambda batch: [batch.to_pylist()])
    with pytest.raises(KernelError, match="returns RecordBatch.*got list"):
        pipeline.run()


TEXT_TYPES = {
    "plain": pa.large_string(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "view": pa.string_view(),
    "dictionary in a list": pa.list_(pa.dictionary(pa.int16(), pa.string())),
}


@pytest.mark.parametrize("kind", TEXT_TYPES.values(), ids=TEXT_TYPES.keys())
@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(1, 20), st.integers(500, 5000))
def test_bounded_batches_hold_all_rows_in_order(
    kind: pa.DataType, sizes: list[int], rows: int, size: int
) -> None:
    texts = [["x" * n] if pa.types.is_list(kind) else "x" * n for n in sizes]
    batch = pa.record_batch({"text": pa.array(texts, kind)})
    parts = list(split_batch(batch, rows, size))
    assert [text for part in parts for text in part["text"].to_pylist()] == texts
    assert all(0 < part.num_rows <= rows and (part.nbytes <= size or part.num_rows == 1) for part in parts)


def in_map(words: pa.Array) -> pa.Array:
    return pa.MapArray.from_arrays(range(len(words) + 1), words, pa.nulls(len(words), pa.int8()))


def in_fixed_size_lists(words: pa.Array) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(words, 1, mask=pa.array([i % 7 == 0 for i in range(len(words))]))


WORDS = pa.array([f"{i:0100}" for i in range(60_000)])
SHARING = {
    "dictionary": WORDS.dictionary_encode(),
    "view": WORDS.cast(pa.string_view()),
    "dictionary in a map": in_map(WORDS.dictionary_encode()),
    "dictionary in lists of one": in_fixed_size_lists(WORDS.dictionary_encode()),
}


@pytest.mark.parametrize("column", SHARING.values(), ids=SHARING.keys())
def test_rows_are_not_cut_because_of_bytes_that_they_only_share(column: pa.Array) -> None:
    batch = pa.record_batch({"text": column})
    parts = list(split_batch(batch))
    for part in parts:
        part.validate(full=True)
    assert [part.num_rows for part in parts] == [16_384, 16_384, 13_616, 13_616]
    assert pa.Table.from_batches(parts)["text"].to_pylist() == batch["text"].to_pylist()


SMALL_INDEX = pa.dictionary(pa.int8(), pa.string())
JOINED_TYPES = {
    "int8 dictionary": (SMALL_INDEX, pa.dictionary(pa.int32(), pa.string())),
    "string view": (pa.string_view(), pa.large_string()),
    "binary view": (pa.binary_view(), pa.large_binary()),
    "list of views": (pa.list_(pa.string_view()), pa.list_(pa.large_string())),
    "two views": (pa.list_(pa.string_view(), 2), pa.list_(pa.large_string(), 2)),
    "struct": (pa.struct({"x": SMALL_INDEX}), pa.struct({"x": pa.dictionary(pa.int32(), pa.string())})),
    "map": (pa.map_(pa.string_view(), pa.int8()), pa.map_(pa.large_string(), pa.int8())),
    "list view": (pa.list_view(pa.string()), pa.list_view(pa.string())),
    "plain": (pa.string(), pa.string()),
}


def value_of(kind: pa.DataType, number: int) -> Any:
    text = f"value {number}"
    if pa.types.is_struct(kind):
        return {"x": text}
    if pa.types.is_map(kind):
        return [(text, 1)]
    if pa.types.is_nested(kind):
        return [text, text]
    return text.encode() if pa.types.is_binary_view(kind) else text


@pytest.mark.parametrize(("kind", "joined"), JOINED_TYPES.values(), ids=JOINED_TYPES.keys())
def test_batches_of_any_type_merge_to_one_whose_rows_can_be_taken(
    kind: pa.DataType, joined: pa.DataType
) -> None:
    values = [value_of(kind, number) for number in range(240)]
    batches = [pa.record_batch({"x": pa.array(values[i : i + 80], kind)}) for i in (0, 80, 160)]
    merged = merge_batches(batches)
    assert merged["x"].to_pylist() == values
    assert merged.schema == merge_batches(batches[:1]).schema == pa.schema([("x", joined)])
    assert merged.take(pa.array([239, 0]))["x"].to_pylist() == [values[239], values[0]]


def test_batches_of_different_columns_do_not_merge() -> None:
    wide = pa.record_batch({"a": ["x"], "n": pa.array([1], pa.int64())})
    narrow = wide.cast(pa.schema([("a", pa.string()), ("n", pa.int32())]))
    with pytest.raises(TypeError, match="'n' of type int64, another 'n' of type int32"):
        merge_batches([wide, narrow])
    with pytest.raises(TypeError, match="'n' of type int64, another none"):
        merge_batches([wide, wide.select(["a"])])
