import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from beam_etl import schema
from beam_etl.kernels import removals
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.removals import FOUND, REMOVED, SALT, assemble, describe, removal_table
from beam_etl.testing import sorted_rows

PATH = "some/file.parquet"
BASE = 600 << schema.POSITION_BITS
"""Address of the first document of a file whose number needs more than the 53 bits of a double."""


def decided(clusters: Sequence[Sequence[str]], *, path: str | None = PATH, **columns: Any) -> pa.RecordBatch:
    """Documents with decisions: of each cluster the second one stays."""
    rows: list[dict[str, Any]] = []
    for texts in clusters:
        first = BASE + len(rows)
        for place, text in enumerate(texts):
            rows.append(
                {
                    "address": first + place,
                    "text": text,
                    "id": f"d{len(rows)}",
                    "domain": "one.org",
                    "node": first + place,
                    "cluster": first,
                    "cluster_size": len(texts),
                    "band": 3,
                    "survivor": first + 1,
                    "similarity": 0.5,
                }
            )
    kinds = pa.schema(
        [
            schema.DOCUMENT.field("address"),
            schema.DOCUMENT.field("text"),
            schema.DOCUMENT.field("id"),
            schema.DOCUMENT.field("domain"),
            *schema.DECISION,
        ]
    )
    batch = pa.RecordBatch.from_pylist(rows, kinds)
    for name, values in columns.items():
        batch = batch.append_column(name, values)
    return batch.replace_schema_metadata({schema.FILE_METADATA: path.encode()} if path else None)


CLUSTERS = [
    ["a", "a"],
    ["b", "c", "b", "c"],
    *([f"{number % 3}" for number in range(size)] for size in (3, 40, 90)),
]


def spread(found: pa.RecordBatch, partitions: int, size: int) -> list[list[pa.RecordBatch]]:
    """What a shuffle by survivor and salt makes of rows, in batches of any size."""
    keys = (found["survivor"].to_numpy() * np.uint64(31) + found[SALT].to_numpy()) % np.uint64(partitions)
    parts = [found.filter(pa.array(keys == number)) for number in range(partitions)]
    return [
        [part.slice(start, size) for start in range(0, part.num_rows, size)]
        for part in parts
        if part.num_rows
    ]


def expected(clusters: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    rows, first = [], 0
    for texts in clusters:
        for place, text in enumerate(texts):
            same = text == texts[1]
            if place != 1:
                rows.append(
                    {
                        "file": PATH,
                        "position": first + place,
                        "id": f"d{first + place}",
                        "cluster": BASE + first,
                        "cluster_size": len(texts),
                        "survivor_dataset": None,
                        "survivor_file": PATH,
                        "survivor_position": first + 1,
                        "survivor_id": f"d{first + 1}",
                        "reason": "exact" if same else "near",
                        "band": 3,
                        "content_hash": hashlib.blake2b(text.encode(), digest_size=16).digest()
                        if same
                        else None,
                        "similarity": 0.5,
                        "bytes": len(text),
                    }
                )
        first += len(texts)
    return rows


@pytest.mark.parametrize("slice_rows", [1 << 16, 8, 1], ids="slices of {}".format)
@pytest.mark.parametrize(("partitions", "size"), [(1, 1000), (1, 1), (3, 7), (64, 2)])
def test_each_removed_document_is_told_once(
    slice_rows: int, partitions: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "CLUSTER_SLICE", slice_rows)
    found = describe(decided(CLUSTERS), None)
    made = [batch for part in spread(found, partitions, size) for batch in assemble(part)]
    removed = pa.concat_batches(made)
    assert removed.schema == REMOVED
    rows = removal_table(removed)
    assert rows.schema == schema.REMOVAL
    assert sorted_rows(rows) == sorted(map(tuple, map(dict.values, expected(CLUSTERS))), key=repr)


@pytest.mark.parametrize(("partitions", "size"), [(1, 1000), (1, 1), (3, 7), (64, 2)])
def test_a_cluster_counts_once(partitions: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "CLUSTER_SLICE", 16)
    found = describe(decided(CLUSTERS), None)
    removed = pa.concat_batches(batch for part in spread(found, partitions, size) for batch in assemble(part))
    counted = removed.filter(removed[removals.COUNTS])
    assert sorted(counted["cluster"].to_pylist()) == sorted(set(removed["cluster"].to_pylist()))


def test_a_large_cluster_meets_its_survivor_in_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "CLUSTER_SLICE", 100)
    found = describe(decided([["text"] * 5000, ["a", "b"]]), None)
    survivors = found.filter(pc.equal(found["node"], found["survivor"]))
    assert Counter(zip(survivors["node"].to_pylist(), survivors[SALT].to_pylist(), strict=True)) == Counter(
        [*((BASE + 1, salt) for salt in range(51)), (BASE + 5001, 0)]
    )
    salts = Counter(found.filter(pc.not_equal(found["node"], found["survivor"]))[SALT].to_pylist())
    assert set(salts) == set(range(51))
    assert max(salts.values()) < 2 * 100, "removed documents are spread evenly"


def test_a_survivor_that_is_gone_is_told_without_its_place() -> None:
    """The nearest address differs by less than a double tells apart. Where nothing is left, the address may be 0."""
    found = describe(decided([["a", "b", "c"], ["d", "e"]]), None)
    left = found.filter(pc.not_equal(found["node"], pa.scalar(BASE + 1, pa.uint64())))
    rows = pa.concat_batches(assemble([left]))
    told = {row["id"]: (row["survivor_id"], row["survivor_position"]) for row in rows.to_pylist()}
    assert told == {"d0": (None, None), "d2": (None, None), "d3": ("d4", 4)}
    assert sum(rows[removals.COUNTS].to_pylist()) == 2
    zero = left.filter(pc.equal(left["survivor"], pa.scalar(BASE + 1, pa.uint64())))
    zero = zero.set_column(0, FOUND.field(0), pa.array([0] * zero.num_rows, pa.uint64()))
    assert [row["survivor_id"] for row in pa.concat_batches(assemble([zero])).to_pylist()] == [None, None]


def test_documents_without_a_file_have_no_position() -> None:
    rows = removal_table(pa.concat_batches(assemble([describe(decided(CLUSTERS, path=None), None)])))
    for name in ("file", "position", "survivor_file", "survivor_position"):
        assert rows[name].null_count == rows.num_rows


def test_ids_come_from_the_column_that_names_documents() -> None:
    keys = pa.array(range(100, 104))
    rows = pa.concat_batches(assemble([describe(decided([["a"] * 4], key=keys), None, id="key")]))
    assert rows["id"].to_pylist() == ["100", "102", "103"]
    assert set(rows["survivor_id"].to_pylist()) == {"101"}


def test_dictionaries_and_domains_that_are_numbers_are_told() -> None:
    plain = decided([["a text", "another", "a text"]])
    text, domain = (plain.schema.get_field_index(name) for name in ("text", "domain"))
    other = plain.set_column(text, "text", plain.column(text).dictionary_encode())
    other = other.set_column(domain, "domain", pa.array([7, 7, None]))
    want, found = (pa.concat_batches(assemble([describe(batch, None)])) for batch in (plain, other))
    assert removal_table(found) == removal_table(want)
    assert found["domain"].to_pylist() == ["7", None]


def test_columns_of_the_user_are_not_told_for_ours() -> None:
    own = {
        name: pa.array(["own", "own", "own"])
        for name in ("dataset", "file", "salt", "content_hash", "reason")
    }
    own |= {"position": pa.array([9.5] * 3), "bytes": pa.array([["x"]] * 3)}
    for path in (PATH, None):
        plain, more = (
            pa.concat_batches(assemble([describe(decided([["a", "b", "c"]], path=path, **columns), None)]))
            for columns in ({}, own)
        )
        assert sorted_rows(more) == sorted_rows(plain)


def test_exact_rules_tell_the_hash_of_their_key() -> None:
    url = pa.array(["u", "u"])
    batch = decided([["a text", "another"]], url=url)
    batch = batch.set_column(
        batch.schema.get_field_index("band"),
        schema.DECISION.field("band"),
        pa.array([schema.NO_BAND] * 2, pa.uint16()),
    )
    (row,) = pa.concat_batches(assemble([describe(batch, ExactRule(key=("url",)))])).to_pylist()
    assert row["reason"] == "exact"
    assert row["band"] is None
    assert row["content_hash"] == hashlib.blake2b(b"u", digest_size=16).digest()
