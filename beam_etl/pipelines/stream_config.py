"""The flags of a job that can read a stream."""

import re
from dataclasses import dataclass

from beam_etl.io.streams.kafka import EARLIEST, LATEST
from beam_etl.kernels.window_text import parse_duration
from beam_etl.kernels.windows import SECOND
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import FILE, flag

SCHEMES = {"replay": "replay:", "watch": "watch:", "kafka": "kafka://", "pubsub": "pubsub://"}
"""How --input begins, by source."""

NEVER = "never"

SUBSCRIPTION = re.compile(r"projects/[^/\s]+/subscriptions/[^/\s]+")

SPLITS = 4

STREAM_FLAGS = ("stream_splits", "idle_after")
"""What means something for all streams. Other flags begin with the name of their source."""


def source_of(given: tuple[str, ...]) -> str | None:
    """Which stream an --input names; None for files."""
    if given and SUBSCRIPTION.fullmatch(given[0]):  # as Google's console writes it
        return "pubsub"
    return next((name for name, scheme in SCHEMES.items() if given and given[0].startswith(scheme)), None)


@dataclass(frozen=True, kw_only=True)
class StreamConfig(JobConfig):
    """What can be asked of a job whose --input may be a stream: replay:, watch:, kafka:// or pubsub://."""

    stream_splits: int | None = flag(
        "of watch: and replay:, parts that are read at the same time, each with a clock of its own; 4 by default, and "
        "1 of watch: with --idle_after=never, since a part that gets no file would keep all windows open",
        default=None,
    )
    idle_after: str = flag(
        "of a stream, a split or partition that had nothing to read for so long holds no window back; "
        "never waits for it",
        default="1m",
    )
    watch_ready: str = flag(
        "read a file that hasn't changed for so long (10s), or one beside which there is a file with this suffix "
        "(.done)",
        default="10s",
    )
    watch_poll: str = flag("look for new files so often", default="5s")
    kafka_config: str | None = flag(
        "settings of the Kafka client, NAME=VALUE a line, such as security.protocol; workers read it as well",
        default=None,
        unit=FILE,
    )
    kafka_start: str = flag(
        "where a stream without a savepoint begins", default=EARLIEST, choices=(EARLIEST, LATEST)
    )
    avro_schema: tuple[str, ...] = flag(
        "messages of kafka:// and pubsub:// are Avro by this schema, or NUMBER:FILE,... by the number before each "
        "value; else they are JSON",
        default=(),
        unit=FILE,
    )
    replay_disorder: str = flag("documents come up to so much later than their time", default="0s")
    replay_speed: float = flag("seconds of the documents' time a second; 0 is as fast as can be", default=0.0)
    replay_seed: int = flag("of the disorder", default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_scheme()
        if self.splits < 1:
            raise ValueError(f"--stream_splits must be at least 1, got {self.stream_splits}")
        if self.replay_speed < 0 or self.replay_seed < 0:
            raise ValueError("--replay_speed and --replay_seed are 0 or more")
        for name in ("idle_after", "watch_ready", "watch_poll", "replay_disorder"):
            self._microseconds(name)

    def _check_scheme(self) -> None:
        """A flag of another source is a mistake."""
        source, mine = source_of(self.input), set(STREAM_FLAGS)
        for name in StreamConfig.__annotations__:
            if getattr(self, name) == StreamConfig.__dataclass_fields__[name].default:
                continue
            owners = {"avro_schema": ("kafka", "pubsub")}.get(name, (name.partition("_")[0],))
            if (name in mine and source is None) or (name not in mine and source not in owners):
                schemes = " or ".join(SCHEMES[owner] for owner in (SCHEMES if name in mine else owners))
                raise ValueError(f"--{name} needs --input={schemes}...")

    @property
    def splits(self) -> int:
        """--stream_splits."""
        if self.stream_splits is not None:
            return self.stream_splits
        return 1 if source_of(self.input) == "watch" and self.idle is None else SPLITS

    @property
    def idle(self) -> int | None:
        """--idle_after in microseconds; None for never."""
        return self._microseconds("idle_after")

    @property
    def ready(self) -> tuple[float | None, str]:
        """--watch_ready: seconds, or None and a suffix."""
        if self.watch_ready.startswith("."):
            return None, self.watch_ready
        return (self._microseconds("watch_ready") or 0) / SECOND, ""

    @property
    def poll(self) -> float:
        """--watch_poll in seconds."""
        return (self._microseconds("watch_poll") or 0) / SECOND

    @property
    def late_by(self) -> int:
        """--replay_disorder in microseconds."""
        return self._microseconds("replay_disorder") or 0

    def _microseconds(self, name: str) -> int | None:
        value: str = getattr(self, name)
        if (name, value) == ("idle_after", NEVER) or (name == "watch_ready" and value.startswith(".")):
            return None
        try:
            return parse_duration(value)
        except ValueError as error:
            raise ValueError(f"--{name}={value}: {error}") from error
