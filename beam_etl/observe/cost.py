"""What a batch job would cost on Dataflow, from its plan and a table of assumptions: docs/dataflow.md, "Cost"."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from beam_etl.observe.plan import Plan
from beam_etl.observe.text import format_bytes

GB = 10**9

OTHERS = "others"
"""In place of a job's name, in `vcpu_seconds_per_gb`."""


@dataclass(frozen=True)
class Assumptions:
    """What the figures take for granted. Prices are the list prices of batch jobs in us-central1, in dollars.

    Raises:
      ValueError: one is negative.
    """

    vcpu_seconds_per_gb: Mapping[str, float] = field(
        default_factory=lambda: {
            "token_count": 20.0,
            "dedup": 90.0,
            "domain_score": 130.0,
            "inverted_index": 130.0,
            OTHERS: 60.0,
        }
    )
    """By job, of a stored GB that is read: as measured on two cores with Parquet of zstd (docs/benchmarks.md)."""
    busy: float = 0.5
    """The share of its workers' time in which a job computes: they start, wait for storage, and end together."""
    vcpus_per_worker: float = 4.0
    memory_gb_per_vcpu: float = 4.0
    disk_gb_per_worker: float = 25.0
    shuffle_passes: float = 2.0
    """How often a byte that crosses is billed: when it is written, and when it is read."""
    vcpu_hour: float = 0.056
    memory_gb_hour: float = 0.003557
    disk_gb_hour: float = 0.000054
    shuffle_gb: float = 0.011
    currency: str = "USD"

    def __post_init__(self) -> None:
        numbers = {
            **self.vcpu_seconds_per_gb,
            **{each.name: getattr(self, each.name) for each in fields(self)[1:-1]},
        }
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"{name} has to be a number that isn't negative, got {value!r}")
        if not (self.busy and self.vcpus_per_worker):
            raise ValueError("busy and vcpus_per_worker have to be above 0")


def read_assumptions(path: str) -> Assumptions:
    """The assumptions, with those that a file of JSON names in place of the usual ones.

    Raises:
      ValueError: it can't be read, or names what isn't one. The message says which there are.
    """
    usual = Assumptions()
    known = sorted(asdict(usual))
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        if not isinstance(given, dict) or (strange := sorted(set(given) - set(known))):
            raise ValueError(f"unknown: {', '.join(strange)}" if isinstance(given, dict) else "no object")
        rates = given.get("vcpu_seconds_per_gb", {})
        if not isinstance(rates, dict):
            raise ValueError("vcpu_seconds_per_gb has to be an object of jobs")  # noqa: TRY004
        return replace(usual, **{**given, "vcpu_seconds_per_gb": {**usual.vcpu_seconds_per_gb, **rates}})
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}. It is JSON with some of {', '.join(known)}") from None


@dataclass(frozen=True)
class Cost:
    """What a job would take, and its price."""

    vcpu_hours: float
    memory_gb_hours: float
    disk_gb_hours: float
    shuffle_bytes: int
    """That cross, each counted once a hop."""
    unknown: tuple[str, ...]
    """Shuffles whose bytes nobody estimated."""
    assumed: Assumptions

    @property
    def parts(self) -> dict[str, float]:
        """The price of each thing."""
        prices = self.assumed
        return {
            "vcpu": self.vcpu_hours * prices.vcpu_hour,
            "memory": self.memory_gb_hours * prices.memory_gb_hour,
            "disk": self.disk_gb_hours * prices.disk_gb_hour,
            "shuffle": self.shuffle_bytes / GB * prices.shuffle_passes * prices.shuffle_gb,
        }

    @property
    def price(self) -> float:
        """Of all of it."""
        return sum(self.parts.values())

    def to_json(self) -> dict[str, Any]:
        """For programs: with what was assumed."""
        return {**asdict(self), "parts": self.parts, "price": self.price}

    def to_text(self) -> str:
        """For people."""
        parts, money = self.parts, self.assumed.currency
        shown = ", ".join(f"{name} {_amount(value)}" for name, value in parts.items())
        unknown = (
            f"\nwithout shuffles whose bytes are unknown: {', '.join(self.unknown)}" if self.unknown else ""
        )
        return (
            f"on Dataflow: about {self.vcpu_hours:.3g} vCPU-hours and {format_bytes(self.shuffle_bytes)} shuffled, "
            f"{_amount(self.price)} {money} ({shown}); what that assumes, and how to replace it: docs/dataflow.md"
            f"{unknown}"
        )


def cost(plan: Plan, job: str, input_bytes: int, assumed: Assumptions) -> Cost:
    """The cost of a batch job.

    vCPU-hours = stored bytes read / 10^9 x vcpu_seconds_per_gb / busy / 3600. Memory and disk come with vCPUs. Shuffled
    are the plan's bytes, once a hop; not those that cross as files, nor those that cross only if they must.
    """
    rate = assumed.vcpu_seconds_per_gb.get(job, assumed.vcpu_seconds_per_gb[OTHERS])
    hours = input_bytes / GB * rate / assumed.busy / 3600
    moved = [step for step in plan.shuffles if not (step.by_files or step.if_needed)]
    return Cost(
        vcpu_hours=hours,
        memory_gb_hours=hours * assumed.memory_gb_per_vcpu,
        disk_gb_hours=hours / assumed.vcpus_per_worker * assumed.disk_gb_per_worker,
        shuffle_bytes=sum((step.expected_bytes or 0) * step.hops for step in moved),
        unknown=tuple(step.label for step in moved if step.expected_bytes is None),
        assumed=assumed,
    )


def _amount(money: float) -> str:
    return f"{money:,.2f}" if money >= 1 else f"{money:.2g}"
