"""Timers of users hold the watermark back on BundleBasedDirectRunner too, as they do on every other engine.

What a timer gives out is stamped with the timer's time, so the steps behind it mustn't be past that before it fires.
Beam's runner leaves that out (see the comment in `direct_userstate.py`), and drops such elements as too late.
"""

from collections.abc import Callable
from typing import Any

from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Duration

RUNNER = "BundleBasedDirectRunner"

_BEFORE = Duration(micros=1)


def hold_for_timers(runner: Any) -> None:
    """Mends the runner, where it is the one that needs it. May be called again."""
    if type(runner).__name__ == RUNNER:
        from apache_beam.runners.direct import transform_evaluator  # a runner that jobs seldom have

        evaluator: Any = transform_evaluator._ParDoEvaluator
        if evaluator.finish_bundle.__module__ != __name__:
            _mend(evaluator)


def _mend(evaluator: Any) -> None:
    finish, fire = evaluator.finish_bundle, evaluator.process_timer

    def finish_bundle(self: Any) -> Any:
        return _finish_and_hold(self, finish)

    def process_timer(self: Any, firing: Any) -> None:
        self.__dict__.setdefault("fired_keys", set()).add(firing.encoded_key)
        fire(self, firing)

    evaluator.finish_bundle, evaluator.process_timer = finish_bundle, process_timer


def _finish_and_hold(evaluator: Any, finish: Callable[[Any], Any]) -> Any:
    """Ends a bundle; the keys that it saw hold the watermark before their earliest timer."""
    context = evaluator.user_state_context
    if context is None:
        return finish(evaluator)
    keys = {encoded for encoded, *_ in context.cached_timers} | getattr(evaluator, "fired_keys", set())
    result = finish(evaluator)
    for key in keys:
        timers = evaluator._step_context.get_keyed_state(key).timers.values()
        waiting = [
            fires
            for of_window in timers
            for (_, domain, _), fires in of_window.items()
            if domain == TimeDomain.WATERMARK
        ]
        result.keyed_watermark_holds[key] = min(waiting) - _BEFORE if waiting else MAX_TIMESTAMP
    return result
