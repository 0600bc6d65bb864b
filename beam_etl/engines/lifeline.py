"""The pipe from an SDK worker to the process that started it: signs of life, and the end of one with the other."""

import ctypes
import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass

BEAT_SECONDS = 1.0
"""Time between two signs of life."""

_PR_SET_PDEATHSIG = 1
_REASON_CHARACTERS = 8000


@dataclass(frozen=True)
class Order:
    """A worker that a task manager asked for. Addresses are HOST:PORT; an empty one is told by the provision service.

    Ids are not unique: every task manager counts its own from 1-1.
    """

    id: str
    provision: str
    control: str = ""
    logging: str = ""
    artifacts: str = ""

    def __str__(self) -> str:
        return f"{self.id} of {self.control or self.provision}"

    def text(self) -> str:
        """The order in one line, as `parse` takes it."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Order":
        return cls(**json.loads(text))


class Lifeline:
    """A worker's end. It is written to by any thread; when nobody is left at the other end, the process ends."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lock = threading.Lock()

    def beat(self) -> None:
        self._tell({})

    def connected(self) -> None:
        """The task manager has been reached."""
        self._tell({"connected": True})

    def failed(self, reason: str) -> None:
        """Why the worker is about to end."""
        self._tell({"failed": reason[-_REASON_CHARACTERS:]})

    def _tell(self, sign: dict[str, object]) -> None:
        with self._lock:
            try:
                os.write(self._file, json.dumps(sign).encode() + b"\n")
            except OSError:  # nobody reads: the starter is gone
                os._exit(1)


def end_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends, by whatever cause. Linux; elsewhere nothing is done.

    Args:
      parent: process id. If it isn't the parent any more, this process ends now.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
