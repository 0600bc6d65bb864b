"""Timers of users hold the watermark back on BundleBasedDirectRunner too, as they do on every other engine.

What a timer gives out is stamped with the timer's time, so the steps behind it mustn't be past that before it fires.
Beam's runner leaves that out (see the comment in `direct_userstate.py`), and drops such elements as too late.
"""

from typing import Any

from apache_beam.runners.direct import transform_evaluator
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Duration

RUNNER = "BundleBasedDirectRunner"

_BEFORE = Duration(micros=1)
_evaluator: Any = transform_evaluator._ParDoEvaluator
_finish_bundle = _evaluator.finish_bundle
_process_timer = _evaluator.process_timer


def hold_for_timers(runner: Any) -> None:
    """Mends the runner, where it is the one that needs it. May be called again."""
    if type(runner).__name__ == RUNNER:
        _evaluator.finish_bundle = _finish_and_hold
        _evaluator.process_timer = _note_and_process


def _note_and_process(self: Any, firing: Any) -> None:
    self.__dict__.setdefault("fired_keys", set()).add(firing.encoded_key)
    _process_timer(self, firing)


def _finish_and_hold(self: Any) -> Any:
    context = self.user_state_context
    if context is None:
        return _finish_bundle(self)
    keys = {encoded for encoded, *_ in context.cached_timers} | getattr(self, "fired_keys", set())
    result = _finish_bundle(self)
    for key in keys:
        timers = self._step_context.get_keyed_state(key).timers.values()
        waiting = [
            fires
            for of_window in timers
            for (_, domain, _), fires in of_window.items()
            if domain == TimeDomain.WATERMARK
        ]
        result.keyed_watermark_holds[key] = min(waiting) - _BEFORE if waiting else MAX_TIMESTAMP
    return result
