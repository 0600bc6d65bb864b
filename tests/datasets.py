"""Datasets made by hand, for tests of what reads, replaces and publishes them."""

from pathlib import Path

from beam_etl.io import manifest
from beam_etl.io.manifest import Manifest


def publish(folder: str | Path, made: Manifest) -> bool:
    """Publishes a manifest whose files are in place, or need not be."""
    prepared = Path(folder) / f"prepared-{made.number}-{made.run}"
    prepared.parent.mkdir(parents=True, exist_ok=True)
    prepared.write_bytes(manifest.prepare(str(Path(folder) / manifest.FOLDER), made))
    try:
        return manifest.publish(str(folder), made.number, made.run, str(prepared))
    finally:
        prepared.unlink()
