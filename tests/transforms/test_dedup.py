"""DeduplicateNear and DeduplicateExact in a pipeline of one's own: decisions, and both ways to apply them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import Columns, ReadDocuments, Shuffle, plan, schema
from beam_etl.kernels.banding import Banding
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.keeping import Keep
from beam_etl.transforms.dedup import BY_BROADCAST, BY_SHUFFLE, DeduplicateExact, DeduplicateNear
from tests.beam import counters, run
from tests.duplicates import Clusters, Document, batches_of, families, near_clusters, survivors
from tests.stored import KEPT

Removed = dict[str, str]

ROWS = [row for row in families(8, seed=3) if row["text"] is not None]
LOOSE = Banding(bands=20, rows=4)
NEAR, VERIFIED = NearRule(), NearRule(banding=LOOSE, threshold=0.7, within="domain")


def exact_clusters(rows: list[Document]) -> Clusters:
    groups: dict[str, set[int]] = {}
    for row in rows:
        if row["text"]:
            groups.setdefault(row["text"], set()).add(row["address"])
    return {node: nodes for nodes in groups.values() if len(nodes) > 1 for node in nodes}


def length(row: Document) -> int:
    return -len(row["text"])


MODES: dict[str, tuple[Callable[..., beam.PTransform], Callable[[list[Document]], Clusters], Any]] = {
    "near": (partial(DeduplicateNear, rule=NEAR), partial(near_clusters, rule=NEAR), lambda row: 0),
    "verified, longest": (
        partial(DeduplicateNear, rule=VERIFIED, keep=Keep.parse("longest")),
        partial(near_clusters, rule=VERIFIED),
        length,
    ),
    "exact, longest": (
        partial(DeduplicateExact, rule=ExactRule(), keep=Keep.parse("longest")),
        exact_clusters,
        length,
    ),
}
way = pytest.mark.parametrize(
    ("limit", "counter"), [(1 << 20, BY_BROADCAST), (3, BY_SHUFFLE)], ids=["broadcast", "shuffled"]
)


def oracle(rows: list[Document], clusters: Any, worth: Any) -> Removed:
    by_node = {row["address"]: row for row in rows}
    best = survivors(clusters(rows), lambda node: worth(by_node[node]))
    return {by_node[node]["id"]: by_node[other]["id"] for node, other in best.items() if node != other}


def keep(row: Any, name: str) -> None:
    KEPT[name].append(row)


def deduplicate(
    pipeline: beam.Pipeline, documents: beam.PCollection[pa.RecordBatch], transform: beam.PTransform
) -> tuple[dict[str, list[pa.RecordBatch]], dict[str, int]]:
    """What came out, table by table, and our counters."""
    KEPT.clear()
    found = documents | "Deduplicate" >> transform
    for name, rows in found._asdict().items():
        rows | f"Keep {name}" >> beam.Map(keep, name=name)
    told = counters(pipeline, "Deduplicate")
    return dict(KEPT), told


def rows_of(tables: dict[str, list[pa.RecordBatch]], name: str) -> list[Document]:
    return [row for batch in tables.get(name, []) for row in batch.to_pylist()]


def check(
    tables: dict[str, list[pa.RecordBatch]], documents: list[Document], expected: Removed
) -> list[Document]:
    """Kept and removed are what was there, with every column; the reports add up. Gives the removals."""
    removals = rows_of(tables, "removals")
    assert {row["id"]: row["survivor_id"] for row in removals} == expected
    assert len(removals) == len(expected)
    kept = rows_of(tables, "documents")
    assert sorted(map(repr, kept)) == sorted(repr(row) for row in documents if row["id"] not in expected)
    sizes = rows_of(tables, "cluster_sizes")
    assert sum(row["removed"] for row in sizes) == len(removals)
    assert sum(row["clusters"] for row in sizes) == len(set(expected.values()))
    assert sum(row["removed"] for row in rows_of(tables, "clusters")) == len(removals)
    assert not tables.get("failures")
    return removals


@way
@pytest.mark.parametrize("name", ["near", "exact, longest"])
def test_documents_are_named_by_their_ids(
    name: str, limit: int, counter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an address of their own: then the smallest hash of an id is the first."""
    transform, clusters, worth = MODES[name]
    monkeypatch.setattr("beam_etl.transforms.dedup.BROADCAST_ROWS", limit)
    nodes = hash_values(pa.array([row["id"] for row in ROWS])).tolist()
    expected = oracle(
        [{**row, "address": node} for row, node in zip(ROWS, nodes, strict=True)], clusters, worth
    )
    batches = [batch.drop_columns(["address"]) for batch in batches_of(ROWS, 13)]
    pipeline = run()
    documents = pipeline | beam.Create(batches, reshuffle=False).with_output_types(pa.RecordBatch)
    tables, told = deduplicate(pipeline, documents, transform(id="id"))
    named = [
        {**{name: value for name, value in row.items() if name != "address"}, "address": node}
        for row, node in zip(ROWS, nodes, strict=True)
    ]
    order = ("id", "domain", "score", "text", "address")
    removals = check(tables, [{name: row[name] for name in order} for row in named], expected)
    assert {row["file"] for row in removals} | {row["position"] for row in removals} == {None}
    assert told.get(counter, 0) == len(ROWS)
    assert not {BY_BROADCAST, BY_SHUFFLE} - {counter} & set(told)


@pytest.mark.parametrize("name", ["verified, longest", "exact, longest"])
def test_what_is_partitioned_by_a_column_is_deduplicated_without_a_shuffle(name: str) -> None:
    if name == "exact, longest":
        rule = ExactRule(within="domain")
        transform: Any = partial(DeduplicateExact, rule=rule, keep=Keep.parse("longest"))
        by_domain = {
            row["domain"]: [other for other in ROWS if other["domain"] == row["domain"]] for row in ROWS
        }
        expected = {
            key: kept
            for rows in by_domain.values()
            for key, kept in oracle(rows, exact_clusters, length).items()
        }
    else:
        transform, clusters, worth = MODES[name]
        expected = oracle(ROWS, clusters, worth)
    pipeline = run()
    documents = pipeline | beam.Create(batches_of(ROWS, 13), reshuffle=False).with_output_types(
        pa.RecordBatch
    )
    partitions = documents | "Partition" >> Shuffle(by=("domain",), partitions=3)
    tables, _ = deduplicate(pipeline, partitions, transform(partitioned=True))
    assert [shuffle.label for shuffle in plan(pipeline).shuffles] == ["Partition"]
    names = [name for name in ROWS[0] if name != "address"]
    order = [*documents_order(tables), *names]
    check(tables, [{name: row[name] for name in dict.fromkeys(order)} for row in ROWS], expected)


def documents_order(tables: dict[str, list[pa.RecordBatch]]) -> list[str]:
    return tables["documents"][0].schema.names


def test_a_partitioned_input_needs_its_column() -> None:
    with pytest.raises(ValueError, match=r"needs rule\.within"):
        DeduplicateNear(partitioned=True)


@pytest.mark.parametrize(
    ("limit", "counter"),
    [(1 << 20, BY_BROADCAST), (3, BY_SHUFFLE)],
    ids=["broadcast", "shuffled"],
)
def test_documents_of_files_keep_their_place(
    limit: int, counter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform, clusters, worth = MODES["verified, longest"]
    monkeypatch.setattr("beam_etl.transforms.dedup.BROADCAST_ROWS", limit)
    for number in range(3):
        batch = pa.Table.from_batches(batches_of(ROWS[number::3], 50)).drop_columns(["address"])
        pq.write_table(batch, tmp_path / f"{number}.parquet", row_group_size=9)
    placed = [
        {**row, "address": number << schema.POSITION_BITS | place}
        for number in range(3)
        for place, row in enumerate(ROWS[number::3])
    ]
    pipeline = run()
    columns = Columns(needed=("id", "domain", "text"), carry=("score",))
    read = pipeline | ReadDocuments(patterns=str(tmp_path / "*.parquet"), columns=columns, split_bytes=2000)
    tables, told = deduplicate(pipeline, read.documents, transform())
    order = ("address", "id", "domain", "text", "score")
    removals = check(
        tables, [{name: row[name] for name in order} for row in placed], oracle(placed, clusters, worth)
    )
    assert told.get(counter, 0) == len(ROWS)
    places = {row["id"]: row["address"] for row in placed}
    for row in removals:
        for kind in ("", "survivor_"):
            node = places[row[f"{kind}id"]]
            path = str(tmp_path / f"{node >> schema.POSITION_BITS}.parquet")
            assert (row[f"{kind}file"], row[f"{kind}position"]) == (path, node & schema.MAX_POSITION)


def test_ids_of_documents_of_files_tell_no_position(tmp_path: Path) -> None:
    pq.write_table(
        pa.Table.from_batches(batches_of(ROWS, 50)).drop_columns(["address"]), tmp_path / "a.parquet"
    )
    pipeline = run()
    read = pipeline | ReadDocuments(patterns=str(tmp_path), columns=Columns(needed=("id", "text")))
    tables, _ = deduplicate(pipeline, read.documents, DeduplicateExact(id="id"))
    removals = rows_of(tables, "removals")
    assert removals
    for name in ("file", "position", "survivor_file", "survivor_position"):
        assert {row[name] for row in removals} == {None}


def test_nothing_to_remove_and_nothing_at_all() -> None:
    for rows in (ROWS[:1], []):
        pipeline = run()
        documents = pipeline | beam.Create(batches_of(rows, 5), reshuffle=False).with_output_types(
            pa.RecordBatch
        )
        tables, _ = deduplicate(pipeline, documents, DeduplicateExact(id="id"))
        assert [row["id"] for row in rows_of(tables, "documents")] == [row["id"] for row in rows]
        assert not rows_of(tables, "removals")
        assert not rows_of(tables, "clusters")


def test_a_document_without_an_id_is_told() -> None:
    pipeline = run()
    batches = batches_of([{**row, "id": None} for row in ROWS[:3]], 5)
    documents = pipeline | beam.Create(batches, reshuffle=False).with_output_types(pa.RecordBatch)
    with pytest.raises(Exception, match="3 documents of a batch have no 'id'"):
        deduplicate(pipeline, documents, DeduplicateNear(id="id"))


@pytest.mark.parametrize("transform", [DeduplicateNear, DeduplicateExact])
def test_documents_in_windows_are_told_before_the_run(transform: Callable[..., beam.PTransform]) -> None:
    documents = run() | beam.Create(batches_of(ROWS, 5)).with_output_types(pa.RecordBatch)
    windows = documents | beam.WindowInto(beam.window.FixedWindows(60))
    with pytest.raises(ValueError, match=f"{transform.__name__}/.* is in FixedWindows"):
        windows | transform(id="id")
