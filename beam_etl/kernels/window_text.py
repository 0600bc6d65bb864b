"""Windows as users write them: `fixed:10m`, `sliding:1h:10m`, `90s`, `1000`."""

import re

from beam_etl.kernels.windows import FIXED, SLIDING, UNITS, Firing, WindowSpec

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")

SESSIONS = (
    "session windows end where a key was silent: each row has windows of its own, for each key, until they are merged. "
    "Here the rows of a batch share their windows, and a batch holds many keys. Use --window=sliding:SIZE:PERIOD, or "
    "group by a session's id where the data has one"
)
"""Why there are none."""


def parse_duration(text: str) -> int:
    """`10m` in microseconds.

    Raises:
      ValueError: it is none, or has no unit.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError(f"{text!r} is no duration: write 500ms, 90s, 10m, 1h30m or 7d")
    return round(sum(float(number) * UNITS[unit] for number, unit in parts))


def parse_firing(text: str) -> Firing:
    """`1m`, of processing time, or `1000`, elements.

    Raises:
      ValueError: it is neither, or 0.
    """
    if text.isdecimal():
        return Firing(count=int(text))
    return Firing(every=parse_duration(text))


def parse_window(
    text: str,
    *,
    offset: int = 0,
    allowed_lateness: int = 0,
    early_firing: Firing | None = None,
    late_firing: Firing | None = None,
    accumulation: str = WindowSpec.accumulation,
) -> WindowSpec:
    """`fixed:SIZE` or `sliding:SIZE:PERIOD`, with what other flags say.

    Raises:
      ValueError: it is neither, asks for sessions, or is out of range.
    """
    kind, *durations = text.split(":")
    if kind.startswith("session"):
        raise ValueError(f"{text!r}: {SESSIONS}.")
    if (kind, len(durations)) not in ((FIXED, 1), (SLIDING, 2)):
        raise ValueError(
            f"{text!r} are no windows: write fixed:10m, or sliding:1h:10m for an hour every 10 minutes"
        )
    size, *rest = map(parse_duration, durations)
    return WindowSpec(
        kind=kind,
        size=size,
        period=rest[0] if rest else size,
        offset=offset,
        allowed_lateness=allowed_lateness,
        early_firing=early_firing,
        late_firing=late_firing,
        accumulation=accumulation,
    )
