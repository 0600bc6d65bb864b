"""What is remembered of a window, beside sets and dicts of plain Python."""

import random

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels import ordering, stacking
from beam_etl.kernels.candidates import BUCKET, FIRST_NEW, bucket_rows
from beam_etl.kernels.exact import CONTENT, EXACT_ROW, choose_exact, stack_equal
from beam_etl.kernels.window_memory import (
    PLACE_MEMORY,
    choose_after_others,
    content_rows,
    keep_buckets,
    keep_contents,
    keep_places,
    place_rows,
    wanted_buckets,
    wanted_contents,
)

NEW = 1 << 63


def pairs(batch: pa.RecordBatch) -> list[tuple[int, int]]:
    return list(zip(batch.column(BUCKET).to_pylist(), batch.column(schema.NODE).to_pylist(), strict=True))


@pytest.mark.parametrize("verified", [False, True])
def test_of_a_bucket_its_smallest_document_or_each_is_remembered(verified: bool) -> None:
    source = random.Random(1)
    rows = [(source.randrange(20), source.randrange(50)) for _ in range(300)]
    parts = [rows[start : start + 70] for start in range(0, 300, 70)]
    batches = [
        bucket_rows(
            np.array([bucket for bucket, _ in part], np.uint64),
            np.array([node for _, node in part], np.uint64) | FIRST_NEW,
        )
        for part in parts
    ]
    smallest = {bucket: min(node for other, node in rows if other == bucket) for bucket, _ in rows}
    expected = sorted(set(rows)) if verified else sorted(smallest.items())
    assert pairs(keep_buckets(batches, verified)) == expected
    assert pairs(keep_buckets(batches[::-1], verified)) == expected
    assert set(wanted_buckets(batches).tolist()) == set(smallest)


def contents(rows: list[tuple[bytes, int]]) -> pa.RecordBatch:
    columns = [
        pa.array([content for content, _ in rows], pa.binary(16)),
        pa.array([node + NEW for _, node in rows], pa.uint64()),
        pa.array([0] * len(rows), pa.uint64()),
        pa.array([node.to_bytes(8, "big") for _, node in rows], pa.binary()),
    ]
    return stack_equal(pa.RecordBatch.from_arrays(columns, schema=EXACT_ROW.append(ordering.FIELD)))


def test_of_a_content_one_document_is_remembered_and_found_by_all_of_its_bits() -> None:
    source = random.Random(2)
    halves = [source.randbytes(8) for _ in range(4)]
    values = [one + other for one in halves for other in halves]
    rows = [(source.choice(values), number) for number in range(200)]
    batches = [contents(rows[start : start + 60]) for start in range(0, 200, 60)]
    kept = keep_contents(batches)
    smallest = {value: min(node for other, node in rows if other == value) for value, _ in rows}
    back = content_rows([kept])
    found = dict(zip(back.column(CONTENT).to_pylist(), back.column(schema.NODE).to_pylist(), strict=True))
    assert found == smallest
    assert set(wanted_contents(batches).tolist()) == {int.from_bytes(half, "little") for half in halves}
    assert back.column(stacking.OTHERS).null_count == back.num_rows


def test_a_content_that_is_remembered_removes_all_that_have_it() -> None:
    one, other, half = b"a" * 16, b"b" * 16, b"a" * 8 + b"c" * 8
    before = keep_contents([contents([(one, 5), (one, 9)])])
    own = contents([(one, 20), (one, 21), (other, 22), (other, 23), (half, 24)])
    (decisions,) = choose_after_others([own], [before])
    told = {row[schema.NODE]: row[schema.SURVIVOR] for row in decisions.to_pylist()}
    assert told == {5: 5, NEW + 20: 5, NEW + 21: 5, NEW + 22: NEW + 22, NEW + 23: NEW + 22}
    (alone,) = choose_exact([own])
    assert alone.num_rows == 4


def test_a_document_that_comes_again_has_one_place() -> None:
    documents = pa.record_batch({schema.ADDRESS: pa.array([7, 5, 7], pa.uint64()), "name": ["a", "b", "a"]})
    rows = place_rows(documents, "name")
    kept = keep_places([rows.slice(0, 2), rows])
    assert kept.schema == PLACE_MEMORY
    assert [tuple(row.values()) for row in kept.to_pylist()] == [(5, "b"), (7, "a")]
    assert keep_places([]).num_rows == 0
