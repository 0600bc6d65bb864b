"""WorkerCache: a value is there for who knows its version, and for one at a time."""

import pytest

from beam_etl.transforms import worker_cache
from beam_etl.transforms.worker_cache import WorkerCache


class Held:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def test_a_value_is_taken_once_and_by_its_version_only() -> None:
    cache, value = WorkerCache(), Held(1)
    cache.put("key", 7, value)
    assert cache.take("other", 7) is None
    assert cache.take("key", 7) is value
    assert cache.take("key", 7) is None
    cache.put("key", 7, value)
    assert cache.take("key", 8) is None


def test_keys_that_come_in_turn_and_do_not_all_fit_are_found_as_far_as_they_fit() -> None:
    cache, values = WorkerCache(limit=100), {name: Held(30) for name in "abcd"}
    found = []
    for _ in range(3):
        for name, value in values.items():
            found.append(cache.take(name, 0) is value)
            cache.put(name, 0, value)
    assert found == [False] * 4 + [True, True, True, False] * 2


def test_a_value_that_has_grown_too_large_goes() -> None:
    cache = WorkerCache(limit=100)
    for name in "ab":
        cache.put(name, 0, Held(40))
    cache.put("a", 1, Held(70))
    assert len(cache) == 1
    assert cache.take("a", 1) is None
    cache.put("c", 0, Held(60))
    assert len(cache) == 2


def test_what_nobody_takes_any_more_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_cache, "PATIENCE", 10)
    cache, used = WorkerCache(limit=100), Held(50)
    cache.put("gone", 0, Held(50))
    cache.put("used", 0, used)
    for _ in range(11):
        assert cache.take("used", 0) is used
        cache.put("used", 0, used)
        assert cache.take("new", 0) is None
        cache.put("new", 0, Held(50))
    assert cache.take("new", 0) is not None
    assert cache.take("used", 0) is used
    assert cache.take("gone", 0) is None
