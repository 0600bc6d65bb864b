"""An index that several modules look at, and change copies of; and the places that datasets can be in."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io.stores import objects
from beam_etl.pipelines import inverted_index
from tests.cloud import CLOUDS, Cloud, in_environment
from tests.places import PLACES, Place
from tests.small_indexes import small, write


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("source") / "in")


@pytest.fixture(scope="session")
def sound_index(indexed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with positions, split terms and terms of several blocks."""
    output = tmp_path_factory.mktemp("built") / "index"
    with small():
        assert inverted_index.run([f"--input={indexed}", f"--output={output}", "--positions=true"]) == 0
    return output


_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def clouds() -> Iterator[dict[str, Cloud]]:
    """Servers of both object stores, for all tests of a process."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(make()) for name, make in CLOUDS.items()}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A place for datasets; a test that isn't for all names its kinds (`indirect`)."""
    if request.param == "local":
        yield Place("local", str(tmp_path))
        return
    cloud = request.getfixturevalue("clouds")[request.param]
    with in_environment(cloud):
        yield Place(request.param, f"{cloud.root}/{next(_NUMBERS)}")


@pytest.fixture
def cloud(place: Place, clouds: dict[str, Cloud]) -> Cloud:
    """The server behind a place that is an object store."""
    return clouds[place.kind]


@pytest.fixture
def memory_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket in memory, with the preconditions of the others; a request of one thread at a time.

    obstore lists a MemoryStore with Python's lock held, waiting for the store's, and deletes and replaces with the
    store's held, waiting for Python's to let go of what was stored: two threads would wait for each other for ever.
    """
    from obstore.store import MemoryStore

    memory, asked, one = MemoryStore(), objects.ObjectStore._ask, threading.RLock()

    def ask(self: objects.ObjectStore, path: str, request: Any) -> Any:
        with one:
            return asked(self, path, request)

    monkeypatch.setattr(objects, "_connect", lambda *_: memory)
    monkeypatch.setattr(objects.ObjectStore, "_ask", ask)
    monkeypatch.setattr(objects, "FIRST_SECONDS", 0.0)
    objects.forget_stores()
    yield "s3://bucket"
    objects.forget_stores()
