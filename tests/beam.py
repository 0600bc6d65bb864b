"""Beam in tests: the runner is named, counters are read in one place, and small jobs start quickly."""

from collections.abc import Callable
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms import core

Arguments = tuple[list[str], list[Any]]


def run(*flags: str) -> beam.Pipeline:
    """A pipeline on the in-process batch runner."""
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(list(flags)))


def counters(pipeline: beam.Pipeline, step: str) -> dict[str, int]:
    """Runs the pipeline; our counters summed over all steps below `step`."""
    result = pipeline.run()
    result.wait_until_finish()
    found: dict[str, int] = {}
    for counter in result.metrics().query(MetricsFilter().with_namespace("beam_etl"))["counters"]:
        if counter.key.step.startswith(step):
            found[counter.key.metric.name] = found.get(counter.key.metric.name, 0) + counter.committed
    return found


def look_at_methods_once(patch: pytest.MonkeyPatch) -> None:
    """Lets Beam remember the arguments of a function.

    It asks for those of all methods of a DoFn, several times whenever one is made or a bundle starts: a third of the
    CPU of a job over a few rows.
    """
    look: Callable[[Any], Arguments] = core.get_function_args_defaults
    known: WeakKeyDictionary[Any, Arguments] = WeakKeyDictionary()

    def remember(function: Any) -> Arguments:
        if not isinstance(function, MethodType):
            return look(function)
        found = known.get(function.__func__)
        if found is None:
            found = known[function.__func__] = look(function)
        names, defaults = found
        return [*names], [*defaults]

    patch.setattr(core, "get_function_args_defaults", remember)
