"""Beam's metrics of a job, in what Flink's REST tells of its accumulators."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Key = tuple[str, str, str]
"""Transform, namespace, name."""

_COUNTER = "beam:metric:user:sum_int64:v1"
_DISTRIBUTION = "beam:metric:user:distribution_int64:v1"


class Distribution(NamedTuple):
    """Some values."""

    number: int
    total: int
    smallest: int
    largest: int

    def with_values_of(self, other: "Distribution") -> "Distribution":
        """The values of both."""
        return Distribution(
            self.number + other.number,
            self.total + other.total,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
        )


class UserMetrics(NamedTuple):
    """Those that Beam's users count, over all tasks."""

    counters: Mapping[Key, int]
    distributions: Mapping[Key, Distribution]


def user_metrics(accumulators: Mapping[str, Any]) -> UserMetrics:
    """From the answer to `/jobs/ID/accumulators`."""
    counters: dict[Key, int] = {}
    distributions: dict[Key, Distribution] = {}
    for info in _infos(accumulators):
        labels = info["labels"]
        if info["urn"] == _COUNTER:
            key = labels["PTRANSFORM"], labels["NAMESPACE"], labels["NAME"]
            (value,) = _integers(info)
            counters[key] = counters.get(key, 0) + value
        elif info["urn"] == _DISTRIBUTION:
            key = labels["PTRANSFORM"], labels["NAMESPACE"], labels["NAME"]
            found = Distribution(*_integers(info))
            if found.number:
                distributions[key] = (
                    found.with_values_of(distributions[key]) if key in distributions else found
                )
    return UserMetrics(counters, distributions)


def _infos(accumulators: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for accumulator in accumulators["user-task-accumulators"]:
        if accumulator["type"] == "MetricsAccumulator":
            yield from json.loads(accumulator["value"])["metrics"].get("attempted", [])


def _integers(info: Mapping[str, Any]) -> Iterator[int]:
    """Of Beam's encoding: 7 bits a byte, the lowest first, 64 in all with the sign."""
    number = shift = 0
    for byte in base64.b64decode(info["payload"]):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number - (1 << 64) if number >> 63 else number
            number = shift = 0
