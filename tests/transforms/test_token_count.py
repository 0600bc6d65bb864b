from collections.abc import Callable

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import CountTokens, UnbatchRows, schema
from tests.beam import run

GROUPS = 30_000
TEXTS = pa.record_batch(
    [
        pa.array([f"site{i % GROUPS}.example" for i in range(2 * GROUPS)]),
        pa.array(["two words"] * GROUPS + ["three more words"] * GROUPS, pa.large_string()),
    ],
    names=[schema.DOMAIN, schema.TEXT],
)


@pytest.mark.parametrize("partitions", [1, 5])
def test_each_of_many_groups_has_one_row_with_all_of_its_documents(partitions: int) -> None:
    def check(found: list[tuple[str, int, int]]) -> None:
        assert len({domain for domain, _, _ in found}) == len(found) == GROUPS
        assert {(documents, tokens) for _, documents, tokens in found} == {(2, 5)}

    with run() as pipeline:
        counted = pipeline | beam.Create([TEXTS]) | CountTokens(by=("domain",), partitions=partitions)
        rows = counted.counts | "Counts" >> UnbatchRows()
        assert_that(rows | beam.Map(lambda row: (row["domain"], row["documents"], row["tokens"])), check)
        totals = counted.totals | "Totals" >> UnbatchRows()
        total = totals | "Total" >> beam.Map(lambda row: (row["documents"], row["tokens"], "domain" in row))
        assert_that(total, equal_to([(2 * GROUPS, 5 * GROUPS, False)]), label="totals")


WRONG: dict[str, Callable[[], CountTokens]] = {
    "no group": lambda: CountTokens(by=()),
    "one twice": lambda: CountTokens(by=("domain", "domain")),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_parameters_are_checked_where_it_is_made(make: Callable[[], CountTokens]) -> None:
    with pytest.raises(ValueError, match="by needs at least one column, and each once, got"):
        make()
