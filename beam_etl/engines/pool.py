"""Starts SDK workers for the task managers of this machine: what --environment_type=EXTERNAL asks for.

    python -m beam_etl.engines.pool --port=50000

It listens on this machine only, says `pool on 127.0.0.1:PORT` on standard output once it does, and what it does on
standard error. Any number of task managers may use it. It ends by SIGTERM or Ctrl-C, and its workers with it, however
it ends.

BEAM_ETL_HANG_SECONDS (default 120): a worker without a sign of life for so long is killed, and what it did is tried
again.
"""

import argparse
import contextlib
import itertools
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from ipaddress import ip_address
from typing import Any, NoReturn

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from beam_etl.engines.lifeline import Order
from beam_etl.engines.nursery import SINGLE_THREADED
from beam_etl.engines.provision import report
from beam_etl.engines.supervisor import log_to_standard_error

PRELOAD = "beam_etl.pipelines.preload:pieces"
"""What the nursery loads: MODULE:FUNCTION."""

_REQUESTS = 100
"""Workers that may be starting at the same time: each keeps a thread."""

_SILENT_SECONDS = 120.0
"""The process that starts workers says something twice a second, but while it loads a library."""

_RESTART_SECONDS = 1.0
_END_SECONDS = 5.0

_log = logging.getLogger("beam_etl.engines.pool")  # it runs as __main__


class Nursery:
    """The process that starts the workers, from the pool's side. It is started again when it ends or hangs."""

    def __init__(self, preload: str) -> None:
        self._preload = preload
        self._tickets = itertools.count(1)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, tuple[Order, Future[str]]] = {}
        self._running: dict[int, Order] = {}
        self._reports = ThreadPoolExecutor(4, thread_name_prefix="report")

    def start(self, order: Order) -> tuple[int, Future[str]]:
        """Orders a worker: a ticket, and, once that is known, why the worker can't be used, or ''."""
        with self._lock:
            ticket, outcome = next(self._tickets), Future[str]()
            self._waiting[ticket] = (order, outcome)
            self._send({"ticket": ticket, "order": asdict(order)})
        return ticket, outcome

    def cancel(self, ticket: int) -> None:
        """Gives up a worker, unless it has connected."""
        with self._lock:
            if ticket in self._waiting:
                self._send({"cancel": ticket})

    def run(self) -> NoReturn:
        """Keeps the process running. For the main thread: the process ends with the thread that started it."""
        while True:
            process = self._begin()
            try:
                self._listen(process)
            finally:
                self._end(process)
            _log.error(
                "the process that starts workers has ended, and its workers with it; it is started again"
            )
            time.sleep(_RESTART_SECONDS)

    def _begin(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "beam_etl.engines.nursery", str(os.getpid()), self._preload]
        environment = {**os.environ, **SINGLE_THREADED}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        with self._lock:
            self._process = process
            for ticket, (order, _) in self._waiting.items():  # that came while there was none
                self._send({"ticket": ticket, "order": asdict(order)})
        return process

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        with self._lock:
            self._process = None
            waiting, self._waiting = self._waiting, {}
            self._running.clear()
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        process.kill()
        process.wait()
        for order, outcome in waiting.values():
            outcome.set_result(f"worker {order}: the process that starts workers has ended")

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        """Takes what the process says, until it ends or says nothing for too long."""
        assert process.stdout is not None
        with process.stdout:
            file, unread = process.stdout.fileno(), b""
            while select.select([file], [], [], _SILENT_SECONDS)[0] and (got := os.read(file, 65536)):
                *lines, unread = (unread + got).split(b"\n")
                for line in lines:
                    if message := json.loads(line):
                        self._hear(message["ticket"], message["error"], message.get("reason"))

    def _hear(self, ticket: int, error: str, reason: str | None) -> None:
        with self._lock:
            waiting = self._waiting.pop(ticket, None)
            running = self._running.pop(ticket, None)
            if waiting and not error:
                self._running[ticket] = waiting[0]
        if waiting:
            waiting[1].set_result(error)
        elif running and reason:
            self._reports.submit(report, running, error)

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it has just ended: `run` notices
                self._process.stdin.write(json.dumps(message).encode() + b"\n")
                self._process.stdin.flush()


class Servicer(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """What task managers ask of a pool."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802 - Beam's name
        """Returns when the worker has connected, or with the reason why it hasn't: task managers wait without limit."""
        order = Order(
            id=request.worker_id,
            provision=request.provision_endpoint.url,
            control=request.control_endpoint.url,
            logging=request.logging_endpoint.url,
            artifacts=request.artifact_endpoint.url,
        )
        ticket, outcome = self._nursery.start(order)
        if not context.add_callback(partial(self._nursery.cancel, ticket)):
            self._nursery.cancel(ticket)  # whoever asked is gone already
        return beam_fn_api_pb2.StartWorkerResponse(error=outcome.result())

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802 - Beam's name
        """Does nothing: another task manager's worker may have the same id, and this one's leaves by itself."""
        return beam_fn_api_pb2.StopWorkerResponse()


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a pool until it is told to end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", type=_loopback, default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--preload", default=PRELOAD, help="MODULE:FUNCTION that loads what workers use")
    given = parser.parse_args(arguments)
    log_to_standard_error("pool")
    nursery = Nursery(given.preload)
    server = grpc.server(ThreadPoolExecutor(_REQUESTS), options=[("grpc.so_reuseport", 0)])
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(Servicer(nursery), server)
    port = server.add_insecure_port(f"{given.host}:{given.port}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    server.start()
    sys.stdout.write(f"pool on {given.host}:{port}\n")
    sys.stdout.flush()
    try:
        nursery.run()
    finally:
        server.stop(None)


def _loopback(host: str) -> str:
    if not ip_address(host).is_loopback:
        raise argparse.ArgumentTypeError(
            f"{host} could be reached by others, and who reaches a pool runs code here"
        )
    return host


def _leave(number: int, _: Any) -> NoReturn:
    _log.info("ends by %s", signal.Signals(number).name)
    sys.exit(0)


if __name__ == "__main__":
    main()
