"""Whether what crosses a job's shuffles fits into memory, where Beam's runner in process holds all of it."""

from beam_etl.observe.plan import Plan
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.flags import UsageError

SHARE = 0.6
"""Of the free memory: batches, kernels and files that are being written need the rest."""


def refuse_too_large(drawn: Plan, free: int | None = None) -> None:
    """Refuses a job before it starts.

    Args:
      drawn: its plan. Shuffles whose bytes nobody estimated count nothing, nor those whose rows cross as files or only
        if they must.
      free: bytes of memory; None for those that are free now. Where that can't be known nothing is refused.

    Raises:
      UsageError: more is expected to cross than there is room for. It has the figures, and what to do.
    """
    available = free_memory() if free is None else free
    held = [step for step in drawn.shuffles if not (step.by_files or step.if_needed)]
    crossing = {step.label: (step.expected_bytes or 0) * step.hops for step in held}
    expected = sum(crossing.values())
    if available is None or expected <= SHARE * available:
        return
    largest = max(crossing, key=lambda label: crossing[label])
    raise UsageError(
        f"about {format_bytes(expected)} will cross shuffles, most of it {largest!r} "
        f"({format_bytes(crossing[largest])}), and --runner=direct holds all of it in memory, of which "
        f"{format_bytes(available)} are free: {SHARE:.0%} of that may be used. Use --runner=flink, which keeps it on "
        f"disk, or a part of the input; --force=true runs it all the same."
    )


def free_memory() -> int | None:
    """Bytes that this process can still have, of the machine or of its container; None where neither tells."""
    found = [bytes for bytes in (_of_machine(), _of_container()) if bytes is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            told = dict(line.split(":", 1) for line in lines)
        return int(told["MemAvailable"].split()[0]) << 10
    except (OSError, LookupError, ValueError):
        return None


def _of_container() -> int | None:
    """What its limit leaves. Pages of files, which go when they are needed, are no use."""
    try:
        most, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
        with open("/sys/fs/cgroup/memory.stat", encoding="ascii") as lines:
            told = dict(line.split() for line in lines)
        return most - used + int(told["inactive_file"])
    except (OSError, LookupError, ValueError):  # no container, or one without a limit
        return None


def _number(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())
