"""An SDK worker: Beam's harness for Python, that leaves when its task manager does and ends when an element does not.

Started by a supervisor only: `python -m beam_etl.engines.worker ORDER PARENT`, whose standard output is its lifeline.
"""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import grpc
from apache_beam.options.pipeline_options import WorkerOptions
from apache_beam.runners.worker import data_plane, sdk_worker_main

from beam_etl.engines.lifeline import BEAT_SECONDS, Lifeline, Order, end_with
from beam_etl.engines.provision import harness_environment, provision_info, staged_files

ELEMENT_MINUTES = 60.0
"""Time that one element may take, where the job's --element_processing_timeout_minutes doesn't say. 0 sets no limit."""

LEAVE_SECONDS = 5.0
"""After its task manager has closed the control stream a worker may use so long to tear down what it has open."""

_FLUSH_SECONDS = 5.0
_WAITING = data_plane.GrpcClientDataChannel.input_elements.__code__


class Stopwatch:
    """Tells, when it is asked again and again, whether a harness has been busy with one element for too long.

    A bundle that waits for input isn't busy. (Beam's own watch needs a status service, which Flink doesn't have, and
    doesn't tell waiting from work.)
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[tuple[str, int], float] = {}

    def stuck(self, harness: Any) -> str:
        """The step that an element never leaves, and where it is; or ''."""
        before, self._since = self._since, {}
        for key, name, thread in _activities(harness):
            frames = _frames(thread)
            if any(frame.f_code is _WAITING for frame in frames):
                continue
            now = time.monotonic()
            self._since[key] = before.get(key, now)
            if now - self._since[key] > self._seconds:
                where = "".join(traceback.format_stack(frames[0])) if frames else "an unknown place"
                return f"{name} takes longer than {self._seconds:g} s, now at\n{where}"
        return ""


def _activities(harness: Any) -> Iterator[tuple[tuple[str, int], str, threading.Thread | None]]:
    """What a harness does: a key that changes with every step of an element, a name, and the thread."""
    cache = harness._bundle_processor_cache
    for instruction, (_, processor) in list(cache.active_bundle_processors.items()):
        sampler = processor.state_sampler
        if sampler.started and not sampler.finished:  # a finished one may wait to be finalized
            info = sampler.get_info()
            name = f"one element in {info.state_name.step_name}"
            yield (instruction, info.transition_count), name, info.tracked_thread
    for instruction, (_, thread, _) in list(cache.processors_being_created.items()):
        yield (instruction, -1), "the setup of a DoFn", thread


def _frames(thread: threading.Thread | None) -> list[FrameType]:
    """What a thread is in, the innermost first."""
    frame = sys._current_frames().get(thread.ident or 0) if thread else None
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def broken_stream(harness: Any) -> str:
    """What broke a stream of data to the task manager; or ''.

    Beam ends the bundles that read from it. One that writes would wait for ever, and the job with it.
    """
    for channel in list(harness._data_channel_factory._data_channel_cache.values()):
        error = getattr(channel, "_exception", None)
        if error is not None:
            return f"the stream of data to the task manager broke: {error}"
    return ""


class Keeper(threading.Thread):
    """Gives signs of life, and ends the process when its work is over or stuck."""

    def __init__(self, lifeline: Lifeline) -> None:
        super().__init__(name="keeper", daemon=True)
        self._lifeline = lifeline
        self._harness: Any = None
        self._log_handler: Any = None
        self._stopwatch: Stopwatch | None = None

    def watch(self, harness: Any, log_handler: Any, stopwatch: Stopwatch | None) -> None:
        """Looks after a harness from now on.

        Args:
          harness: Beam's SdkHarness.
          log_handler: what sends the log to the task manager, or None.
          stopwatch: where the time for one element is limited.
        """
        self._log_handler = log_handler
        self._stopwatch = stopwatch
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
            if found := broken_stream(self._harness):
                time.sleep(
                    LEAVE_SECONDS
                )  # a task manager that leaves breaks all streams, and the process ends by itself
                self._fail(found)
            if self._stopwatch and (found := self._stopwatch.stuck(self._harness)):
                self._fail(found)

    def _fail(self, reason: str) -> NoReturn:
        self._lifeline.failed(reason)
        self.flush()
        os._exit(1)

    def flush(self) -> None:
        """Sends what has been logged to the task manager, if it takes it soon."""
        if self._log_handler is not None:
            flush = threading.Thread(target=self._log_handler.close, daemon=True)
            flush.start()
            flush.join(_FLUSH_SECONDS)


def serve(order: Order, line: int, parent: int) -> NoReturn:
    """Makes this process a worker. It ends when its task manager or its parent ends, or when something is stuck.

    Args:
      order: whose worker it is.
      line: the file that its parent reads.
      parent: process id.
    """
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
    threading.excepthook = _tell_of_thread
    root = logging.getLogger()
    for handler in list(root.handlers):  # the log goes to the task manager
        root.removeHandler(handler)
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
        keeper.flush()
        sys.stderr.flush()
        os._exit(code)  # threads of a task that has ended may still run


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Prints what ended a thread; but that streams break when a task manager leaves is no news."""
    if not isinstance(ended.exc_value, grpc.RpcError):
        threading.__excepthook__(ended)


def _work(order: Order, lifeline: Lifeline, keeper: Keeper) -> None:
    info = provision_info(order)
    with staged_files(order, info) as folder:
        os.environ.update(harness_environment(order, info, folder))
        log_handler, harness, options = sdk_worker_main.create_harness(os.environ)
    minutes = options.view_as(WorkerOptions).element_processing_timeout_minutes
    seconds = 60 * (ELEMENT_MINUTES if minutes is None else minutes)
    keeper.watch(harness, log_handler, Stopwatch(seconds) if seconds > 0 else None)
    lifeline.connected()
    with suppress(grpc.RpcError):  # when the task manager leaves, streams break; it matters no more
        harness.run()


def main(arguments: Sequence[str]) -> NoReturn:
    """A worker in a process that was started for it."""
    line = os.dup(1)
    os.dup2(2, 1)
    serve(Order.parse(arguments[0]), line, int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
