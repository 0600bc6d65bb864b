"""Launching jobs as an image does: in a process of its Python, with nothing of this one but what is named."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from gcp_storage_emulator.server import RequestHandler

from tests.cloud import Cloud, gs

SECONDS = 600
"""For all launches of a process: what takes longer hangs."""

DRIVER = Path(__file__).with_name("driver.py")


@dataclass(frozen=True)
class Launch:
    """A job that is to be launched."""

    name: str
    module: str
    argv: Sequence[str]
    interrupted: bool = False
    """Whether Ctrl-C is pressed while it waits for the service."""


@dataclass(frozen=True)
class Launched:
    """What came of it."""

    name: str
    code: int | None
    """None where it raised."""
    out: str
    err: str
    seconds: float = field(compare=False)


def drive(python: Path, launches: Sequence[Launch], environment: Mapping[str, str]) -> dict[str, Launched]:
    """Launches jobs one after another, in one process; by name.

    Args:
      python: the interpreter, which finds beam_etl.
      launches: what to launch.
      environment: all that the process gets, beside a PATH.
    """
    ran = subprocess.run(
        [str(python), str(DRIVER)],
        input=json.dumps([vars(launch) for launch in launches]),
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    return {told["name"]: Launched(**told) for told in map(json.loads, ran.stdout.splitlines())}


@contextlib.contextmanager
def google_storage() -> Iterator[Cloud]:
    """Google's storage with both of its interfaces, over one storage: XML as datasets use it, JSON as Beam does."""
    with gs() as cloud:
        handler = partial(RequestHandler, cloud.watched.app.storage)  # type: ignore[attr-defined]
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        cloud.environment["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{server.server_port}"
        cloud.environment["NO_GCE_CHECK"] = (
            "true"  # nobody looks 20 seconds for credentials of a machine of Google's
        )
        try:
            yield cloud
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
