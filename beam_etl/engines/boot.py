"""Starts one SDK worker and looks after it: Beam's container contract, for --environment_type=PROCESS and images.

    beam-etl-boot --id=ID --provision_endpoint=HOST:PORT [--control_endpoint=...] [--logging_endpoint=...]

It ends with its worker, and its worker with it. BEAM_ETL_HANG_SECONDS (default 120): a worker without a sign of life
for so long is killed, and what it did is tried again.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from beam_etl.engines.lifeline import Order
from beam_etl.engines.supervisor import Event, Supervisor, log_to_standard_error, spawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a worker to its end; its exit code, 128 and the number for a signal."""
    order = _order(arguments)
    signal.signal(signal.SIGTERM, _leave)
    log_to_standard_error("boot")
    supervisor = Supervisor(spawn)
    parent = os.getppid()
    try:
        supervisor.start(order)
        while os.getppid() == parent:  # a task manager that was killed stops nobody
            for event in supervisor.step()[0]:
                if event.code is not None:
                    return _ended(event, event.code)
    finally:
        supervisor.close()
    return 1


def _ended(event: Event, code: int) -> int:
    if event.worker.reason:
        from beam_etl.engines.provision import report  # half a second, for workers that fail only

        report(event.worker.order, event.error)  # a task manager throws away what its processes print
    return code if code >= 0 else 128 - code


def _order(arguments: Sequence[str] | None) -> Order:
    parser = argparse.ArgumentParser(prog="beam-etl-boot", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    for name in ("control", "logging", "artifact"):
        parser.add_argument(f"--{name}_endpoint", default="")
    given, _ = parser.parse_known_args(arguments)  # the contract has more, and grows
    return Order(
        id=given.id,
        provision=given.provision_endpoint,
        control=given.control_endpoint,
        logging=given.logging_endpoint,
        artifacts=given.artifact_endpoint,
    )


def _leave(number: int, _: Any) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
