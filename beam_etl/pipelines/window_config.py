"""The flags of a job that can work window by window."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.kernels.window_text import parse_duration, parse_firing, parse_window
from beam_etl.kernels.windows import ACCUMULATING, DISCARDING, WindowSpec
from beam_etl.pipelines.flags import flag
from beam_etl.pipelines.stream_config import StreamConfig

Parsed = TypeVar("Parsed")

STREAM_PARTITIONS = 8
"""Of a shuffle on a stream, whose size nobody knows: a pane has a file for each. At most 256 MiB of a window's partial
results cross it, on Flink."""

WINDOW_FLAGS = (
    "window_offset",
    "allowed_lateness",
    "early_firing",
    "late_firing",
    "accumulation",
    "max_disorder",
)
"""What means nothing without --window."""


@dataclass(frozen=True, kw_only=True)
class WindowConfig(StreamConfig):
    """What can be asked of a job whose results can be by window of event time."""

    WITHOUT_WINDOWS: ClassVar[tuple[str, ...]] = ()
    """Flags of the job that say nothing with --window."""

    window: str | None = flag(
        "results by window of the documents' time: fixed:10m, or sliding:1h:10m for an hour every 10 minutes",
        default=None,
    )
    window_offset: str = flag("windows start so much later than at multiples of their period", default="0s")
    allowed_lateness: str = flag(
        "of a stream, take rows until their split's clock is so far behind their window's end", default="0s"
    )
    early_firing: str | None = flag(
        "of a stream, a pane before the window's end, so long after a first row (1m), or whenever a partition has so "
        "many more slices (1000)",
        default=None,
    )
    late_firing: str | None = flag(
        "of a stream, the same after the window's end, instead of a pane for each late slice", default=None
    )
    accumulation: str = flag(
        "of a stream, whether a pane holds all of its window so far, or only what no pane held before",
        default=ACCUMULATING,
        choices=(ACCUMULATING, DISCARDING),
    )
    max_disorder: str = flag(
        "of a stream, how far behind the largest time of its split a row may be: windows end so much later",
        default="1m",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        changed = [name for name in WINDOW_FLAGS if getattr(self, name) != getattr(WindowConfig, name)]
        if self.window is None and changed:
            raise ValueError(f"--{changed[0]} needs --window")
        self.window_spec  # noqa: B018 - windows that can't be are told at once
        self.disorder  # noqa: B018

    @property
    def window_spec(self) -> WindowSpec | None:
        """What --window and the flags beside it say."""
        if self.window is None:
            return None
        firings = [self._read(name, parse_firing) for name in ("early_firing", "late_firing")]
        offset, lateness = (
            self._read(name, parse_duration) for name in ("window_offset", "allowed_lateness")
        )
        return self._read(
            "window",
            lambda text: parse_window(
                text,
                offset=offset or 0,
                allowed_lateness=lateness or 0,
                early_firing=firings[0],
                late_firing=firings[1],
                accumulation=self.accumulation,
            ),
        )

    @property
    def accumulates(self) -> bool:
        """Whether a stream's results supersede each other, partition by partition."""
        return self.window is not None and self.accumulation == ACCUMULATING

    @property
    def disorder(self) -> int:
        """--max_disorder in microseconds."""
        return self._read("max_disorder", parse_duration) or 0

    def read_as(
        self, needed: Iterable[str], carry: tuple[str, ...] | str = (), optional: tuple[str, ...] = ()
    ) -> Columns:
        """As of any job, and with windows the time."""
        return super().read_as(
            (*needed, *((schema.TIME,) if self.window is not None else ())), carry, optional
        )

    def _read(self, name: str, parse: Callable[[str], Parsed]) -> Parsed | None:
        value: str | None = getattr(self, name)
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"--{name}={value}: {error}") from error
