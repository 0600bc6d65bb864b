"""Small files as one: the same rows in fewer files, whoever else adds to the dataset meanwhile."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import compact, manifest, panes, staging
from beam_etl.io.compact import COMPACTED, find_groups
from beam_etl.io.file_lists import Pane
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.panes import ON_TIME, PaneCommit, PanePublisher
from beam_etl.io.write import FILE_BYTES
from beam_etl.pipelines import clean
from beam_etl.pipelines import compact as job

STREAM = "5c5c5c5c5c5c"
MINUTE = 60_000_000
HOUR_OLD = "--idle=0s"
SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64())])


class Dataset:
    """What a stream has published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        panes.register(str(folder), STREAM, "test", {"rows": {}}, lateness=0)

    def publish(self, window: int, index: int, names: list[str], timing: str = ON_TIME) -> None:
        PanePublisher(str(self.folder), STREAM).publish(
            PaneCommit(
                stream=STREAM,
                start=window * MINUTE,
                end=(window + 1) * MINUTE,
                index=index,
                timing=timing,
                files=tuple(self._file(window, name) for name in names),
                schemas={"rows": {column.name: str(column.type) for column in SCHEMA}},
                about={},
            )
        )

    def _file(self, window: int, name: str) -> DataFile:
        attempt = hashlib.blake2b(f"{window} {name}".encode(), digest_size=8).hexdigest()
        path = f"rows/date=1970-01-01/window={window}/{staging.file_name(0, STREAM, attempt, '.parquet')}"
        file = Path(staging.staging_folder(str(self.folder), STREAM)) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": [f"{window} {name} {row}" for row in range(5)], "n": range(5)}), file)
        return DataFile("rows", path, 5, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())

    @property
    def head(self) -> Manifest:
        found = manifest.latest(str(self.folder))
        assert found is not None
        return found

    def digest(self) -> str:
        rows = [
            row
            for file in self.head.files
            for row in pq.ParquetFile(self.folder / file.path).read().to_pylist()
        ]
        return hashlib.sha256(json.dumps(sorted(rows, key=str)).encode()).hexdigest()

    def compact(self, *flags: str) -> int:
        return job.run([str(self.folder), HOUR_OLD, *flags])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three windows: of two files, of three, and of two to which a pane may come yet."""
    made = Dataset(tmp_path)
    made.publish(0, 0, ["a", "b"])
    made.publish(1, 0, ["a", "b"], "early")
    made.publish(1, 1, ["c"])
    made.publish(2, 0, ["a", "b"], "early")
    return made


def test_windows_that_are_final_get_one_file_and_rows_stay(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dataset.digest()
    assert dataset.compact() == 0
    assert "5 files are 2 now" in capsys.readouterr().out
    assert dataset.digest() == before
    windows = [file.pane.start // MINUTE for file in dataset.head.files if file.pane]
    assert sorted(windows) == [0, 1, 2, 2]
    assert all(
        hashlib.sha256((dataset.folder / file.path).read_bytes()).hexdigest() == file.sha256
        for file in dataset.head.files
    )
    assert dataset.compact() == 0
    assert "no files that could be fewer" in capsys.readouterr().out


def test_files_are_merged_up_to_a_size(dataset: Dataset) -> None:
    size = dataset.head.files[0].bytes
    assert dataset.compact(f"--file_bytes={size * 2 + size // 2}") == 0
    assert sorted(file.rows for file in dataset.head.files) == [5, 5, 5, 10, 10]


def test_a_window_that_was_published_to_of_late_is_left_alone(dataset: Dataset) -> None:
    assert (
        find_groups(str(dataset.folder), dataset.head, FILE_BYTES, 86_400, os.path.getmtime(__file__)) == []
    )


def test_when_a_stream_has_ended_all_its_windows_are_final(dataset: Dataset) -> None:
    staging.remove_staging(str(dataset.folder), STREAM)
    assert dataset.compact() == 0
    assert len(dataset.head.files) == 3


MEANWHILE: dict[str, tuple[Callable[[Dataset], None], int, list[int]]] = {
    "nothing": (lambda dataset: None, 2, [10, 10, 15]),
    "a pane of another window": (lambda dataset: dataset.publish(3, 0, ["x"]), 2, [5, 10, 10, 15]),
    "a late pane of the window": (lambda dataset: dataset.publish(0, 1, ["x"], "late"), 2, [5, 10, 10, 15]),
    "a restore takes panes back": (
        lambda dataset: dataset.publish(1, 1, ["d", "e"]),
        1,
        [5, 5, 5, 5, 10, 10],
    ),
}
"""What a stream does while files are merged, how many folders become one file, and rows of files by window."""


@pytest.mark.parametrize(("happening", "merged", "files"), MEANWHILE.values(), ids=MEANWHILE)
def test_a_stream_adds_while_files_are_merged(
    happening: Callable[[Dataset], None],
    merged: int,
    files: list[int],
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish, digests = compact.publish_on_top, []

    def later(*arguments: object) -> object:
        happening(dataset)
        digests.append(dataset.digest())
        return publish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(compact, "publish_on_top", later)
    assert dataset.compact() == 0
    assert [dataset.digest()] == digests
    compacted = [file for file in dataset.head.files if file.pane and file.pane.timing == COMPACTED]
    assert len(compacted) == merged
    told = capsys.readouterr().err
    assert ("window=1 was published to meanwhile" in told) == (merged == 1)
    PanePublisher(str(dataset.folder), STREAM)


def test_a_pane_that_would_take_back_a_part_of_a_compacted_file_ends_the_stream(dataset: Dataset) -> None:
    assert dataset.compact() == 0
    before = dataset.digest()
    dataset.publish(1, 1, ["d"])
    assert dataset.digest() == before
    (reason,) = panes.failures_of(str(dataset.folder), STREAM)
    assert "compacted from panes up to 1" in reason
    dataset.publish(1, 0, ["d"])
    assert dataset.digest() == before


def test_a_pane_that_takes_back_all_of_a_compacted_file_takes_its_place(dataset: Dataset) -> None:
    assert dataset.compact() == 0
    dataset.publish(1, 0, ["d"])
    assert sum(file.rows for file in dataset.head.files if file.pane and file.pane.start == MINUTE) == 5


def test_files_that_accumulate_become_others_than_those_that_add_up(tmp_path: Path) -> None:
    panes_of = [Pane(STREAM, 0, MINUTE, 0, ON_TIME, partition) for partition in (None, 0, None, 1)]
    files = tuple(
        DataFile("rejects", f"rejects/date=1970-01-01/{number}.parquet", 5, 100, "", pane=pane)
        for number, pane in enumerate(panes_of)
    )
    head = Manifest(number=1, run=STREAM, files=files, schemas={"rejects": {}}, about={})
    found = find_groups(str(tmp_path), head, FILE_BYTES, 0, 0)
    merged = {tuple(sorted(files.index(file) for file in group.files)): group.pane() for group in found}
    assert {files: pane.partition for files, pane in merged.items() if pane} == {(0, 2): None, (1, 3): -1}


def test_old_files_go_with_the_versions_that_list_them(dataset: Dataset) -> None:
    assert dataset.compact() == 0
    head = dataset.head
    assert clean.run([str(dataset.folder), "--keep_versions=1", "--idle_hours=0"]) == 0
    left = {path for path, _ in staging.table_files(str(dataset.folder))}
    assert left == {file.path for file in head.files}
    assert os.path.isdir(staging.staging_folder(str(dataset.folder), STREAM))
    dataset.publish(3, 0, ["x"])
