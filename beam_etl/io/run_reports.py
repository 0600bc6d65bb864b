"""The report of the run that made a version of a dataset, beside its manifest: `_manifests/NNNNNN-RUN.report.json`."""

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from beam_etl.io import manifest, publishing, staging
from beam_etl.io.stores import store_of

REPORT_NAME = re.compile(r"(\d{6,})-(\w+)\.report\.json")
"""Of a report: number and run of its manifest."""


def report_path(dataset: str, number: int, run: str) -> str:
    """Where the report of a version is."""
    return os.path.join(dataset, manifest.FOLDER, f"{number:06d}-{run}.report.json")


def write_report(dataset: str, number: int, run: str, report: Mapping[str, Any]) -> str | None:
    """Writes the report of a run; where it is, or None where the version has been replaced since.

    Raises:
      OSError: it can't be written.
    """
    path = report_path(dataset, number, run)
    try:
        store_of(dataset).create(path, json.dumps(report, indent=1, ensure_ascii=False).encode())
    except FileNotFoundError:
        return None
    if publishing.run_of(dataset, number) == run:
        return path
    staging.remove([path])
    return None


def find_reports(dataset: str, is_wanted: Callable[[int, str], bool]) -> list[str]:
    """Paths of the reports of which `is_wanted` is true, given number and run."""
    folder = os.path.join(dataset, manifest.FOLDER)
    names = store_of(dataset).names(folder)
    reports = (match for match in map(REPORT_NAME.fullmatch, names) if match)
    return [os.path.join(folder, match[0]) for match in reports if is_wanted(int(match[1]), match[2])]
