"""In process: how often a stage is made, and what Beam is told of methods that it has looked at before."""

import inspect
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import core

from beam_etl.engines.in_process import FnApiRunner
from beam_etl.engines.method_arguments import look_up_once

WORKERS = 2

made: list[int] = []


class Double(beam.DoFn):
    def setup(self) -> None:
        made.append(1)

    def process(self, element: int, window: Any = beam.DoFn.WindowParam) -> Iterator[int]:
        yield element * 2


class Triple(Double):
    def process(self, element: int, times: int = 3) -> Iterator[int]:
        yield element * times


@pytest.mark.parametrize(
    ("elements", "times"), [(0, 1), (1, 1), (50, WORKERS)], ids=["no elements", "one", "many"]
)
def test_a_stage_is_made_for_the_workers_that_get_elements(elements: int, times: int) -> None:
    made.clear()
    options = PipelineOptions([f"--direct_num_workers={WORKERS}"])
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        numbers = (
            pipeline
            | beam.Create([elements])
            | beam.FlatMap(lambda most: range(most))
            | beam.Map(lambda number: (number, number))
            | beam.GroupByKey()  # a stage ends here
            | beam.Keys()
        )
        assert_that(numbers | beam.ParDo(Double()), equal_to([2 * number for number in range(elements)]))
    assert len(made) == times


@pytest.mark.parametrize("name", ["process", "setup", "start_bundle", "display_data", "from_callable"])
@pytest.mark.parametrize(
    "fn", [Double(), Triple(), core.CallableWrapperDoFn(abs)], ids=["own", "inherited", "callable"]
)
def test_arguments_that_are_known_are_those_of_the_method(fn: beam.DoFn, name: str) -> None:
    look_up_once()
    method = abs if isinstance(fn, core.CallableWrapperDoFn) and name == "process" else getattr(fn, name)
    own = [each for each in inspect.signature(method).parameters.values() if each.kind < each.VAR_POSITIONAL]
    expected = ([each.name for each in own], [each.default for each in own if each.default is not each.empty])
    for _ in range(2):
        names, defaults = core.get_function_arguments(fn, name)
        assert (names, defaults) == expected
        names.clear()  # the caller's own


def test_a_method_is_looked_at_once_however_often_its_class_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, look = list[str](), core.get_function_args_defaults
    monkeypatch.setattr(
        core, "get_function_args_defaults", lambda method: looked.append(method.__qualname__) or look(method)
    )
    look_up_once.__wrapped__()  # in this process it was called before
    for fn in (Double(), Double(), Triple(), Triple()):
        for name in ("process", "setup"):
            core.get_function_arguments(fn, name)
    assert looked == ["Double.process", "Double.setup", "Triple.process"]
