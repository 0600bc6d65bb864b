"""Requests to an object store that fail, or whose answer is lost: what is asked again, and what is made of it."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError

from beam_etl.io.stores import objects, store_of
from beam_etl.io.stores.objects import TRIES


class LostError(Exception):
    """What the library says of an answer that didn't come."""

    def __init__(self) -> None:
        super().__init__("HTTP error: error decoding response body")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], None]:
    """Puts a function in the place of one of the library, which it is given first."""

    def replace(name: str, function: Callable[..., Any]) -> None:
        theirs = getattr(obstore, name)
        monkeypatch.setattr(obstore, name, lambda *args, **named: function(theirs, *args, **named))

    return replace


@pytest.mark.parametrize("ends", [1, 3, TRIES], ids="{} times".format)
def test_a_list_that_fails_on_its_second_page_is_whole_or_told(
    memory_bucket: str, failing: Callable[..., None], ends: int
) -> None:
    store, wanted = store_of(memory_bucket), [f"{memory_bucket}/in/{number:03}" for number in range(40)]
    for path in wanted:
        store.create(path, b"x")
    failures = iter(range(ends))

    def listed(theirs: Callable[..., Any], *args: Any, **named: Any) -> Iterator[Any]:
        """Ends after an error, as the library's do."""
        pages = iter(theirs(*args, **{**named, "chunk_size": 10}))
        if not named["offset"]:
            yield next(pages)
        if next(failures, None) is not None:
            raise LostError
        yield from pages

    failing("list", listed)
    found = store.files(f"{memory_bucket}/in")
    if ends < TRIES:
        assert [each.path for each in found] == wanted
    else:
        with pytest.raises(OSError, match="error decoding"):
            list(found)


@pytest.mark.parametrize("succeeds", [True, False], ids=["and creates it", "and fails"])
def test_an_object_that_another_is_creating_is_waited_for(
    memory_bucket: str, failing: Callable[..., None], succeeds: bool
) -> None:
    """The first answer is S3's `ConditionalRequestConflict`: the other's request hasn't ended."""
    store, path = store_of(memory_bucket), f"{memory_bucket}/a"
    requests = iter(["conflict"])

    def put(theirs: Callable[..., Any], client: Any, key: str, content: bytes, **named: Any) -> Any:
        if next(requests, None) is None:
            return theirs(client, key, content, **named)
        if succeeds:
            theirs(client, key, b"the other's")
        raise AlreadyExistsError("status code: 409 ConditionalRequestConflict")

    failing("put", put)
    assert store.create(path, b"ours") != succeeds
    assert store.read(path) == (b"the other's" if succeeds else b"ours")


def test_an_object_that_is_never_there_nor_can_be_created_is_an_error(
    memory_bucket: str, failing: Callable[..., None]
) -> None:
    def put(*_: Any, **__: Any) -> Any:
        raise AlreadyExistsError("status code: 409 ConditionalRequestConflict")

    failing("put", put)
    with pytest.raises(OSError, match="being created by another"):
        store_of(memory_bucket).create(f"{memory_bucket}/a", b"ours")


def _deaf(theirs: Callable[..., Any], client: Any, key: str, content: bytes, **named: Any) -> Any:
    return theirs(client, key, content, **{**named, "mode": "overwrite"})


LOST: dict[str, tuple[Callable[..., Any], bool]] = {
    "a store that knows preconditions": (lambda theirs, *args, **named: theirs(*args, **named), True),
    "one that takes no notice of them": (_deaf, False),
}


@pytest.mark.parametrize(("put", "taken"), LOST.values(), ids=LOST)
@pytest.mark.parametrize("lost", [0, 1])
def test_a_store_is_judged_by_what_it_keeps_whichever_answer_is_lost(
    memory_bucket: str, failing: Callable[..., None], put: Callable[..., Any], taken: bool, lost: int
) -> None:
    requests = itertools.count()

    def losing(theirs: Callable[..., Any], *args: Any, **named: Any) -> Any:
        answer = put(theirs, *args, **named)
        if next(requests) == lost:
            raise LostError
        return answer

    failing("put", losing)
    store = store_of(memory_bucket)
    assert (store.refusal(f"{memory_bucket}/out") is None) == taken
    assert list(store.files(memory_bucket)) == []


def test_what_is_too_large_for_a_copy_is_read_and_written(
    memory_bucket: str, failing: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(theirs: Callable[..., Any], client: Any, source: str, target: str) -> Any:
        assert obstore.head(client, source)["size"] <= objects.COPIED_BYTES
        return theirs(client, source, target)

    failing("copy", copy)
    monkeypatch.setattr(objects, "COPIED_BYTES", 1000)
    monkeypatch.setattr(objects, "PART_BYTES", 999)
    store, content = store_of(memory_bucket), random.Random(1).randbytes(5000)
    for size in (1000, 1001, 5000):
        store.write(f"{memory_bucket}/a", content[:size])
        store.copy(f"{memory_bucket}/a", f"{memory_bucket}/b")
        assert store.read(f"{memory_bucket}/b") == content[:size]
