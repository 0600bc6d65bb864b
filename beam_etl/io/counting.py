"""Counters that are held back until what they count is done: it may be made again, by another process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from apache_beam.metrics import Metrics
from apache_beam.metrics.execution import MetricsContainer
from apache_beam.runners.worker import statesampler
from apache_beam.utils.counters import CounterFactory

Counts: TypeAlias = dict[tuple[str, str], int]
"""Namespace and name of a counter -> what it counted."""


@contextmanager
def counting(counts: Counts) -> Iterator[None]:
    """What Beam's counters count inside, in this thread, goes to `counts`, once that ends without an error."""
    before, container = statesampler.get_current_tracker(), MetricsContainer("")
    sampler = statesampler.StateSampler("", CounterFactory())
    statesampler.set_current_tracker(sampler)
    try:
        with sampler.scoped_state("", "", metrics_container=container):
            yield
    finally:
        statesampler.set_current_tracker(before)
    for key, value in container.get_cumulative().counters.items():
        counts[key.metric.namespace, key.metric.name] = value


def count_all(counts: Counts) -> None:
    """Counts all of it for the step that this thread works for."""
    for (namespace, name), value in counts.items():
        Metrics.counter(namespace, name).inc(value)
