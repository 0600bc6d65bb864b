"""The skew of each shuffle, from the metrics of a run."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from apache_beam.metrics.metric import MetricResults

from beam_etl.observe.skew import ShuffleSkew, Sizes
from beam_etl.transforms.metrics import (
    HOT_BY_BYTES,
    HOT_BY_ROWS,
    PARTITION_BYTES,
    PARTITION_ROWS,
    PARTITIONS,
)
from beam_etl.transforms.partition_sizes import SIZES

_INNER = re.compile(rf"/{SIZES}$|/ParDo\(\w+\)$")
"""What a step is called inside the one that has a label."""


def shuffle_skews(metrics: MetricResults) -> list[ShuffleSkew]:
    """What the partitions of each shuffle were; none where the engine doesn't tell.

    The mean is over all partitions of a shuffle. In windows each has as many as it had, empty ones not counted.
    """
    steps: defaultdict[str, dict[tuple[str, str], Any]] = defaultdict(dict)
    for found in metrics.query()["distributions"]:
        if found.key.step and found.result is not None and found.result.count:  # Beam's own are of no step
            steps[found.key.step][found.key.metric.namespace, found.key.metric.name] = found.result
    return [_skew(step, found) for step, found in sorted(steps.items()) if _named(found, PARTITION_ROWS)]


def _skew(step: str, found: Mapping[tuple[str, str], Any]) -> ShuffleSkew:
    rows, size, all_of_them = (_named(found, name) for name in (PARTITION_ROWS, PARTITION_BYTES, PARTITIONS))
    return ShuffleSkew(
        label=_INNER.sub("", step),
        partitions=max(rows.count, all_of_them.max if all_of_them else 0),
        rows=_sizes(rows, HOT_BY_ROWS, found),
        bytes=_sizes(size, HOT_BY_BYTES, found),
    )


def _sizes(distribution: Any, namespace: str, found: Mapping[tuple[str, str], Any]) -> Sizes:
    keys = [(result.max, name) for (space, name), result in found.items() if space == namespace]
    hot, key = max(keys, default=(0, None))
    return Sizes(distribution.sum, distribution.max, key, hot)


def _named(found: Mapping[tuple[str, str], Any], name: str) -> Any:
    return next((result for (_, own), result in found.items() if own == name), None)
