"""WorkerCache: a value is there for who knows its version, and for one at a time."""

from typing import Any

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


def test_what_was_used_longest_ago_goes_where_all_are_too_large() -> None:
    cache = WorkerCache(limit=100)
    values: dict[str, Any] = {name: Held(40) for name in "abc"}
    cache.put("a", 0, values["a"])
    cache.put("b", 0, values["b"])
    cache.put("a", 0, cache.take("a", 0) or values["b"])
    cache.put("c", 0, values["c"])
    assert len(cache) == 2
    assert cache.take("b", 0) is None
    assert cache.take("a", 0) is values["a"]
    cache.put("large", 0, Held(1000))
    assert cache.take("large", 0) is None
