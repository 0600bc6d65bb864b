"""The examples of models run, and check what they promise."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.examples import printed_by


def share(line: str) -> float:
    """The percentage that a line tells."""
    [told] = re.findall(r"([0-9.]+)%", line)
    return float(told)


@pytest.mark.slow
def test_a_classifier_of_ones_own_is_right_more_often_than_chance(
    webtext: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines = printed_by("score_with_model", webtext[::4], tmp_path)
    [base] = [share(line) for line in lines if "it has not seen" in line]
    [precision] = [share(line) for line in lines if line.startswith("precision ")]
    assert precision > 2 * base
    rows = pq.read_table(tmp_path / "output/scored/documents")
    assert rows.num_rows == len(webtext[::4])
    assert all(0 <= score <= 1 for score in rows["good"].to_pylist())


@pytest.mark.long
def test_documents_unlike_their_domain_are_found_without_a_shuffle(
    webtext: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines = printed_by("unlike_their_domain", webtext, tmp_path)
    assert [line for line in lines if line.startswith("plan: ")][1:] == [
        "plan: 0 shuffles",
        "plan: 1 shuffle",
    ]
    assert sum(line.endswith(": yes") for line in lines) == 4
