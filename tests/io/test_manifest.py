import json
import multiprocessing
import os
from pathlib import Path

import pytest

from beam_etl.io import manifest
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


def test_what_was_replaced_is_deleted_and_what_is_shared_stays(tmp_path: Path) -> None:
    put(tmp_path, "counts/old.parquet", "counts/shared.parquet", "counts/new.parquet")
    manifest.publish(str(tmp_path), made(1, "first", "counts/old.parquet", "counts/shared.parquet"))
    second = made(2, "second", "counts/shared.parquet", "counts/new.parquet")
    manifest.publish(str(tmp_path), second)
    manifest.remove_superseded(str(tmp_path), second)
    assert sorted(os.listdir(tmp_path / "counts")) == ["new.parquet", "shared.parquet"]
    assert manifest.numbers(str(tmp_path)) == [2]


def test_an_abandoned_run_leaves_nothing_of_its_own_and_all_of_others(tmp_path: Path) -> None:
    theirs = "counts/part-00000-theirs-1.parquet"
    put(
        tmp_path,
        theirs,
        "counts/part-00000-ours-1.parquet",
        "_staging/ours/rejects/part-00000-ours-2.parquet",
    )
    manifest.publish(str(tmp_path), made(1, "theirs", theirs))
    manifest.abandon(str(tmp_path), "ours")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["_manifests/000001.json", theirs]
    assert not (tmp_path / "_staging").exists()


def test_a_published_run_is_not_abandoned(tmp_path: Path) -> None:
    put(tmp_path, "counts/part-00000-ours-1.parquet")
    manifest.publish(str(tmp_path), made(1, "ours", "counts/part-00000-ours-1.parquet"))
    manifest.abandon(str(tmp_path), "ours")
    assert (tmp_path / "counts/part-00000-ours-1.parquet").exists()


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
