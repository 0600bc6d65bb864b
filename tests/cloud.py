"""Object stores on this machine: moto's server for S3, and for Google's the emulator with its XML interface completed.

Run by itself (`python -m tests.cloud s3`) it serves until its standard input is closed, for tests that kill others.
"""

import contextlib
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from beam_etl.io.stores.objects import forget_stores
from tests.gcs_xml import GoogleXml

BUCKET = "bucket"

_SERVING: list[str] = []
"""Urls of moto's servers: all of a process have one storage."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]

_WRITES = ("PUT", "POST", "DELETE")


@dataclass
class Watched:
    """A server's application: one write at a time, as the documents of both stores say of preconditions.

    Args:
      app: the store.
      answers: what is answered in place of it, of a function of method and path: a status and a text, or None.
    """

    app: Wsgi
    answers: Callable[[str, str], tuple[str, str] | None] = lambda method, path: None
    requests: list[tuple[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        self.requests.append((method, path))
        if answer := self.answers(method, path):
            status, text = answer
            body = b"" if method == "HEAD" else text.encode()
            start(status, [("Content-Length", str(len(body)))])
            return [body]
        with self._lock if method in _WRITES else contextlib.nullcontext():
            return self.app(environ, start)


@dataclass
class Cloud:
    """A running object store."""

    scheme: str
    watched: Watched
    environment: dict[str, str]

    @property
    def root(self) -> str:
        """The url of the bucket."""
        return f"{self.scheme}://{BUCKET}"

    @contextlib.contextmanager
    def answering(self, answers: Callable[[str, str], tuple[str, str] | None]) -> Iterator[None]:
        """Answers for a while what a function says."""
        before, self.watched.answers = self.watched.answers, answers
        try:
            yield
        finally:
            self.watched.answers = before


@contextlib.contextmanager
def serving(app: Wsgi) -> Iterator[str]:
    """Serves an application on a free port of the loopback interface; its url."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any, **__: Any) -> None:
            pass

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def s3() -> Iterator[Cloud]:
    """moto's server, with a bucket."""
    import boto3
    from moto.backends import get_backend
    from moto.server import DomainDispatcherApplication, create_backend_app

    watched = Watched(DomainDispatcherApplication(create_backend_app))
    with serving(watched) as url:
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
            "AWS_SECRET_ACCESS_KEY": "a-secret-of-nobody",
            "AWS_REGION": "us-east-1",
        }
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET)
        _SERVING.append(url)
        try:
            yield Cloud("s3", watched, environment)
        finally:
            _SERVING.remove(url)
            if not _SERVING:
                for regions in get_backend("s3").values():
                    for backend in regions.values():
                        backend.reset()


@contextlib.contextmanager
def gs() -> Iterator[Cloud]:
    """gcp-storage-emulator's storage behind the XML interface of Google's, with a bucket."""
    watched = Watched(GoogleXml(BUCKET))
    with serving(watched) as url:
        account = {
            "gcs_base_url": url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        environment = {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account), "GOOGLE_ALLOW_HTTP": "true"}
        yield Cloud("gs", watched, environment)


CLOUDS = {"s3": s3, "gs": gs}


@contextlib.contextmanager
def in_environment(cloud: Cloud) -> Iterator[Cloud]:
    """The credentials and the address of a store, in the environment of this process and of those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"):
            patch.delenv(name, raising=False)
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        forget_stores()
        yield cloud
    forget_stores()


if __name__ == "__main__":
    logging.disable()
    with CLOUDS[sys.argv[1]]() as running:
        sys.stdout.write(json.dumps(running.environment) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
