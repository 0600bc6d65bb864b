"""What every test stands on: the shared data, repeatable property tests, quick starts of jobs, and no network."""

import gc
import gzip
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.faults import (  # noqa: F401 - pytest looks for them here
    faults,
    pytest_addoption,
    pytest_terminal_summary,
)

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

REPOSITORY = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a mistake shows before the slow ones have run."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test data, beside the checkout or in $BEAM_ETL_SHARED.

    Without it the test skips; where BEAM_ETL_REQUIRE_SHARED=1, as in CI, it fails.
    """
    folder = Path(os.environ.get("BEAM_ETL_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "data").is_dir():
        reason = f"no shared test data at {folder}; BEAM_ETL_SHARED=PATH names another place"
        if os.environ.get("BEAM_ETL_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def webtext(shared: Path) -> list[dict[str, Any]]:
    """4,085 real documents in 69 languages: id, url, domain, lang, date, text."""
    with gzip.open(shared / "data/webtext/debdocs_sample_1pct.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session", autouse=True)
def quick_starts() -> None:
    """What was imported and collected is left alone by Python's collector, as a command leaves it; Beam looks once."""
    gc.collect()
    gc.freeze()
    if "apache_beam" in sys.modules:
        from beam_etl.engines.method_arguments import look_up_once

        look_up_once()


@pytest.fixture(scope="session", autouse=True)
def heed_ctrl_c() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, and all that tests start would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Looking up another host fails the test: libraries that download must be told not to."""
    look_up = socket.getaddrinfo

    def local_only(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in (None, "", "localhost", "127.0.0.1", "::1", b"localhost", socket.gethostname()):
            raise AssertionError(f"a test reached for the network: {host!r}")
        return look_up(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", local_only)
        yield
