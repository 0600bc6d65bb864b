"""Errors of reading and writing that pass: tried again, and counted."""

import errno
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from apache_beam.metrics import Metrics

from beam_etl.transforms.metrics import NAMESPACE, READS_RETRIED, WRITES_RETRIED

TRANSIENT = frozenset((errno.EIO, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT))
"""What network filesystems and tired disks answer once, and not the next time."""

TRIES = 5
FIRST_SECONDS = 0.1
"""Before the second try; each further one waits four times as long: 8.5 s in all."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def retried(make: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """The items of `make()`, which is called anew after a transient error, and must give the same ones again.

    Raises:
      OSError: the error is there after TRIES tries without an item in between.
    """
    given, tries = 0, 1
    while True:
        try:
            for item in islice(make(), given, None):
                given, tries = given + 1, 1
                yield item
            return
        except OSError as error:
            _wait(error, tries, READS_RETRIED)
            tries += 1


def patiently(write: Callable[[], Result]) -> Result:
    """What `write()` returns, which is called anew after a transient error: it goes on where it stopped.

    Raises:
      OSError: the error is there after TRIES tries.
    """
    tries = 1
    while True:
        try:
            return write()
        except OSError as error:
            _wait(error, tries, WRITES_RETRIED)
            tries += 1


def _wait(error: OSError, tries: int, counter: str) -> None:
    """Waits for the next try; raises the error where there is none."""
    if error.errno not in TRANSIENT or tries == TRIES:
        raise error
    Metrics.counter(NAMESPACE, counter).inc()
    time.sleep(FIRST_SECONDS * 4 ** (tries - 1))
