import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import pytest
from apache_beam.internal import pickler

from beam_etl.kernels import process
from beam_etl.kernels.process import NotLoadedError, made_once, once_per_process

made: list[str] = []
gate = threading.Event()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(process, "_slots", {})
    made.clear()
    gate.clear()
    yield
    gate.set()


def adder(name: str, offset: int) -> Callable[[int], int]:
    made.append(name)
    return lambda number: number + offset


def slow(name: str) -> Callable[[], str]:
    made.append(name)
    assert gate.wait(20)
    return lambda: name


def failing_once(name: str) -> Callable[[], str]:
    made.append(name)
    if len(made) == 1:
        raise OSError("no such vocabulary")
    return lambda: name


def test_threads_that_call_together_share_one_kernel() -> None:
    kernels = [once_per_process(slow, "shared") for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(kernel) for kernel in kernels]
        gate.set()
        assert [call.result() for call in calls] == ["shared"] * 8
    assert made == ["shared"]
    assert len({id(kernel.get()) for kernel in kernels}) == 1


def test_making_one_kernel_does_not_hold_up_another() -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(once_per_process(slow, "slow"))
        assert once_per_process(adder, "other", 1)(1) == 2
        assert not waiting.done()
        gate.set()
        assert waiting.result() == "slow"


def test_other_arguments_make_another_kernel() -> None:
    assert once_per_process(adder, "a", 1)(1) == 2
    assert once_per_process(adder, "a", 10)(1) == 11
    assert once_per_process(adder, "a", 1)(2) == 3
    assert made == ["a", "a"]


@pytest.mark.parametrize("library", [pickle, pickler], ids=["pickle", "Beam's"])
def test_a_pickle_carries_the_name_and_not_the_kernel(library: Any) -> None:
    kernel = once_per_process(adder, "pickled", 5)
    assert kernel(1) == 6  # made by now: a lambda, which the standard pickle refuses
    sent = library.dumps(kernel)
    assert len(sent) < 500
    assert library.loads(sent)(2) == 7
    assert made == ["pickled"]


def test_a_factory_that_raises_leaves_nothing_behind() -> None:
    kernel = once_per_process(failing_once, "late")
    with pytest.raises(
        NotLoadedError, match="failing_once failed on this worker: OSError: no such vocabulary"
    ):
        kernel()
    assert kernel() == "late"
    assert kernel() == "late"
    assert made == ["late", "late"]


@pytest.mark.parametrize(
    "factory", [lambda: print, partial(adder, "a", 1)], ids=["a lambda", "a partial, which has no name"]
)
def test_a_factory_without_a_name_is_refused(factory: Callable[[], Callable[[], None]]) -> None:
    with pytest.raises(ValueError, match="a function of a module"):
        once_per_process(factory)


def test_an_argument_that_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        once_per_process(adder, ["a"], 1)


def test_what_is_made_once_is_waited_for() -> None:
    known, both = made_once(slow), threading.Barrier(3)

    def ask() -> Callable[[], str]:
        both.wait(20)
        return known("table")

    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(ask) for _ in range(2)]
        both.wait(20)
        assert not wait(asked, timeout=0.05).done
        gate.set()
    assert asked[0].result() is asked[1].result() is known("table")
    assert made == ["table"]
    assert known("other")() == "other"
