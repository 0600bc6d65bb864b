from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import FilterQuality, schema
from beam_etl.kernels.filtering import annotate_quality, filter_quality
from beam_etl.kernels.quality import RULE_SETS, Rule, rules_of
from beam_etl.testing import check_kernel
from tests.beam import counters, run

RULES = ("gopher_quality", "gopher_repetition")


@pytest.fixture(scope="module")
def documents(webtext: list[dict[str, Any]]) -> pa.RecordBatch:
    rows = [row for row in webtext if row["lang"] == "en"][:200]
    columns = {
        schema.ADDRESS: pa.array(
            [(7 << schema.POSITION_BITS) + row for row in range(len(rows))], pa.uint64()
        ),
        schema.ID: pa.array([row["id"] for row in rows]),
        "score": pa.array([*range(len(rows))], pa.int16()),
        schema.TEXT: pa.array([row["text"] for row in rows], pa.large_string()),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    return batch.replace_schema_metadata({schema.FILE_METADATA: b"crawl.parquet"})


def test_each_document_stays_with_all_its_columns_or_is_removed_with_reasons(
    documents: pa.RecordBatch,
) -> None:
    done = filter_quality(documents, rules_of(RULES))
    kept, removed = done.kept.column("id").to_pylist(), done.removed.column("id").to_pylist()
    assert sorted(kept + removed) == sorted(documents.column("id").to_pylist())
    assert 20 < len(kept) < 180
    assert done.kept.schema == documents.schema
    assert done.removed.schema == schema.QUALITY_REMOVAL
    assert done.removed.schema.names[: len(schema.REMOVAL)] == schema.REMOVAL.names
    rows = {row["id"]: row for row in documents.to_pylist()}
    for told in done.removed.to_pylist():
        row = rows[told["id"]]
        assert (told["file"], told["position"], told["reason"]) == ("crawl.parquet", row["score"], "quality")
        assert told["bytes"] == len(row["text"].encode())
        assert [reason.partition(":")[0] for reason in told["reasons"]] == told["failed"] != []


def test_documents_of_no_file_are_removed_by_their_id(documents: pa.RecordBatch) -> None:
    bare = documents.drop_columns([schema.ADDRESS]).replace_schema_metadata(None)
    bare = bare.rename_columns({"id": "name"})
    told = filter_quality(bare, rules_of(RULES), id="name").removed
    assert told.column("file").null_count == told.column("position").null_count == told.num_rows > 0
    assert told.column("id").null_count == 0


def test_annotated_documents_are_all_there_with_what_the_filter_would_say(documents: pa.RecordBatch) -> None:
    twice = annotate_quality(annotate_quality(documents, rules_of(RULE_SETS)), rules_of(RULES))
    assert twice.schema.names == [*documents.schema.names, "failed", "reasons", "signals"]
    assert twice.select(documents.schema.names).equals(documents)
    removed = filter_quality(documents, rules_of(RULES)).removed
    failing = [row for row in twice.to_pylist() if row["failed"]]
    assert [(row["id"], row["reasons"]) for row in failing] == [
        (row["id"], row["reasons"]) for row in removed.to_pylist()
    ]
    assert all(row["signals"]["bytes"] == len(row["text"].encode()) for row in twice.to_pylist())


def kept(batch: pa.RecordBatch) -> pa.RecordBatch:
    return filter_quality(batch, rules_of(RULES)).kept


@pytest.mark.slow
def test_the_filter_keeps_the_promises_of_kernels(documents: pa.RecordBatch) -> None:
    few = documents.slice(0, 25)
    check_kernel(kept, few)
    check_kernel(lambda batch: annotate_quality(batch, rules_of(RULES)), few)


def test_the_transform_gives_what_the_kernel_gives_and_counts_it(documents: pa.RecordBatch) -> None:
    expected = filter_quality(documents, rules_of(RULES))
    pipeline = run()
    source = pipeline | beam.Create([documents.slice(0, 50), documents.slice(50)])
    filtered = source | "Quality" >> FilterQuality(rules=RULES)
    for table, rows in ((filtered.documents, expected.kept), (filtered.removals, expected.removed)):
        ids = table | f"Ids {rows.num_rows}" >> beam.FlatMap(lambda batch: batch.column("id").to_pylist())
        assert_that(ids, equal_to(rows.column("id").to_pylist()), label=f"{rows.num_rows}")
    found = counters(pipeline, "Quality")
    assert (found["rows_in"], found["rows_out"]) == (documents.num_rows, expected.kept.num_rows)


def test_with_annotate_no_document_is_removed(documents: pa.RecordBatch) -> None:
    def check(batches: list[pa.RecordBatch]) -> None:
        assert sum(batch.num_rows for batch in batches) == documents.num_rows
        assert all("signals" in batch.schema.names for batch in batches)

    with run() as pipeline:
        filtered = pipeline | beam.Create([documents]) | FilterQuality(annotate=True)
        assert_that(filtered.documents, check)
        assert_that(filtered.removals, equal_to([]), label="removals")


def test_own_rules_and_thresholds_decide(documents: pa.RecordBatch) -> None:
    def check(batches: list[pa.RecordBatch]) -> None:
        texts = [text.as_py() for batch in batches for text in batch.column("text")]
        assert 0 < len(texts) < documents.num_rows
        assert all(len(text.encode()) <= 4000 for text in texts)

    with run() as pipeline:
        own = FilterQuality(
            rules=(Rule("house.max_bytes", "bytes", 9),), thresholds={"house.max_bytes": 4000}
        )
        assert_that((pipeline | beam.Create([documents]) | own).documents, check)


def test_parameters_are_checked_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="no rule set 'gopher'"):
        FilterQuality(rules=("gopher",))
    with pytest.raises(ValueError, match="no rules to filter by"):
        FilterQuality(rules=())


def test_documents_without_text_are_told_with_the_columns_there_are() -> None:
    with pytest.raises(KeyError, match="documents need a column 'text'; they have id"):
        filter_quality(pa.record_batch({"id": ["a"]}), rules_of(RULES))
