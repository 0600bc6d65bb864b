"""In process: how often a stage is made, and what Beam is told of methods that it has looked at before."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import core, userstate
from apache_beam.typehints.decorators import IOTypeHints

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


def keep_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `look_up_once` changes is put back after the test."""
    for module, name in (
        (core, "get_function_args_defaults"),
        (core, "_check_fn_use_yield_and_return"),
        (userstate, "get_dofn_specs"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(IOTypeHints, "from_callable", staticmethod(IOTypeHints.from_callable))


def test_a_method_is_looked_at_once_however_often_its_class_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, look = list[str](), core.get_function_args_defaults
    monkeypatch.setattr(
        core, "get_function_args_defaults", lambda method: looked.append(method.__qualname__) or look(method)
    )
    keep_as_they_are(monkeypatch)
    look_up_once.__wrapped__()  # in this process it was called before
    for fn in (Double(), Double(), Triple(), Triple()):
        for name in ("process", "setup"):
            core.get_function_arguments(fn, name)
    assert looked == ["Double.process", "Double.setup", "Triple.process"]


SUM = userstate.CombiningValueStateSpec("sum", VarIntCoder(), sum)
LAST = userstate.ReadModifyWriteStateSpec("last", VarIntCoder())


TOTAL, LATEST = beam.DoFn.StateParam(SUM), beam.DoFn.StateParam(LAST)


class Remember(beam.DoFn):
    def process(self, pair: tuple[int, int], last: Any = LATEST) -> Iterator[int]:
        yield last.read() or 0
        last.write(pair[1])


class Adder:
    def add_up(self, pair: tuple[int, int], total: Any = TOTAL) -> list[int]:
        return [total.read()]

    def add(self, pair: tuple[int, int]) -> list[int]:
        return [sum(pair)]


def guarded(fn: beam.DoFn) -> beam.DoFn:
    """As `with_exception_handling` wraps it."""
    made: beam.DoFn = core._ExceptionHandlingWrapperDoFn(fn, "bad", Exception, False, None, True)
    return made


STATES: dict[str, tuple[Callable[[], beam.DoFn], set[Any]]] = {
    "none": (Double, set()),
    "of a class": (Remember, {LAST}),
    "of a callable": (lambda: core.CallableWrapperDoFn(Adder().add_up), {SUM}),
    "of another callable": (lambda: core.CallableWrapperDoFn(Adder().add), set()),
    "of what is guarded": (lambda: guarded(Remember()), {LAST}),
    "of another that is guarded": (lambda: guarded(Double()), set()),
}


@pytest.mark.parametrize(("make", "states"), STATES.values(), ids=STATES)
def test_states_that_are_known_are_those_of_the_dofn(make: Callable[[], beam.DoFn], states: set[Any]) -> None:
    look_up_once()
    for _ in range(2):
        found, timers = userstate.get_dofn_specs(make())
        assert (found, timers) == (states, set())
        found.add("one more")  # the caller's own


def test_a_class_is_looked_at_for_states_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, look = list[str](), userstate.get_dofn_specs
    monkeypatch.setattr(userstate, "get_dofn_specs", lambda fn: looked.append(type(fn).__name__) or look(fn))
    keep_as_they_are(monkeypatch)
    look_up_once.__wrapped__()
    adder = Adder()
    wrapped = [core.CallableWrapperDoFn(fn) for fn in (adder.add_up, adder.add, abs, adder.add_up)]
    for fn in (Double(), Double(), Remember(), Triple(), Remember(), *wrapped):
        userstate.get_dofn_specs(fn)
    own = ["CallableWrapperDoFn"] * 3  # those with a state, and one that stands for all others
    assert looked == ["Double", "Remember", "Triple", *own]
