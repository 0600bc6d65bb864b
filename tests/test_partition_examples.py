"""The three cases of partitioned datasets run, and check what they promise."""

from pathlib import Path
from typing import Any

import pytest

from tests.examples import printed_by

DOCUMENTS = 240

CASES = {
    "partitioned_join": ["1", "1", "0", "1"],
    "within_domains": ["1", "0", "0", "4", "1"],
    "append_crawl": ["1", "1", "1", "1"],
}
"""The shuffles of each job of an example."""


@pytest.mark.slow
@pytest.mark.parametrize(("example", "shuffles"), CASES.items(), ids=CASES)
def test_an_example_of_partitions_shows_its_bill_and_that_its_promises_hold(
    example: str, shuffles: list[str], webtext: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines = printed_by(example, webtext[:DOCUMENTS], tmp_path)
    assert [line.split()[1] for line in lines if line.startswith("plan: ")] == shuffles
    checks = [line for line in lines if line.endswith((": yes", ": NO"))]
    assert len(checks) >= 2
