from typing import Any

import pyarrow as pa
import pytest
import xxhash

from beam_etl.kernels import fitting
from beam_etl.kernels.fitting import KeyFit, KeyModels, SpreadKeys
from beam_etl.kernels.hashing import hash_values
from beam_etl.testing import check_merge

ROWS = 600
DOMAINS = ["a", "b", None, "c", "a", "a"]


A = int(hash_values(pa.array(["a"]))[0])


def documents(rows: int = ROWS) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "address": pa.array(range(rows), pa.uint64()),
            "id": [f"d{number % 500}" for number in range(rows)],
            "domain": [DOMAINS[number % len(DOMAINS)] for number in range(rows)],
            "text": ["x" * (number % 13) for number in range(rows)],
        }
    )


def how(most: int = 20, least: int = 1) -> KeyFit:
    return KeyFit("domain", _size, _sizes, "score", "own_model", "id", most, least)


def _size(rows: pa.RecordBatch) -> int:
    return rows.num_rows


def _sizes(model: int, rows: pa.RecordBatch) -> list[int]:
    return [model] * rows.num_rows


def first(rows: list[dict[str, Any]], most: int, most_bytes: int) -> list[int]:
    """The addresses of a key's sample, in plain Python."""
    chosen, size = [], 0
    for row in sorted(
        rows, key=lambda row: (xxhash.xxh64_intdigest(row["id"].encode()) >> 1, row["address"])
    ):
        if len(chosen) < most and size < most_bytes:
            chosen.append(row["address"])
        size += sum(len(row[name] or "") for name in ("id", "domain", "text"))
    return chosen


@pytest.mark.parametrize(("most", "most_bytes"), [(20, 1 << 20), (1000, 150), (1, 1), (1000, 1 << 20)])
def test_a_sample_has_the_smallest_hashes_of_each_key(
    most: int, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SAMPLE_BYTES", most_bytes)
    batch = documents()
    rows = batch.to_pylist()
    found = how(most).sample(batch).to_pylist()
    for domain in set(DOMAINS):
        expected = first([row for row in rows if row["domain"] == domain], most, most_bytes)
        assert [row["address"] for row in found if row["domain"] == domain] == expected
    together = how(most).sample_of_all(batch).column("address").to_pylist()
    assert together == first(rows, most, most_bytes)
    parts = [batch.slice(start, 70) for start in range(0, ROWS, 70)]
    check_merge(how(most).sample, parts)
    check_merge(how(most).sample_of_all, parts)


def test_parts_of_a_key_get_all_of_its_sample_and_each_row_once() -> None:
    """Also where parts meet: then copies of a document are one."""
    batch, spread = documents(), SpreadKeys.of({A: 3, 5: 1}, {A: 0.5})
    rows, copies = [], []
    for start in range(0, ROWS, 100):
        plain, copied = spread.spread(batch.slice(start, 100), how())
        rows.append(plain)
        copies.append(copied)
    spread_rows = pa.Table.from_batches(rows)
    assert spread_rows.column("address").to_pylist() == list(range(ROWS))
    salts = {row["beam_etl.salt"] for row in spread_rows.to_pylist() if row["domain"] != "a"}
    assert salts == {0}
    assert len(set(spread_rows.column("beam_etl.salt").to_pylist())) == 3
    wanted = how().sample(batch.filter(pa.compute.equal(batch["domain"], "a")))["address"].to_pylist()
    together = pa.concat_batches([copy.drop_columns(["beam_etl.copy"]) for copy in copies])
    for salt in range(3):
        own = together.filter(pa.compute.equal(together["beam_etl.salt"], salt))
        assert how().sample(own)["address"].to_pylist() == wanted
    assert how().sample(together)["address"].to_pylist() == wanted
    left = spread.without(batch, how()).column("domain").to_pylist()
    assert left == [domain for domain in batch.column("domain").to_pylist() if domain != "a"]


def test_copies_of_a_key_do_not_grow_with_its_documents() -> None:
    """Every hundred documents are let go by themselves, as those of many bundles are; a part gets few of each."""
    rows = 40_000
    batch = documents(100)
    share = how().share(rows / 2, [batch])
    spread = SpreadKeys.of({A: 2}, {A: share})
    sent, seen = [], []
    for start in range(0, rows, 100):
        numbers = range(start, start + 100)
        some = batch.set_column(0, "address", pa.array(numbers, pa.uint64()))
        some = some.set_column(1, "id", pa.array([f"d{number}" for number in numbers]))
        _, copies = spread.spread(some, how())
        sent.append(copies.drop_columns(["beam_etl.copy"]))
        seen += [row for row in some.to_pylist() if row["domain"] == "a"]
    together = pa.concat_batches(sent)
    assert together.num_rows < 1.5 * 2 * (2 * 20 + 100)
    assert how().sample(together)["address"].to_pylist() == first(seen, 20, 1 << 20)
    assert spread.short(how().sample(together), how()) == []
    assert spread.short(how().sample(together.slice(0, 30)), how()) == ["a"]


WIDE = {"id": ["a" * 10] * 9, "text": ["x" * 90] * 9, "vector": [[0.0] * 4096] * 9}


@pytest.mark.parametrize(
    ("most_bytes", "wanted"), [(1 << 20, 1000), (5_000, 50)], ids=["by number", "by bytes of text"]
)
def test_enough_are_looked_at_for_a_sample_however_wide_documents_are(
    most_bytes: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SAMPLE_BYTES", most_bytes)
    share = how(1000).share(1_000_000, [pa.RecordBatch.from_pydict(WIDE)])
    assert share * 1_000_000 == pytest.approx(2 * wanted + 100)


def test_models_that_do_not_fit_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "HELD_MODELS", 1)
    batch = documents(60)
    models = KeyModels(how(least=11), how().sample(batch), whole=None)
    for _ in range(2):
        scored = [kernel(group) for kernel, group in models.score(batch)]
        found = {(row["domain"], row["score"], row["own_model"]) for one in scored for row in one.to_pylist()}
        assert found == {("a", 20, True), ("b", None, False), ("c", None, False), (None, None, False)}
