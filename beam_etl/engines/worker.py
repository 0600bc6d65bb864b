"""An SDK worker: Beam's harness for Python, that leaves when its task manager does and ends when an element does not.

Started by a supervisor only: `python -m beam_etl.engines.worker ORDER PARENT`, whose standard output is its lifeline.
"""

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import grpc
from apache_beam.options.pipeline_options import WorkerOptions
from apache_beam.runners.worker import sdk_worker_main

from beam_etl.engines.lifeline import BEAT_SECONDS, Lifeline, Order, end_with
from beam_etl.engines.provision import harness_environment

ELEMENT_MINUTES = 60.0
"""Time that one element may take, where the job's --element_processing_timeout_minutes doesn't say. 0 sets no limit."""

LEAVE_SECONDS = 5.0
"""After its task manager has closed the control stream a worker may use so long to tear down what it has open."""

_FLUSH_SECONDS = 5.0


class Keeper(threading.Thread):
    """Gives signs of life, and ends the process when its work is over or stuck."""

    def __init__(self, lifeline: Lifeline) -> None:
        super().__init__(name="keeper", daemon=True)
        self._lifeline = lifeline
        self._harness: Any = None
        self._log_handler: Any = None
        self._element_seconds = 0.0

    def watch(self, harness: Any, log_handler: Any, element_seconds: float) -> None:
        """Looks after a harness from now on.

        Args:
          harness: Beam's SdkHarness.
          log_handler: what sends the log to the task manager, or None.
          element_seconds: limit for one element; 0 sets none.
        """
        self._log_handler = log_handler
        self._element_seconds = element_seconds
        self._harness = harness

    def run(self) -> None:
        while True:
            self._lifeline.beat()
            time.sleep(BEAT_SECONDS)
            if self._harness is None:
                continue
            if not self._harness._alive:
                time.sleep(LEAVE_SECONDS)
                os._exit(0)
            if self._element_seconds and (found := stuck(self._harness, self._element_seconds)):
                self._end(found)

    def _end(self, reason: str) -> None:
        self._lifeline.failed(reason)
        if self._log_handler is not None:
            flush = threading.Thread(target=self._log_handler.close, daemon=True)
            flush.start()
            flush.join(_FLUSH_SECONDS)
        os._exit(1)


def stuck(harness: Any, seconds: float) -> str:
    """Where a harness has been busy with one element, or with making a DoFn, for longer than some seconds; or ''.

    (Beam's own watch needs a status service, which Flink doesn't have, and takes waiting for input for work.)
    """
    cache = harness._bundle_processor_cache
    for _, processor in list(cache.active_bundle_processors.values()):
        info = processor.state_sampler.get_info()
        step = info.state_name.step_name
        if step and info.time_since_transition > seconds * 1e9:
            return (
                f"{step}: one element takes longer than {seconds:g} s, now at\n{_stack(info.tracked_thread)}"
            )
    for _, thread, since in list(cache.processors_being_created.values()):
        if time.time() - since > seconds:
            return f"making a DoFn takes longer than {seconds:g} s, now at\n{_stack(thread)}"
    return ""


def _stack(thread: threading.Thread | None) -> str:
    frame = sys._current_frames().get(thread.ident or 0) if thread else None
    return "".join(traceback.format_stack(frame)) if frame else "an unknown place"


def serve(order: Order, line: int, parent: int) -> NoReturn:
    """Makes this process a worker. It ends when its task manager or its parent ends, or when something is stuck.

    Args:
      order: whose worker it is.
      line: the file that its parent reads.
      parent: process id.
    """
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
    lifeline = Lifeline(line)
    keeper = Keeper(lifeline)
    keeper.start()
    code = 1
    try:
        _work(order, lifeline, keeper)
        code = 0
    except BaseException as error:  # noqa: BLE001 - the process ends with it
        traceback.print_exc()
        lifeline.failed(f"{type(error).__name__}: {error}")
    finally:
        sys.stderr.flush()
        os._exit(code)  # threads of a task that has ended may still run


def _work(order: Order, lifeline: Lifeline, keeper: Keeper) -> None:
    with tempfile.TemporaryDirectory(prefix="beam_etl-worker-") as folder:
        os.environ.update(harness_environment(order, folder))
        log_handler, harness, options = sdk_worker_main.create_harness(os.environ)
    minutes = options.view_as(WorkerOptions).element_processing_timeout_minutes
    keeper.watch(harness, log_handler, 60 * (ELEMENT_MINUTES if minutes is None else minutes))
    lifeline.connected()
    try:
        harness.run()
    except grpc.RpcError:  # the task manager has left; what that did to the streams doesn't matter
        pass
    finally:
        if log_handler is not None:
            log_handler.close()


def main(arguments: Sequence[str]) -> NoReturn:
    """A worker in a process that was started for it."""
    line = os.dup(1)
    os.dup2(2, 1)
    serve(Order.parse(arguments[0]), line, int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
