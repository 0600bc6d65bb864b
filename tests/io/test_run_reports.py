"""Reports of runs stand beside their manifests, and go with them."""

import os
from pathlib import Path

import pytest

from beam_etl.io import manifest, versions
from beam_etl.io.clean import find_leftovers, remove_leftovers
from beam_etl.io.manifest import DatasetError, Manifest
from beam_etl.io.run_reports import read_report, report_path, write_report
from tests.datasets import publish

RUNS = ("a" * 12, "b" * 12, "c" * 12)


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    """Three versions, each with a report."""
    for number, run in enumerate(RUNS, 1):
        assert publish(tmp_path, Manifest(number, run, (), {"rows": {}}))
        assert write_report(str(tmp_path), number, run, {"run": run, "reason": "añ"})
    return str(tmp_path)


def reports(dataset: str) -> list[str]:
    return sorted(name for name in os.listdir(Path(dataset, manifest.FOLDER)) if "report" in name)


def test_a_report_is_read_as_it_was_written(dataset: str) -> None:
    assert read_report(dataset, 2, RUNS[1]) == {"run": RUNS[1], "reason": "añ"}
    assert manifest.numbers(dataset) == [1, 2, 3]
    with pytest.raises(DatasetError, match="no report"):
        read_report(dataset, 2, RUNS[0])


def test_the_report_of_a_version_that_was_replaced_meanwhile_is_not_left(dataset: str) -> None:
    assert write_report(dataset, 2, "d" * 12, {}) is None
    assert len(reports(dataset)) == 3


def test_reports_go_with_their_versions(dataset: str) -> None:
    versions.remove_versions(dataset, [1, 2])
    assert reports(dataset) == [f"000003-{RUNS[2]}.report.json"]


def test_clean_removes_reports_of_old_versions_and_those_of_none(dataset: str) -> None:
    Path(report_path(dataset, 4, "d" * 12)).write_text("{}")
    found = find_leftovers(dataset, keep_versions=1, idle_seconds=0)
    assert any(leftover.path == f"_manifests/000004-{'d' * 12}.report.json" for leftover in found.removable)
    old = [leftover.bytes for leftover in found.removable if leftover.version is not None]
    sizes = [os.path.getsize(report_path(dataset, number, run)) for number, run in enumerate(RUNS[:2], 1)]
    assert sum(old) > sum(sizes)
    remove_leftovers(dataset, found)
    assert reports(dataset) == [f"000003-{RUNS[2]}.report.json"]
