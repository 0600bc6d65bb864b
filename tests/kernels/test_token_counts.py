import datetime
import decimal
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.quantiles import RELATIVE_ERROR
from beam_etl.kernels.token_counts import (
    PERCENTS,
    document_counter,
    finish_counts,
    partial_count_schema,
    partial_counts,
    sum_counts,
    token_count_schema,
)
from beam_etl.kernels.vocabularies import WORDS
from beam_etl.testing import check_kernel, check_merge

BY = ("domain", "language")
EXACT = ("documents", "bytes", "characters", "tokens", "min_tokens", "max_tokens")
NAN = float("nan")


@pytest.fixture(scope="module")
def documents(webtext: list[dict[str, Any]]) -> pa.RecordBatch:
    rows = webtext[::4]
    columns = {"domain": "domain", "language": "lang", "text": "text"}
    return count_words(
        pa.record_batch({name: [row[source] or None for row in rows] for name, source in columns.items()})
    )


def count_words(batch: pa.RecordBatch) -> pa.RecordBatch:
    return document_counter(WORDS)(batch)


def counted(texts: list[str | None], tokens: list[int], **columns: Any) -> pa.RecordBatch:
    counts = pa.array(tokens, pa.int64())
    return pa.record_batch({"text": pa.array(texts, pa.large_string()), "token_count": counts, **columns})


def finished(batch: pa.RecordBatch, by: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = finish_counts(partial_counts(batch, by), by).to_pylist()
    return rows


def by_hand(batch: pa.RecordBatch, by: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The finished counts, exact quantiles included, a document at a time."""
    groups: dict[tuple[Any, ...], list[tuple[str, int]]] = defaultdict(list)
    for row in batch.to_pylist():
        if row["text"] is not None:
            groups[tuple(row[name] for name in by)].append((row["text"], row["token_count"]))
    made = {}
    for key, rows in groups.items():
        tokens = [count for _, count in rows]
        exact = [
            len(rows),
            sum(len(text.encode()) for text, _ in rows),
            sum(len(text) for text, _ in rows),
            sum(tokens),
            min(tokens),
            max(tokens),
        ]
        lengths = np.quantile(tokens, np.array(PERCENTS) / 100, method="inverted_cdf").tolist()
        made[key] = {**dict(zip(EXACT, exact, strict=True)), "lengths": lengths}
    return made


@pytest.mark.parametrize("by", [(), ("language",), BY, ("language", "domain")], ids=str)
def test_counts_of_real_documents_equal_counts_by_hand(
    by: tuple[str, ...], documents: pa.RecordBatch
) -> None:
    expected = by_hand(documents, by)
    rows = finished(documents, by)
    assert [tuple(row[name] for name in by) for row in rows] == sorted(
        expected, key=lambda key: [(value is None, value or "") for value in key]
    )
    for row in rows:
        wanted = expected[tuple(row[name] for name in by)]
        assert {name: row[name] for name in EXACT} == {name: wanted[name] for name in EXACT}
        lengths = [row[f"tokens_p{percent}"] for percent in PERCENTS]
        assert lengths == pytest.approx(wanted["lengths"], rel=RELATIVE_ERROR, abs=0)


@pytest.mark.parametrize("rows", [1, 7, 300], ids=lambda rows: f"batches of {rows}")
def test_counts_do_not_depend_on_batches(rows: int, documents: pa.RecordBatch) -> None:
    some = documents.slice(0, 300)
    parts = [partial_counts(some.slice(start, rows), BY) for start in range(0, 300, rows)]
    summed = sum_counts(pa.concat_batches(parts[::-1]), BY)
    assert summed.equals(partial_counts(some, BY))
    assert finish_counts(summed, BY).to_pylist() == finished(some, BY)


def test_summing_partial_counts_merges_in_any_order(documents: pa.RecordBatch) -> None:
    parts = [partial_counts(documents.slice(start, 40), BY) for start in range(0, 400, 40)]
    check_merge(partial(sum_counts, by=BY), parts)


PART = st.tuples(
    st.sampled_from([None, "", "a", "b"]), st.sampled_from([None, True, False]), st.integers(0, 10**6)
)


@given(st.lists(st.lists(PART, min_size=1, max_size=8), min_size=3, max_size=6))
def test_summing_merges_any_partial_counts_in_any_order(parts: list[list[tuple[Any, ...]]]) -> None:
    batches = []
    for rows in parts:
        key, flag, tokens = (list(column) for column in zip(*rows, strict=True))
        columns = {"key": pa.array(key, pa.string()), "flag": pa.array(flag, pa.bool_())}
        batches.append(partial_counts(counted(["é"] * len(rows), tokens, **columns), ("key", "flag")))
    check_merge(partial(sum_counts, by=("key", "flag")), batches)


def test_summing_keeps_other_columns_in_their_places() -> None:
    batch = partial_counts(counted(["a b", "c"], [2, 1], key=["x", "x"]), ("key",))
    marked = batch.append_column(pa.field("is_total", pa.bool_()), pa.array([True] * batch.num_rows))
    merged = sum_counts(pa.concat_batches([marked, marked]), ("key", "is_total"))
    assert merged.schema == marked.schema
    assert merged["documents"].to_pylist() == [2, 2]
    assert finish_counts(merged, ()).to_pylist()[0]["tokens"] == 6


def test_counting_is_a_kernel_that_travels(documents: pa.RecordBatch) -> None:
    kernel = once_per_process(document_counter, WORDS)
    check_kernel(kernel, documents.slice(0, 50).drop_columns("token_count"))


DAY, MOMENT = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)
KEYS = {
    "string": pa.array(["b", None, "a", "b", None]),
    "large_string": pa.array(["b", None, "a", "b", None], pa.large_string()),
    "string_view": pa.array(["b", None, "a", "b", None], pa.string_view()),
    "dictionary": pa.array(["b", None, "a", "b", None]).dictionary_encode(),
    "dictionary with a null value": pa.DictionaryArray.from_arrays([0, 1, 2, 0, None], ["b", None, "a"]),
    "binary": pa.array([b"b", None, b"a", b"b", None], pa.binary(1)),
    "date": pa.array([DAY, None, DAY.replace(day=1), DAY, None]),
    "timestamp": pa.array([MOMENT, None, MOMENT.replace(day=1), MOMENT, None], pa.timestamp("us", "UTC")),
    "int8": pa.array([2, None, -1, 2, None], pa.int8()),
    "uint64": pa.array([2**64 - 1, None, 0, 2**64 - 1, None], pa.uint64()),
    "bool": pa.array([True, None, False, True, None]),
    "decimal": pa.array(
        [decimal.Decimal("1.50"), None, decimal.Decimal("-2.00"), decimal.Decimal("1.50"), None]
    ),
    "float": pa.array([2.5, None, -1.0, 2.5, None]),
    "half float": pa.array(np.array([2.5, 0, -1, 2.5, 0], np.float16), mask=np.array([0, 1, 0, 0, 1], bool)),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_any_scalar_type_can_be_a_group(key: pa.Array) -> None:
    batch = counted(["one two", "", "three", "four", "five"], [2, 0, 1, 1, 1], key=key)
    rows = finished(batch, ("key",))
    values = key.to_pylist()
    assert [row["key"] for row in rows] == [values[2], values[0], None]
    assert [(row["documents"], row["bytes"], row["tokens"]) for row in rows] == [
        (1, 5, 1),
        (2, 11, 3),
        (2, 4, 1),
    ]
    assert finish_counts(partial_counts(batch, ("key",)), ("key",)).schema == token_count_schema(
        [batch.schema.field("key")]
    )
    assert partial_counts(batch, ("key",)).schema == partial_count_schema([batch.schema.field("key")])


def test_all_nans_are_one_group_and_both_zeros_another() -> None:
    keys = np.array([NAN, -NAN, 0.0, -0.0, 1.0])
    rows = finished(counted(["a"] * 5, [1] * 5, key=keys), ("key",))
    assert [(str(row["key"]), row["documents"]) for row in rows] == [("0.0", 2), ("1.0", 1), ("nan", 2)]


def test_a_column_of_nulls_is_one_group() -> None:
    assert finished(counted(["a", "b"], [1, 2], key=pa.nulls(2)), ("key",))[0]["tokens"] == 3


def test_empty_text_is_a_document_and_null_text_is_none() -> None:
    batch = count_words(pa.record_batch({"text": ["", None, "two words"], "key": ["a", "a", "a"]}))
    assert batch["token_count"].to_pylist() == [0, None, 2]
    (row,) = finished(batch, ("key",))
    assert {name: row[name] for name in EXACT} == dict(zip(EXACT, (2, 9, 9, 2, 0, 2), strict=True))


def test_bytes_and_characters_are_those_of_the_text() -> None:
    batch = count_words(pa.record_batch({"text": ["naïve 日本 👍"]}))
    (row,) = finished(batch, ())
    assert (row["bytes"], row["characters"]) == (18, 10)


def test_no_documents_make_no_rows() -> None:
    empty = counted([], [], key=pa.array([], pa.string()))
    for by in ((), ("key",)):
        made = partial_counts(empty, by)
        assert made.num_rows == 0
        assert finish_counts(made, by).num_rows == 0
        assert finish_counts(made, by).schema == token_count_schema([empty.schema.field(name) for name in by])


def test_a_token_count_that_was_there_is_replaced_in_its_place() -> None:
    batch = pa.record_batch({"token_count": ["many"], "text": ["one two"]})
    assert count_words(batch).to_pydict() == {"token_count": [2], "text": ["one two"]}


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="no column 'domain'; the batch has text, token_count, site"):
        partial_counts(counted(["a"], [1], site=["x"]), ("domain",))
    with pytest.raises(KeyError, match="no column 'text'; the batch has content"):
        count_words(pa.record_batch({"content": ["a"]}))


REFUSED = {
    "a list": ([pa.field("tags", pa.list_(pa.string()))], TypeError, "'tags' of type list<.*use a string"),
    "a struct": ([pa.field("meta", pa.struct({"a": pa.int8()}))], TypeError, "'meta' of type struct"),
    "twice": ([pa.field("a", pa.string())] * 2, ValueError, "'a' twice: a, a"),
    "a result": ([pa.field("tokens", pa.int64())], ValueError, "a column of that name; rename it"),
}


@pytest.mark.parametrize(("by", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_grouped_by_is_told_from_the_schema(
    by: list[pa.Field], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        token_count_schema(by)
