"""Datasets in a folder, in S3 and in Google's storage: the same tests."""

import itertools
import os
import random
import threading
from collections.abc import Callable

import pytest

from beam_etl.io import data_files, manifest, publishing, staging
from beam_etl.io.commit import CONFLICT, FAILED, PUBLISHED, clean_run, settle
from beam_etl.io.retry import retry_append
from beam_etl.io.stores import objects, store_of
from beam_etl.io.write import check_output
from beam_etl.pipelines import clean, describe, verify
from tests import gcs_xml
from tests.attempts import OTHER, RUN, rows_of
from tests.cloud import Cloud
from tests.places import OBJECTS, Place, attempt, keeping, left, listed, seen, staged

objects_only = pytest.mark.parametrize("place", OBJECTS, indirect=True)


def test_a_version_replaces_another_or_adds_to_it(place: Place) -> None:
    dataset = place.dataset()
    assert attempt(dataset, RUN) == PUBLISHED
    assert seen(dataset) == listed(dataset) == rows_of(RUN)
    first = manifest.latest(dataset)
    assert attempt(dataset, OTHER, first, append=True) == PUBLISHED
    assert seen(dataset) == listed(dataset) == sorted(rows_of(RUN) + rows_of(OTHER))
    assert manifest.numbers(dataset) == [1, 2]
    assert attempt(dataset, "cccccccccccc", manifest.latest(dataset)) == PUBLISHED
    assert seen(dataset) == listed(dataset) == rows_of("cccccccccccc")
    assert manifest.numbers(dataset) == [3]
    assert left(dataset) == []


def test_versions_stay_as_long_as_they_are_asked_to(place: Place) -> None:
    dataset = place.dataset()
    runs = [f"{number:012x}" for number in range(3)]
    for run in runs:
        made = keeping(staged(dataset, run, manifest.latest(dataset)), 2)
        assert settle(dataset, made, []) == PUBLISHED
    assert manifest.numbers(dataset) == [2, 3]
    assert listed(dataset) == rows_of(runs[2])
    assert seen(dataset) == sorted(rows_of(runs[1]) + rows_of(runs[2]))


def test_of_two_that_started_from_one_version_one_wins_and_the_other_is_told(place: Place) -> None:
    dataset = place.dataset()
    made = [staged(dataset, run) for run in (RUN, OTHER)]
    assert settle(dataset, made[0], []) == PUBLISHED
    assert settle(dataset, made[1], []) == CONFLICT
    assert settle(dataset, made[0], []) == PUBLISHED
    assert listed(dataset) == rows_of(RUN)
    assert clean.run([dataset, "--idle_hours=0"]) == 0
    assert seen(dataset) == rows_of(RUN)


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("append", [False, True], ids=["replacing", "adding"])
def test_writers_at_the_same_moment(place: Place, append: bool, rounds: int) -> None:
    for number in range(rounds):
        dataset = place.dataset(str(number))
        made = [staged(dataset, run, append=append) for run in (RUN, OTHER)]
        barrier, verdicts = threading.Barrier(2), []

        def publish(which: int) -> None:
            barrier.wait()  # noqa: B023 - joined below
            verdicts.append(settle(dataset, made[which], []))  # noqa: B023

        threads = [threading.Thread(target=publish, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(verdicts) == ([PUBLISHED, PUBLISHED] if append else [CONFLICT, PUBLISHED])
        published = [run for run in (RUN, OTHER) if publishing.is_published(dataset, run)]
        assert len(published) == (2 if append else 1)
        assert seen(dataset) == listed(dataset) == sorted(row for run in published for row in rows_of(run))


def test_a_run_that_was_given_up_is_never_published(place: Place) -> None:
    dataset = place.dataset()
    made = staged(dataset, RUN)
    assert not clean_run(dataset, RUN, for_good=True)
    assert settle(dataset, made, []) == FAILED
    assert manifest.latest(dataset) is None
    assert seen(dataset) == []
    assert attempt(dataset, OTHER) == PUBLISHED
    assert seen(dataset) == listed(dataset) == rows_of(OTHER)
    assert clean.run([dataset, "--idle_hours=0"]) == 0
    assert left(dataset) == []


@objects_only
def test_what_is_written_when_a_run_is_decided_goes_nowhere(place: Place) -> None:
    dataset = place.dataset()
    assert attempt(dataset, RUN) == PUBLISHED
    data_files._begin_in_objects.cache_clear()  # as in another process
    late = staged(dataset, RUN)
    assert settle(dataset, late, []) == PUBLISHED
    assert seen(dataset) == listed(dataset) == rows_of(RUN)


@objects_only
def test_a_run_that_was_decided_is_published_by_who_cleans_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = place.dataset()
    made = staged(dataset, RUN)

    def stop(*_: object) -> bool:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "publish", stop)
        with pytest.raises(InterruptedError):
            settle(dataset, made, [])
    assert manifest.latest(dataset) is None
    assert clean_run(dataset, RUN)
    assert seen(dataset) == listed(dataset) == rows_of(RUN)
    assert left(dataset) == []


def test_an_append_that_met_a_conflict_is_tried_again(place: Place) -> None:
    dataset = place.dataset()
    assert attempt(dataset, "cccccccccccc") == PUBLISHED
    base = manifest.latest(dataset)
    made = staged(dataset, RUN, base, append=True)
    assert attempt(dataset, OTHER, base) == PUBLISHED
    assert settle(dataset, made, []) == CONFLICT
    assert "kept in" in staging.verdict(dataset, RUN)[0]
    verdict, new = retry_append(dataset, RUN)
    assert verdict == PUBLISHED
    assert publishing.is_published(dataset, new)
    assert clean.run([dataset, "--idle_hours=0"]) == 0
    assert listed(dataset) == seen(dataset) == sorted(rows_of(RUN) + rows_of(OTHER))
    assert left(dataset) == []


def test_what_died_is_removed_and_what_is_young_is_left_alone(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = place.dataset()
    assert attempt(dataset, RUN) == PUBLISHED
    staged(dataset, OTHER, manifest.latest(dataset))
    assert clean.run([dataset]) == 0
    assert f"left alone: run {OTHER}: 5 files" in capsys.readouterr().out
    assert clean.run([dataset, "--idle_hours=0"]) == 0
    assert f"run {OTHER}: 5 files that weren't published" in capsys.readouterr().out
    assert seen(dataset) == listed(dataset) == rows_of(RUN)
    assert left(dataset) == []


@objects_only
def test_uploads_that_were_left_are_ended(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, store = place.dataset(), store_of(place.root)
    assert attempt(dataset, RUN) == PUBLISHED
    upload = store.open_new(f"{dataset}/documents/left")
    for _ in range(17):
        upload.write(bytes(1 << 20))
    elsewhere = store.open_new(f"{place.root}/elsewhere")
    for _ in range(17):
        elsewhere.write(bytes(1 << 20))
    while not (store.uploads(dataset) and len(store.uploads(place.root)) == 2):
        pass  # parts are sent in the background
    assert clean.run([dataset, "--idle_hours=0"]) == 0
    assert f"unfinished upload of {dataset}/documents/left" in capsys.readouterr().out
    assert [each.path for each in store.uploads(place.root)] == [f"{place.root}/elsewhere"]
    elsewhere.abort()
    assert store.uploads(place.root) == []


@objects_only
def test_a_large_file_goes_in_parts_and_is_there_when_it_is_closed(place: Place) -> None:
    store, path = store_of(place.root), f"{place.root}/large"
    content = random.Random(7).randbytes(20 << 20)
    sink = store.open_new(path)
    for at in range(0, len(content), 1 << 20):
        sink.write(memoryview(content)[at : at + (1 << 20)])
    assert not store.exists(path)
    sink.close()
    assert store.read(path) == content


def test_describe_tells_of_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = place.dataset()
    assert attempt(dataset, RUN) == PUBLISHED
    assert describe.run([dataset]) == 0
    assert "version 1, 5 rows" in capsys.readouterr().out
    assert describe.run([dataset, "--files=true"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert all(store_of(path).exists(path) for path in found)
    assert len(found) == 5


@objects_only
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_list_of_which_a_page_fails_is_whole(
    place: Place, cloud: Cloud, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "FIRST_SECONDS", 0.001)
    monkeypatch.setattr(gcs_xml, "_PAGE", 5)
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
    store, wanted = store_of(place.root), [f"{place.root}/in/{number:02}" for number in range(14)]
    for path in wanted:
        store.write(path, b"x")
    requests = itertools.count(1)

    def busy(method: str, path: str) -> tuple[str, str] | None:
        return ("503 Slow Down", "<Code>SlowDown</Code>") if next(requests) == failing else None

    with cloud.answering(busy):
        assert [found.path for found in store.files(f"{place.root}/in")] == wanted
    assert next(requests) > 4


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "a bit": lambda content: bytes([content[0] ^ 1, *content[1:]]),
    "cut": lambda content: content[:-1],
    "longer": lambda content: content + b"x",
    "gone": lambda content: None,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_verify_finds_what_was_changed(
    damage: Callable[[bytes], bytes | None], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = place.dataset()
    assert attempt(dataset, RUN) == PUBLISHED
    assert verify.run([dataset]) == 0
    file = manifest.latest(dataset).files[2]  # type: ignore[union-attr]
    path, store = os.path.join(dataset, file.path), store_of(dataset)
    damaged = damage(store.read(path))
    store.remove([path])
    if damaged is not None:
        store.create(path, damaged)
    capsys.readouterr()
    assert verify.run([dataset]) == 1
    assert file.path in capsys.readouterr().out


@objects_only
@pytest.mark.parametrize("flips", [12, pytest.param(2000, marks=pytest.mark.long)])
def test_every_bit_flip_is_found(place: Place, flips: int) -> None:
    dataset, store, choice = place.dataset(), store_of(place.root), random.Random(flips)
    assert attempt(dataset, RUN) == PUBLISHED
    paths = [found.path for found in store.files(dataset)]
    for number in range(flips):
        path = paths[number % len(paths)]
        content = store.read(path)
        damaged = bytearray(content)
        damaged[choice.randrange(len(content))] ^= 1 << choice.randrange(8)
        store.write(path, bytes(damaged))
        report = verify.verify(dataset, threads=1)
        assert os.path.basename(path) in "\n".join(report.lines()), path
        store.write(path, content)
    assert verify.verify(dataset, threads=1).sound


@objects_only
def test_a_store_without_preconditions_is_refused(place: Place, cloud: Cloud) -> None:
    """One that doesn't know them, and one that takes no notice of them."""
    store = store_of(place.root)

    def refusing(method: str, path: str) -> tuple[str, str] | None:
        return ("501 Not Implemented", "<Code>NotImplemented</Code>") if method == "PUT" else None

    assert store.refusal(place.dataset()) is None
    with cloud.answering(refusing):
        assert "if it is absent" in str(store.refusal(place.dataset()))
    app = cloud.watched.app

    def deaf(environ: dict[str, object], start: object) -> object:
        environ.pop("HTTP_IF_NONE_MATCH", None)
        environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        return app(environ, start)  # type: ignore[arg-type]

    cloud.watched.app = deaf  # type: ignore[assignment]
    try:
        assert "Two writers would lose" in str(store.refusal(place.dataset()))
    finally:
        cloud.watched.app = app
    assert list(store.files(place.root)) == []


def test_what_is_no_dataset_is_told_before_a_job(place: Place) -> None:
    dataset = place.dataset()
    store_of(dataset).make_folder(dataset)
    store_of(dataset).create(f"{dataset}/notes.txt", b"mine")
    with pytest.raises(manifest.DatasetError, match=r"no dataset \(notes\.txt\)"):
        check_output(dataset, present=True)
