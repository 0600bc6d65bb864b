import json
import multiprocessing
import os
from pathlib import Path

import pytest

from beam_etl.io import manifest, staging
from beam_etl.io.manifest import DataFile, DatasetError, Manifest


def made(number: int, run: str, *paths: str) -> Manifest:
    files = tuple(DataFile("counts", path, 10, 100, "0" * 64) for path in paths)
    return Manifest(number, run, files, {"counts": {"n": "int64"}, "rejects": {}}, {"job": "test"})


def put(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def test_the_highest_manifest_is_the_dataset(tmp_path: Path) -> None:
    assert manifest.latest(str(tmp_path)) is None
    for number in (1, 2, 10):
        assert manifest.publish(str(tmp_path), made(number, f"run{number}", "counts/a.parquet"))
    found = manifest.latest(str(tmp_path))
    assert found == made(10, "run10", "counts/a.parquet")
    assert found.rows("counts") == 10
    assert found.rows("rejects") == 0


def publish_as(folder: str, run: str) -> bool:
    return manifest.publish(folder, made(1, run))


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


def test_a_second_attempt_of_the_same_run_succeeds(tmp_path: Path) -> None:
    assert publish_as(str(tmp_path), "ours")
    assert publish_as(str(tmp_path), "ours")
    assert not publish_as(str(tmp_path), "another")


def test_a_slow_writer_loses_to_those_that_came_and_went(tmp_path: Path) -> None:
    for number in (2, 3):
        manifest.publish(str(tmp_path), made(number, f"run{number}"))
    (tmp_path / manifest.FOLDER / "000002.json").unlink()  # as publishing 3 does
    assert not manifest.publish(str(tmp_path), made(2, "slow"))
    assert manifest.numbers(str(tmp_path)) == [3]


def name(run: str, part: int = 0) -> str:
    return f"counts/{staging.file_name(part, run, staging.new_attempt(), '.parquet')}"


def test_what_was_replaced_or_left_behind_is_deleted_and_the_rest_stays(tmp_path: Path) -> None:
    first, second, crashed, later = (staging.new_run() for _ in range(4))
    old, shared, new, lost, begun = name(first), name(first, 1), name(second), name(crashed), name(later)
    put(tmp_path, old, shared, lost, "counts/mine.txt", f"_staging/{crashed}/{lost}")
    manifest.publish(str(tmp_path), made(1, first, old, shared))
    put(tmp_path, new)
    published = made(2, second, shared, new)
    manifest.publish(str(tmp_path), published)
    put(tmp_path, begun, f"_staging/{later}/{begun}")
    manifest.remove_replaced(str(tmp_path), published)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        shared,
        new,
        begun,
        f"_staging/{later}/{begun}",
        "counts/mine.txt",
        "_manifests/000002.json",
    }


def test_an_abandoned_run_leaves_nothing_of_its_own_and_all_of_others(tmp_path: Path) -> None:
    ours, theirs = staging.new_run(), staging.new_run()
    other = name(theirs)
    put(tmp_path, other, name(ours), f"_staging/{ours}/{name(ours)}", f"_staging/{theirs}/{other}")
    (tmp_path / "empty").mkdir()
    staging.abandon(str(tmp_path), ours, published=False)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {other, f"_staging/{theirs}/{other}"}
    assert (tmp_path / "empty").exists()
    with pytest.raises(staging.AbandonedError), staging.turn(ours):
        pass


def test_a_published_run_is_not_removed(tmp_path: Path) -> None:
    run = staging.new_run()
    path = name(run)
    put(tmp_path, path)
    manifest.publish(str(tmp_path), made(1, run, path))
    staging.abandon(str(tmp_path), run, manifest.is_published(str(tmp_path), run))
    assert (tmp_path / path).exists()


DAMAGE = {
    "not JSON": (lambda text: text[:-5], "not a manifest"),
    "another JSON": (lambda _: "[]", "not a manifest"),
    "changed figures": (lambda text: text.replace('"rows": 10', '"rows": 11'), "was changed"),
    "a later version": (lambda text: text.replace('"version": 1', '"version": 99'), "too new"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_manifest_is_named_with_what_is_wrong(tmp_path: Path, damage: object, message: str) -> None:
    manifest.publish(str(tmp_path), made(1, "ours", "counts/a.parquet"))
    path = tmp_path / manifest.FOLDER / "000001.json"
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(DatasetError, match=f"000001.json.*{message}"):
        manifest.latest(str(tmp_path))


def test_a_manifest_is_plain_json_that_lists_each_table(tmp_path: Path) -> None:
    manifest.publish(str(tmp_path), made(1, "ours", "counts/a.parquet"))
    body = json.loads((tmp_path / manifest.FOLDER / "000001.json").read_text())
    assert body["tables"]["counts"]["files"] == [
        {"path": "counts/a.parquet", "rows": 10, "bytes": 100, "sha256": "0" * 64}
    ]
    assert body["tables"]["rejects"]["rows"] == 0
