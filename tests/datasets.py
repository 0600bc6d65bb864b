"""Datasets made by hand, for tests of what reads, replaces and publishes them."""

import json
from pathlib import Path
from typing import Any

from beam_etl.io import manifest, publishing
from beam_etl.io.manifest import Manifest
from beam_etl.io.run_reports import report_path


def publish(folder: str | Path, made: Manifest) -> bool:
    """Publishes a manifest whose files are in place, or need not be."""
    prepared = Path(folder) / f"prepared-{made.number}-{made.run}"
    prepared.parent.mkdir(parents=True, exist_ok=True)
    prepared.write_bytes(publishing.prepare(str(Path(folder) / manifest.FOLDER), made))
    try:
        return publishing.publish(str(folder), made.number, made.run, str(prepared))
    finally:
        prepared.unlink()


def read_report(dataset: str | Path, number: int, run: str) -> dict[str, Any]:
    """The report of the run that made a version."""
    told: dict[str, Any] = json.loads(Path(report_path(str(dataset), number, run)).read_text())
    return told
