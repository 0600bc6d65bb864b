"""A job one of whose elements does harm, once: `python -m tests.engines.hanging HARM FOLDER FLAGS`."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def freeze() -> None:
    """The process takes no step any more."""
    os.kill(os.getpid(), signal.SIGSTOP)


def keep_the_lock() -> None:
    """Native code that never gives Python's lock back."""
    ctypes.PyDLL(None).pause()


def wait_natively() -> None:
    """Native code that never returns; the rest of the process goes on."""
    ctypes.CDLL(None).pause()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


HARMS = {harm.__name__: harm for harm in (freeze, keep_the_lock, wait_natively, die)}


class DoHarmOnce(beam.DoFn):
    def __init__(self, harm: str, folder: str) -> None:
        self._harm = harm
        self._mark = Path(folder, "harmed")

    def process(self, number: int) -> Iterator[tuple[int, int]]:
        if number == 50 and not self._mark.exists():
            self._mark.touch()
            HARMS[self._harm]()
        yield number % 5, number


def main(harm: str, folder: str, flags: list[str]) -> None:
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        (
            pipeline
            | beam.Create(range(100))
            | beam.Reshuffle()
            | beam.ParDo(DoHarmOnce(harm, folder))
            | beam.CombinePerKey(sum)
            | beam.MapTuple(
                lambda key, total: Path(folder, f"total-{key}").write_text(str(total), encoding="utf-8")
            )
        )


if __name__ == "__main__":
    from tests.engines import hanging  # so that workers know its classes by that name

    hanging.main(sys.argv[1], sys.argv[2], sys.argv[3:])
