import pyarrow as pa
import pytest

from beam_etl.kernels.compaction import compact

ROWS = 20_000
WORDS = [f"a word of some length {i}" for i in range(ROWS)]
WITH_NULLS = [None if i % 3 == 0 else word for i, word in enumerate(WORDS)]
WORD_TYPE = pa.dictionary(pa.int32(), pa.string())

COLUMNS = {
    "dictionary": pa.array(WITH_NULLS).dictionary_encode(),
    "dictionary in a list": pa.array(
        [[word, word] if word else None for word in WITH_NULLS], pa.list_(WORD_TYPE)
    ),
    "dictionary in a struct": pa.array([{"x": word} for word in WITH_NULLS], pa.struct([("x", WORD_TYPE)])),
    "string view": pa.array(WITH_NULLS, pa.string_view()),
    "binary view": pa.array([word.encode() for word in WORDS], pa.binary_view()),
    "list view": pa.array([[word] if word else None for word in WITH_NULLS], pa.list_view(pa.string())),
    "large list view": pa.array([[i, i] for i in range(ROWS)], pa.large_list_view(pa.int64())),
    "dense union": pa.UnionArray.from_dense(
        pa.array([0] * ROWS, pa.int8()), pa.array(range(ROWS), pa.int32()), [pa.array(WORDS), pa.array([1.5])]
    ),
    "plain": pa.array(WITH_NULLS),
}


def encoded_size(batch: pa.RecordBatch) -> int:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().size


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
@pytest.mark.parametrize("rows", [0, 1, 10])
def test_a_slice_costs_its_own_bytes_and_keeps_its_values(column: pa.Array, rows: int) -> None:
    part = pa.record_batch([column], names=["x"]).slice(500, rows)
    compacted = compact(part)
    compacted.validate(full=True)
    assert compacted.schema == part.schema
    assert compacted.to_pylist() == part.to_pylist()
    assert encoded_size(compacted) < 2000


def test_an_ordered_dictionary_keeps_its_order() -> None:
    sizes = pa.DictionaryArray.from_arrays(pa.array([2, 0, 2]), pa.array(["S", "M", "L"]), ordered=True)
    compacted = compact(pa.record_batch([sizes], names=["size"]))["size"]
    assert compacted.dictionary.to_pylist() == ["S", "L"]
    assert compacted.type.ordered
