"""Documents without an address: their names, and which comes first, beside Python's own order."""

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.ordering import nominate, number_documents, order_keys, ranks_by_order
from tests.streams import documents

IDS = ["", "a", "aa", "b", "é", "z", "\U0001f600", "\uffff"]


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    source = random.Random(seed)
    return [
        {
            "id": f"{source.choice(IDS)}{source.choice(IDS)}{number % 3}",
            "time": source.choice([None, -5, 0, 1, 256, 2**40]),
            "text": source.choice(["x", "longer"]),
        }
        for number in range(count)
    ]


def batch_of(made: list[dict[str, Any]]) -> pa.RecordBatch:
    return documents(
        [row["time"] for row in made], id=[row["id"] for row in made], text=[row["text"] for row in made]
    )


def in_order(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["time"] is None, row["time"] or 0, row["id"]


@pytest.mark.parametrize(
    ("keep", "worth"),
    [("first", lambda row: 0), ("longest", lambda row: -len(row["text"]))],
    ids=["first", "longest"],
)
def test_keys_are_in_the_order_of_rank_time_and_id(keep: str, worth: Any) -> None:
    made = rows(200, 1)
    keys = order_keys(batch_of(made), Keep.parse(keep), "id").to_pylist()
    order = sorted(range(200), key=keys.__getitem__)
    expected = sorted(made, key=lambda row: (worth(row), *in_order(row)))
    assert [(worth(made[at]), *in_order(made[at])) for at in order] == [
        (worth(row), *in_order(row)) for row in expected
    ]


@pytest.mark.parametrize("seed", range(3))
def test_who_is_first_of_parts_is_first_of_all(seed: int) -> None:
    source = random.Random(seed)
    made = rows(60, seed)
    group = np.array([source.randrange(4) for _ in made], np.uint64)
    node = np.array([source.getrandbits(64) for _ in made], np.uint64)
    order = order_keys(batch_of(made), Keep(), "id")
    nominated, ranked, of = [], [], []
    for start in range(0, 60, 13):
        part = slice(start, start + 13)
        some, rank = nominate(order.slice(start, 13), node[part], group[part])
        assert some.null_count == len(some) - len(np.unique(group[part]))
        nominated, ranked, of = [*nominated, some], [*ranked, rank], [*of, *range(start, min(start + 13, 60))]
    rank = ranks_by_order(pa.concat_arrays(nominated), node, np.concatenate(ranked))
    for number in range(4):
        mine = np.flatnonzero(group == number)
        best = mine[np.argmin(rank[mine])]
        first = min(mine, key=lambda row: (*in_order(made[row]), node[row]))
        assert best == first


def test_a_document_of_an_earlier_window_comes_first() -> None:
    order = order_keys(batch_of(rows(2, 1)), Keep(), "id")
    node = np.array([8, 9, 7], np.uint64)
    some, rank = nominate(pa.concat_arrays([order, pa.nulls(1, order.type)]), node, np.zeros(3, np.uint64))
    assert np.argmin(ranks_by_order(some, node, rank)) == 2


def test_names_tell_ids_times_and_texts_apart_and_nothing_else() -> None:
    made = [
        {"id": "a", "time": 1, "text": "x"},
        {"id": "b", "time": 1, "text": "x"},
        {"id": "a", "time": 2, "text": "x"},
        {"id": "a", "time": 1, "text": "y"},
    ]
    names = number_documents(batch_of(made), "id").column(schema.ADDRESS).to_pylist()
    assert len(set(names)) == 4
    assert max(names) < 1 << 63
    again = number_documents(batch_of(made[::-1]).append_column("more", pa.array([1, 2, 3, 4])), "id")
    assert again.column(schema.ADDRESS).to_pylist() == names[::-1]
    with pytest.raises(ValueError, match="1 documents of a batch have no 'id'"):
        number_documents(batch_of([{"id": None, "time": 1, "text": "x"}]), "id")
