"""JudgeRejects: whether a run may be published, given what it couldn't read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl.io.access import compression, open_file
from beam_etl.io.changes import CHANGED
from beam_etl.io.errors import is_content_error
from beam_etl.io.formats import format_of
from beam_etl.io.formats.base import EXPANSION
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.shuffle import Gather

TOO_MANY = "too many rejects"
"""How the reason begins that ends a job with the exit code for it."""

MAX_FRACTION = 0.01
"""Rejected bytes of bytes read: more is rather a wrong flag, or somebody's mistake in making the files."""

NAMED = 20
"""Files that a bundle names, those with the most rejected bytes first; and a verdict half as many."""


@dataclass(eq=False, kw_only=True)
class JudgeRejects(beam.PTransform):
    """Reasons against publishing, as WriteDataset takes them: no more rejects than are allowed, and no changed input.

    No shuffle: each bundle tells a few sums and names. A record of a compressed or columnar file counts a part of its
    bytes, EXPANSION times less, since those that were read are the stored ones; a file counts as a whole at most.

    Input: batches of schema.REJECT. Output: a line for people each, none where nothing speaks against it.

    Args:
      input_bytes: stored bytes of all files.
      max_fraction: of them that may be rejected, 0 to 1.
      strict: none may be.

    Raises:
      ValueError: a fraction out of range.
    """

    input_bytes: int
    max_fraction: float = MAX_FRACTION
    strict: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        if not 0 <= self.max_fraction <= 1:
            raise ValueError(f"max_fraction is between 0 and 1, got {self.max_fraction}")

    def expand(self, rejects: Batches) -> beam.PCollection[str]:
        return (
            rejects
            | "Weigh" >> beam.ParDo(_Weigh()).with_output_types(bytes)
            | "Gather" >> Gather()
            | "Judge" >> beam.FlatMap(self._judge).with_output_types(str)
        )

    def _judge(self, packed: list[bytes]) -> Iterator[str]:
        told = _Told()
        for piece in packed:
            told.add(json.loads(piece))
        yield from told.changed
        fraction = min(1.0, told.bytes / max(self.input_bytes, 1))
        if told.rejects and self.strict:
            yield f"{TOO_MANY}: --strict=true allows none, and there {told.summary()}"
        elif told.rejects and fraction > self.max_fraction:
            yield (
                f"{TOO_MANY}: {fraction:.2%} of the {self.input_bytes:,} bytes that were read, and "
                f"--max_reject_fraction={self.max_fraction:g} allows {self.max_fraction:.2%}. There {told.summary()}. "
                f"Mend the input, or publish what can be read, with all of these in the table rejects, by "
                f"--max_reject_fraction={_above(fraction)}."
            )


def _above(fraction: float) -> str:
    """A fraction that would do, in two digits."""
    for allowed in (0.02, 0.05, 0.1, 0.2, 0.5):
        if fraction <= allowed:
            return f"{allowed:g}"
    return "1"


@dataclass
class _Told:
    """What some bundles tell together."""

    rejects: int = 0
    bytes: int = 0
    files: dict[str, list[Any]] = field(default_factory=dict)
    """Of each file its rejected bytes, their number, and the first reason."""
    changed: set[str] = field(default_factory=set)

    def add(self, other: dict[str, Any]) -> None:
        self.rejects += other["rejects"]
        self.bytes += other["bytes"]
        self.changed |= set(other["changed"])
        for path, (size, count, reason) in other["files"].items():
            known = self.files.setdefault(path, [0, 0, reason])
            known[0] += size
            known[1] += count
            known[2] = min(known[2], reason)

    def first(self, most: int) -> dict[str, list[Any]]:
        """The files with the most rejected bytes."""
        ranked = sorted(self.files.items(), key=lambda item: (-item[1][0], item[0]))
        return dict(ranked[:most])

    def summary(self) -> str:
        """How many rejects, in which files, and why."""
        named = self.first(NAMED // 2)
        more = "" if len(named) == len(self.files) else "; and more files"
        shown = "; ".join(f"{path}: {count:,} ({reason})" for path, (_, count, reason) in named.items())
        return f"{'is 1' if self.rejects == 1 else f'are {self.rejects:,}'}: {shown}{more}"


class _Weigh(beam.DoFn):
    """What a bundle's rejects come to."""

    def start_bundle(self) -> None:
        self._told = _Told()
        self._packed: dict[str, bool] = {}

    def process(self, batch: pa.RecordBatch) -> None:
        columns = (batch.column(name).to_pylist() for name in ("file", "reason", "rows", "bytes"))
        for path, reason, rows, size in zip(*columns, strict=True):
            if reason.startswith(CHANGED):
                self._told.changed.add(f"{path}: {reason}")
                continue
            packed = self._packed.setdefault(path, _is_packed(path))
            known = self._told.files.setdefault(path, [0, 0, reason])
            known[0] += size // EXPANSION if packed and rows == 1 else size
            known[1] += 1
            self._told.rejects += 1

    def finish_bundle(self) -> Iterator[WindowedValue]:
        told = self._told
        if not told.rejects and not told.changed:
            return
        for path, known in told.files.items():
            known[0] = min(known[0], _stored_bytes(path, known[0]))
            told.bytes += known[0]
        packed = {
            "rejects": told.rejects,
            "bytes": told.bytes,
            "files": told.first(NAMED),
            "changed": sorted(told.changed)[:NAMED],
        }
        yield WindowedValue(json.dumps(packed).encode(), MIN_TIMESTAMP, (GlobalWindow(),))


def _is_packed(path: str) -> bool:
    """Whether records take more bytes than they do in the file."""
    known = format_of(path)
    return bool(compression(path)) or (known is not None and not known.compressible)


def _stored_bytes(path: str, otherwise: int) -> int:
    try:
        with open_file(path) as file:
            return int(file.size())
    except (OSError, BeamIOError) as error:
        if is_content_error(error):
            raise
        return otherwise
