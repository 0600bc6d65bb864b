"""The closing lines of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beam_etl.observe.skew import ShuffleSkew, skew_lines
from beam_etl.observe.text import format_bytes, format_seconds


@dataclass(frozen=True)
class Summary:
    """What a finished run did."""

    rows_read: int | None
    """Documents passed on by reading; None where the engine tells no counters."""
    input_bytes: int
    tables: Mapping[str, int]
    """Rows of each table that was written."""
    output_bytes: int
    seconds: float
    output: str
    crossed_bytes: int | None = None
    """Bytes that crossed shuffles, in both hops where there are two; None where the engine tells no counters."""
    slices: int = 0
    """Elements that they were."""
    skipped_bytes: int = 0
    """Stored bytes of which the files tell that no row there is asked for."""
    skews: Sequence[ShuffleSkew] = ()
    """What the partitions of each shuffle were."""

    def to_text(self) -> str:
        """A few lines for people."""
        rate = format_bytes(self.input_bytes / max(self.seconds, 1e-9))
        read = "read" if self.rows_read is None else f"read {self.rows_read:,} documents,"
        skipped = f"skipped unread: {format_bytes(self.skipped_bytes)}\n" if self.skipped_bytes else ""
        tables = ", ".join(f"{name} {rows:,}" for name, rows in self.tables.items())
        crossed = ""
        if self.crossed_bytes is not None:
            noun = "slice" if self.slices == 1 else "slices"
            crossed = f"crossed shuffles: {format_bytes(self.crossed_bytes)} in {self.slices:,} {noun}\n"
        crossed += "".join(f"{line}\n" for line in skew_lines(self.skews))
        return (
            f"{read} {format_bytes(self.input_bytes)} in {format_seconds(self.seconds)} ({rate}/s)\n"
            f"{skipped}{crossed}rows written: {tables} ({format_bytes(self.output_bytes)})\n"
            f"output: {self.output}"
        )
