"""Scores at their documents: by name, whatever the hashes say."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels import domain_join
from beam_etl.kernels.domain_join import (
    SALT,
    SALT_BYTES,
    SALT_DOCUMENTS,
    DomainFilter,
    filter_documents,
    filter_partition,
    further_keys,
    large_domains,
    least_keys,
    salted_documents,
    salted_scores,
    scores_of,
    sorted_salts,
    sorted_scores,
)
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.sampling import sample_keys

NAMES = [f"site{number}.org" for number in range(50)]


def scored(**columns: list[Any]) -> pa.RecordBatch:
    """A table of domains, as far as it is needed here."""
    count = len(columns["domain"])
    given: dict[str, Any] = {
        "score": [0.5] * count,
        "documents": [1] * count,
        "bytes": [4] * count,
        "cut_key": [None] * count,
        "cut_tie": [None] * count,
        **columns,
    }
    types = {"domain": pa.string(), "score": pa.float64()}
    return pa.record_batch({name: pa.array(given[name], types.get(name, pa.int64())) for name in given})


def scores(**columns: list[Any]) -> pa.RecordBatch:
    return sorted_scores([scores_of(scored(**columns), 1)])


def documents(domains: list[str | None], **columns: Any) -> pa.RecordBatch:
    count = len(domains)
    return pa.record_batch(
        {
            "address": pa.array(range(count), pa.uint64()),
            "id": [f"d{place}" for place in range(count)],
            "domain": pa.array(domains, pa.string()),
            "text": pa.array(["text"] * count, pa.large_string()),
            **columns,
        }
    )


SOME = scores(domain=[*NAMES, None], score=[number / 100 for number in range(50)] + [0.9])
ASKED = ["site7.org", None, "unknown.org", "site49.org", "site7.org", ""]
FOUND = [0.07, None, None, 0.49, 0.07, None]


FORMS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "string": lambda names: names,
    "large_string": lambda names: names.cast(pa.large_string()),
    "dictionary": lambda names: names.dictionary_encode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_document_has_the_score_of_its_domain(form: Callable[[pa.Array], pa.Array]) -> None:
    batch = documents(ASKED)
    kept, removals = filter_documents(
        batch.set_column(2, "domain", form(batch["domain"])), SOME, DomainFilter()
    )
    assert kept["domain_score"].to_pylist() == FOUND
    assert kept.drop_columns(["domain_score"]).num_columns == batch.num_columns
    assert removals.num_rows == 0


def test_names_decide_where_hashes_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    def few_hashes(array: pa.Array) -> np.ndarray:
        return np.array([len(value or "") % 3 for value in array.to_pylist()], np.uint64)

    monkeypatch.setattr(domain_join, "hash_values", few_hashes)
    some = scores(domain=NAMES, score=[number / 100 for number in range(50)])
    assert filter_documents(documents(ASKED), some, DomainFilter()).kept["domain_score"].to_pylist() == FOUND


def test_a_score_that_was_there_is_replaced_in_its_place() -> None:
    batch = documents(["site7.org"]).add_column(0, "domain_score", pa.array(["old"]))
    kept = filter_documents(batch, SOME, DomainFilter()).kept
    assert kept.schema.names == batch.schema.names
    assert kept["domain_score"].to_pylist() == [0.07]


def test_documents_of_domains_below_the_minimum_go_with_the_reason() -> None:
    batch = documents(["site7.org", "site8.org", None, "unknown.org"]).replace_schema_metadata(
        {schema.FILE_METADATA: "/in/a.parquet"}
    )
    kept, removals = filter_documents(batch, SOME, DomainFilter(min_score=0.08))
    assert kept["id"].to_pylist() == ["d1", "d2", "d3"]
    assert removals.schema == schema.QUALITY_REMOVAL
    assert {name: value for name, value in removals.to_pylist()[0].items() if value is not None} == {
        "file": "/in/a.parquet",
        "position": 0,
        "id": "d0",
        "reason": "domain_score",
        "bytes": 4,
        "failed": ["domain_score"],
        "reasons": ["domain_score: 0.07 < 0.08"],
    }


def test_a_sample_is_cut_at_a_key_and_a_tie() -> None:
    batch = documents(["a"] * 6, id=["x", "x", "x", "y", "y", "z"])
    key, tie = sample_keys(batch, ("id",))
    order = np.lexsort((tie, key))
    for size in range(1, 7):
        last = order[size - 1]
        some = scores(domain=["a"], documents=[6], cut_key=[int(key[last])], cut_tie=[int(tie[last])])
        kept, removals = filter_documents(batch, some, DomainFilter(sample_by=("id",)))
        assert kept["address"].to_pylist() == sorted(order[:size].tolist())
        assert set(removals["reason"].to_pylist()) <= {"domain_sample"}
        assert removals.num_rows == 6 - size
    none = scores(domain=["a"], documents=[6], cut_key=[0], cut_tie=[0])
    (reason,) = filter_documents(batch, none, DomainFilter()).removals["reasons"][0].as_py()
    assert reason == "domain_sample: not chosen of 6 documents"


def test_a_large_domain_is_spread_and_meets_its_score_in_each_part() -> None:
    many = 40 * SALT_DOCUMENTS
    some = scores(domain=["hot", "cold"], documents=[many, 3], score=[0.25, 0.75])
    batch = documents(["hot"] * 5000 + ["cold", None] * 10)
    large = sorted_salts([large_domains(some)])
    salted, repeated = salted_documents(batch, large), salted_scores(some, large)
    assert salted[SALT].to_pylist()[5000::2] == [0] * 10
    hot = np.bincount(salted[SALT].to_numpy()[:5000])
    assert len(hot) == repeated.num_rows - 1 == 41
    assert hot.max() < 2 * hot.mean()
    assert len(set(salted[SALT].to_pylist()[5001::2])) == 10
    joined = list(filter_partition([salted, repeated], DomainFilter()))
    assert joined[0].kept["domain_score"].to_pylist() == [0.25] * 5000 + [0.75, None] * 10
    assert joined[0].kept.schema.names == [*batch.schema.names, "domain_score"]


def test_without_scores_no_document_has_one() -> None:
    none = sorted_scores([])
    assert filter_documents(documents(ASKED), none, DomainFilter(0.5)).kept["domain_score"].null_count == 6


def test_a_minimum_that_no_score_can_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scores are from 0 to 1, got a minimum of 1\.5"):
        DomainFilter(min_score=1.5)


def test_a_domain_of_few_large_documents_is_spread_as_well() -> None:
    some = scores(
        domain=["large.org", "small.org"], documents=[100, 100], bytes=[20 * SALT_BYTES, SALT_BYTES - 1]
    )
    large = sorted_salts([large_domains(some)])
    assert len(large) == 1
    assert len(salted_scores(some, large)) == 22


@pytest.mark.parametrize("most", [1, 7, 30, 1000])
def test_of_many_large_domains_the_largest_are_spread(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_join, "MAX_LARGE", most)
    table = scored(domain=NAMES, documents=[at * SALT_DOCUMENTS for at in range(50)])
    parts = [table.slice(0, 20), table.slice(20)]
    least = least_keys(sum(map(further_keys, parts)))
    some = sorted_scores(scores_of(part, least) for part in parts)
    large = sorted_salts([large_domains(some)])
    assert len(large) <= most
    spread = salted_scores(some, large)
    counts = {name: spread["domain"].to_pylist().count(name) for name in NAMES}
    assert counts == {name: at + 1 if at + 1 > least else 1 for at, name in enumerate(NAMES)}
    batch = documents(NAMES * 20)
    (joined,) = filter_partition([salted_documents(batch, large), spread], DomainFilter())
    assert joined.kept["domain_score"].to_pylist() == [0.5] * 1000


def test_a_domain_with_the_hash_of_a_large_one_meets_its_score(monkeypatch: pytest.MonkeyPatch) -> None:
    values = hash_values

    def few_hashes(array: pa.Array) -> np.ndarray:
        return values(array) % np.uint64(5) if array.type == pa.string() else values(array)

    monkeypatch.setattr(domain_join, "hash_values", few_hashes)
    some = scores(domain=NAMES, documents=[at % 8 * SALT_DOCUMENTS for at in range(50)])
    large = sorted_salts([large_domains(some)])
    salted, spread = salted_documents(documents(NAMES * 40), large), salted_scores(some, large)
    waiting = {(row["domain"], row[SALT]) for row in spread.select(["domain", SALT]).to_pylist()}
    assert {(row["domain"], row[SALT]) for row in salted.select(["domain", SALT]).to_pylist()} <= waiting
