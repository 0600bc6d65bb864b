"""Jobs on streams, while they run: when each pane was published."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from beam_etl.io import manifest
from beam_etl.io.panes import ON_TIME, PANE
from benchmarks.measure import Measured, Run

LOOK_SECONDS = 0.5
STOP_SECONDS = 60

Done = Callable[[list["Published"]], bool]


@dataclass(frozen=True)
class Published:
    """A pane on time."""

    start: int
    end: int
    """Of its window, microseconds since 1970."""
    at: float
    """Seconds since 1970."""


@dataclass
class Stream:
    """A job that runs, and the dataset that it writes."""

    process: "subprocess.Popen[bytes]"
    output: Path
    log: Path
    panes: list[Published] = field(default_factory=list)
    _seen: int = 0

    def wait(self, done: Done, seconds: float) -> list[Published]:
        """The panes, once they are what is waited for.

        Raises:
          RuntimeError: the job has ended, or they aren't by then. The message has the end of what it printed.
        """
        deadline = time.monotonic() + seconds
        while not done(self._look()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{len(self.panes)} panes, and no more came:\n{self.said}")
            time.sleep(LOOK_SECONDS)
        return self.panes

    @property
    def said(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-3000:]

    def _look(self) -> list[Published]:
        for number in manifest.numbers(str(self.output)):
            if number > self._seen:
                self._seen = number
                pane = manifest.version(str(self.output), number).about.get(PANE)
                if pane and pane["timing"] == ON_TIME:
                    at = os.stat(manifest.manifest_path(str(self.output), number)).st_mtime
                    self.panes.append(Published(pane["start"], pane["end"], at))
        return self.panes


@contextmanager
def running(command: Sequence[str], output: Path) -> Iterator[Stream]:
    """A job as long as it is needed; told to stop then, as by Ctrl-C."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield Stream(process, output, Path(log.name))
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()


def ended_at_last(panes: Sequence[Published], end: int) -> float:
    """When all windows up to that which ends then were published, in seconds since 1970."""
    return max(pane.at for pane in panes if pane.end <= end)


def lasted(seconds: float) -> Measured:
    """A part of a stream's time, as a row of a table has it; nothing is known of its memory."""
    return Measured((Run(seconds, 0, 0, ""),))
