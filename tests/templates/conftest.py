"""The image of the templates, built once for all tests."""

import fcntl
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.templates.image import Image, build

NAME = "europe-docker.pkg.dev/project/templates/beam-etl:1"
"""Of the image."""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Image:
    """The image's file tree. Processes that run tests side by side have one in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "image"
    told = folder / "image.json"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            built = build(folder, {"IMAGE": NAME})
            told.write_text(json.dumps({**asdict(built), "root": str(built.root)}))
    found = json.loads(told.read_text())
    return Image(**{**found, "root": Path(found["root"])})


@pytest.fixture(scope="session")
def image_python(image: Image) -> Path:
    """The image's Python."""
    return image.python
