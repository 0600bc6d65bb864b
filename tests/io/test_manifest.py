import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest, staging, versions
from beam_etl.io.commit import clean_run, give_up
from beam_etl.io.manifest import DataFile, DatasetError, Manifest
from tests.datasets import publish


def made(number: int, run: str, *paths: str) -> Manifest:
    files = tuple(DataFile("counts", path, 10, 100, "0" * 64) for path in paths)
    return Manifest(number, run, files, {"counts": {"n": "int64"}, "rejects": {}}, {"job": "test"})


def put(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


@pytest.fixture(params=["listed inside", "listed beside"])
def listed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both places for the list of files, which promise the same."""
    if request.param == "listed beside":
        monkeypatch.setattr(manifest, "LISTED_FILES", 0)


def in_folder(folder: Path) -> set[str]:
    return set(os.listdir(folder / manifest.FOLDER))


@pytest.mark.usefixtures("listed")
def test_the_highest_manifest_is_the_dataset(tmp_path: Path) -> None:
    assert manifest.latest(str(tmp_path)) is None
    for number in (1, 2, 10):
        assert publish(str(tmp_path), made(number, f"run{number}", "counts/a.parquet"))
    found = manifest.latest(str(tmp_path))
    assert found == made(10, "run10", "counts/a.parquet")
    assert found.rows("counts") == 10
    assert found.rows("rejects") == 0


def publish_as(folder: str, run: str, *paths: str) -> bool:
    return publish(folder, made(1, run, *paths))


def test_of_many_writers_one_wins_and_its_manifest_is_whole(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    runs = [f"run{i}" for i in range(24)]
    with context.Pool(4) as pool:
        won = pool.starmap(publish_as, [(str(tmp_path), run) for run in runs], chunksize=1)
    assert sum(won) == 1
    found = manifest.latest(str(tmp_path))
    assert found is not None
    assert found.run == runs[won.index(True)]
    assert os.listdir(tmp_path / manifest.FOLDER) == ["000001.json"]


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize("path", ["counts/a.parquet", "counts/b.parquet"], ids=["same files", "others"])
def test_a_second_attempt_of_the_same_run_succeeds_and_changes_nothing(tmp_path: Path, path: str) -> None:
    assert publish_as(str(tmp_path), "ours", "counts/a.parquet")
    assert publish_as(str(tmp_path), "ours", path)
    assert manifest.latest(str(tmp_path)) == made(1, "ours", "counts/a.parquet")


@pytest.mark.usefixtures("listed")
def test_a_writer_that_lost_leaves_nothing(tmp_path: Path) -> None:
    assert publish_as(str(tmp_path), "ours", "counts/a.parquet")
    before = in_folder(tmp_path)
    assert not publish_as(str(tmp_path), "another", "counts/b.parquet")
    assert not clean_run(str(tmp_path), "another")
    assert in_folder(tmp_path) == before
    assert manifest.latest(str(tmp_path)) == made(1, "ours", "counts/a.parquet")


@pytest.mark.usefixtures("listed")
def test_a_slow_writer_loses_to_those_that_came_and_went(tmp_path: Path) -> None:
    for number in (2, 3):
        publish(str(tmp_path), made(number, f"run{number}", "counts/a.parquet"))
    (tmp_path / manifest.FOLDER / "000002.json").unlink()  # as publishing 3 does
    before = in_folder(tmp_path)
    assert not publish(str(tmp_path), made(2, "slow", "counts/b.parquet"))
    assert not clean_run(str(tmp_path), "slow")
    assert manifest.numbers(str(tmp_path)) == [3]
    assert in_folder(tmp_path) == before


def name(run: str, part: int = 0) -> str:
    return f"counts/{staging.file_name(part, run, staging.new_attempt(), '.parquet')}"


def test_what_was_replaced_or_left_behind_is_deleted_and_the_rest_stays(tmp_path: Path) -> None:
    first, second, crashed, later = (staging.new_run() for _ in range(4))
    old, shared, new, lost, begun = name(first), name(first, 1), name(second), name(crashed), name(later)
    put(tmp_path, old, shared, lost, "counts/mine.txt", f"_staging/{crashed}/{lost}")
    publish(str(tmp_path), made(1, first, old, shared))
    put(tmp_path, new)
    published = made(2, second, shared, new)
    publish(str(tmp_path), published)
    put(tmp_path, begun, f"_staging/{later}/{begun}")
    versions.remove_replaced(str(tmp_path), published)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        shared,
        new,
        begun,
        f"_staging/{later}/{begun}",
        "counts/mine.txt",
        "_manifests/000002.json",
    }


def test_what_is_being_added_stays_though_it_was_written_before_the_dataset_was_replaced(
    tmp_path: Path,
) -> None:
    replacing, adding = staging.new_run(), staging.new_run()
    mine, added = name(replacing), name(adding)
    staging.mark_appending(str(tmp_path), adding)
    put(tmp_path, mine, added, f"_staging/{adding}/{added}")
    published = made(1, replacing, mine)
    publish(str(tmp_path), published)
    versions.remove_replaced(str(tmp_path), published)
    assert (tmp_path / added).exists()
    publish(str(tmp_path), made(2, adding, mine, added))
    staging.remove_staging(str(tmp_path), adding)
    versions.remove_replaced(str(tmp_path), published)
    assert (tmp_path / added).exists()


def test_an_abandoned_run_leaves_nothing_of_its_own_and_all_of_others(tmp_path: Path) -> None:
    ours, theirs = staging.new_run(), staging.new_run()
    other = name(theirs)
    put(tmp_path, other, name(ours), f"_staging/{ours}/{name(ours)}", f"_staging/{theirs}/{other}")
    (tmp_path / "empty").mkdir()
    assert not give_up(str(tmp_path), ours)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {other, f"_staging/{theirs}/{other}"}
    assert (tmp_path / "empty").exists()
    with pytest.raises(staging.AbandonedError), staging.turn(ours):
        pass


def test_a_published_run_is_not_removed(tmp_path: Path) -> None:
    run = staging.new_run()
    path, unlisted = name(run), name(run, 1)
    put(tmp_path, path, unlisted)
    publish(str(tmp_path), made(1, run, path))
    assert give_up(str(tmp_path), run)
    assert [str(found.relative_to(tmp_path)) for found in tmp_path.glob("counts/*")] == [path]


def test_files_that_a_version_lists_stay_when_their_run_is_cleaned_up(tmp_path: Path) -> None:
    first, second = staging.new_run(), staging.new_run()
    shared, replaced, new = name(first), name(first, 1), name(second)
    put(tmp_path, shared, replaced, name(first, 2), new)
    publish(str(tmp_path), made(1, first, shared, replaced))
    publish(str(tmp_path), made(2, second, shared, new))
    for left in ({shared, replaced, new}, {shared, new}):
        assert not clean_run(str(tmp_path), first)
        assert {str(found.relative_to(tmp_path)) for found in tmp_path.glob("counts/*")} == left
        (tmp_path / manifest.FOLDER / "000001.json").unlink(missing_ok=True)


DAMAGE = {
    "not JSON": (lambda text: text[:-5], "not a manifest"),
    "another JSON": (lambda _: "[]", "not a manifest"),
    "changed figures": (lambda text: text.replace('"rows": 10', '"rows": 11'), "was changed"),
    "a later version": (lambda text: text.replace('"version": 1', '"version": 99'), "too new"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_manifest_is_named_with_what_is_wrong(tmp_path: Path, damage: object, message: str) -> None:
    publish(str(tmp_path), made(1, "ours", "counts/a.parquet"))
    path = tmp_path / manifest.FOLDER / "000001.json"
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(DatasetError, match=f"000001.json.*{message}"):
        manifest.latest(str(tmp_path))


def test_a_manifest_is_plain_json_that_lists_each_table(tmp_path: Path) -> None:
    publish(str(tmp_path), made(1, "ours", "counts/a.parquet"))
    body = json.loads((tmp_path / manifest.FOLDER / "000001.json").read_text())
    assert body["tables"]["counts"]["files"] == [
        {"path": "counts/a.parquet", "rows": 10, "bytes": 100, "sha256": "0" * 64}
    ]
    assert body["tables"]["rejects"]["rows"] == 0


def test_many_files_are_listed_in_a_table_beside_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "LISTED_FILES", 2)
    for number, paths in enumerate((["a", "b"], ["a", "b", "c"], ["d", "e", "f"], ["g"]), start=1):
        published = made(number, f"run{number}", *(f"counts/{path}.parquet" for path in paths))
        assert publish(str(tmp_path), published)
        versions.remove_replaced(str(tmp_path), published)
        beside = in_folder(tmp_path) - {f"{number:06d}.json"}
        assert len(beside) == (len(paths) > 2)
        assert all(name.startswith(f"{number:06d}-run{number}_") for name in beside)
        body = json.loads((tmp_path / manifest.FOLDER / f"{number:06d}.json").read_text())
        assert body["version"] == (2 if beside else 1)
        assert body["tables"]["counts"]["rows"] == 10 * len(paths)
        assert ("files" in body["tables"]["counts"]) == (not beside)
        for name in beside:
            rows = pq.read_table(tmp_path / manifest.FOLDER / name).to_pylist()
            assert [row["path"] for row in rows] == [f"counts/{path}.parquet" for path in paths]
            first = {"table": "counts", "path": f"counts/{paths[0]}.parquet", "rows": 10, "bytes": 100}
            assert rows[0] == {**first, "sha256": "0" * 64}
        assert manifest.latest(str(tmp_path)) == published


LISTS = {"changed": (lambda path: path.write_bytes(b"PAR1"), "was changed"), "gone": (os.unlink, "is absent")}


@pytest.mark.parametrize(("damage", "message"), LISTS.values(), ids=LISTS)
def test_a_list_of_files_that_is_damaged_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object], message: str
) -> None:
    monkeypatch.setattr(manifest, "LISTED_FILES", 0)
    publish(str(tmp_path), made(1, "ours", "counts/a.parquet"))
    (beside,) = in_folder(tmp_path) - {"000001.json"}
    damage(tmp_path / manifest.FOLDER / beside)
    with pytest.raises(DatasetError, match=f"{beside}.*{message}"):
        manifest.latest(str(tmp_path))


def test_code_that_knows_only_version_1_refuses_a_list_beside_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "LISTED_FILES", 0)
    publish(str(tmp_path), made(1, "ours", "counts/a.parquet"))
    monkeypatch.setattr(manifest, "FORMAT_VERSION", 1)
    with pytest.raises(DatasetError, match="version 2: too new"):
        manifest.latest(str(tmp_path))


def test_a_reader_that_a_writer_overtakes_reads_what_the_writer_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "LISTED_FILES", 0)
    publish(str(tmp_path), made(1, "first", "counts/a.parquet"))
    second, read = made(2, "second", "counts/b.parquet"), Manifest.read

    def overtaken(path: str) -> Manifest:
        if path.endswith("000001.json"):
            publish(str(tmp_path), second)
            versions.remove_replaced(str(tmp_path), second)
        return read(path)

    monkeypatch.setattr(Manifest, "read", overtaken)
    assert manifest.latest(str(tmp_path)) == second
