import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.kernels.join_rule import HOWS, INNER, OUTER, JoinRule
from beam_etl.kernels.partition import hash_partition
from beam_etl.kernels.partition_paths import folder_of
from beam_etl.kernels.partitioning import Level, Partitioning, hashed
from beam_etl.pipelines import repartition
from beam_etl.pipelines.join import run
from tests.datasets import publish
from tests.joins import FEW, expected, rows_of, runs, sides


def write_partitioned(folder: Path, rows: pa.Table, told: Partitioning, files: int = 2) -> Path:
    """A dataset whose documents are hashed, each bucket in so many files, sorted by the key columns."""
    (level,) = told.by
    numbers = hash_partition(rows.combine_chunks().to_batches()[0], level.columns, level.partitions)
    written = []
    rule = JoinRule(
        left=rows.schema, right=rows.schema.empty_table().select(level.columns).schema, on=level.columns
    )
    for number in sorted(set(numbers.tolist())):
        for place, run_ in enumerate(runs(rows.filter(pa.array(numbers == number)), rule, files, 1000)):
            path = f"documents/{folder_of(told, (f'{number:05d}',))}/part-{place:05d}-r-a.parquet"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_batches(run_, rows.schema), folder / path, row_group_size=7)
            written.append(DataFile("documents", path, len(run_), (folder / path).stat().st_size, ""))
    columns = {"documents": {field.name: str(field.type) for field in rows.schema}}
    publish(folder, Manifest(1, "r", tuple(written), columns, {}, {"documents": told.to_json()}))
    return folder


def write_file(folder: Path, rows: pa.Table) -> Path:
    folder.mkdir()
    pq.write_table(rows, folder / "rows.parquet")
    return folder


def join(left: Path, right: Path, output: Path, *flags: str) -> int:
    return run([f"--left={left}", f"--right={right}", f"--output={output}", "--direct_num_workers=1", *flags])


def written(output: Path) -> list[str]:
    return rows_of(pq.read_table(output / "documents").to_batches())


def planned(capsys: pytest.CaptureFixture[str], left: Path, right: Path, *flags: str) -> tuple[int, str]:
    """Shuffles, and the line that says which way and why."""
    assert join(left, right, left.parent / "planned", "--plan", *flags) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    return int(lines[1].split()[0]), lines[-1]


def keyed(kinds: tuple[str, ...], seed: int) -> tuple[pa.Table, pa.Table, tuple[str, ...]]:
    left, right = sides(kinds, seed)
    return left.drop_columns(["tags"]), right, tuple(f"k{place}" for place in range(len(kinds)))


QUICK = {
    ("merged", OUTER, FEW[1]),
    ("hashed", OUTER, FEW[1]),
    ("shuffle", OUTER, FEW[1]),
    ("broadcast", INNER, FEW[1]),
}
CASES = [
    pytest.param(*case, id="-".join((*case[:2], *case[2])), marks=() if case in QUICK else pytest.mark.long)
    for case in product(("merged", "hashed", "broadcast", "shuffle"), HOWS, FEW)
    if case[:2] != ("broadcast", OUTER)
]


@pytest.mark.parametrize(("way", "how", "kinds"), CASES)
def test_rows_are_those_of_duckdb_on_every_way(
    way: str, how: str, kinds: tuple[str, ...], tmp_path: Path
) -> None:
    left, right, on = keyed(kinds, seed=21)
    if way in ("merged", "hashed"):
        order = on if way == "merged" else ()
        mine = write_partitioned(tmp_path / "left", left, hashed(on, 4, order))
        others = write_partitioned(tmp_path / "right", right, hashed(on, 2, order))
    else:
        mine, others = write_file(tmp_path / "left", left), write_file(tmp_path / "right", right)
    flag = way if way in ("broadcast", "shuffle") else "colocated"
    assert join(mine, others, tmp_path / "out", f"--on={','.join(on)}", f"--how={how}", f"--way={flag}") == 0
    rule = JoinRule(left=left.schema, right=right.schema, on=on, how=how)
    assert written(tmp_path / "out") == expected(left, right, rule)


@pytest.fixture
def two(tmp_path: Path) -> tuple[pa.Table, pa.Table, Path, Path]:
    """Both sides, hashed alike and sorted."""
    left, right, on = keyed(("string",), seed=22)
    mine = write_partitioned(tmp_path / "left", left, hashed(on, 4, on))
    return left, right, mine, write_partitioned(tmp_path / "right", right, hashed(on, 8, on))


Two = tuple[pa.Table, pa.Table, Path, Path]


def test_sides_that_are_hashed_alike_are_merged_without_a_shuffle(
    two: Two, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, left, right = two
    shuffles, way = planned(capsys, left, right, "--on=k0")
    assert shuffles == 0
    assert way == "way: colocated (both are hashed alike: 4 buckets, merged by k0)"


def test_what_repartition_wrote_is_joined_without_a_shuffle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right, on = keyed(("string",), seed=25)
    for name, rows, buckets in (("left", left, 4), ("right", right, 2)):
        plain = write_file(tmp_path / f"plain_{name}", rows)
        flags = [f"--partition=hash:k0:{buckets}", "--order=k0", f"--output={tmp_path / name}"]
        assert repartition.run([f"--input={plain}", "--direct_num_workers=1", *flags]) == 0
    capsys.readouterr()
    sides_ = tmp_path / "left", tmp_path / "right"
    shuffles, way = planned(capsys, *sides_, "--on=k0")
    assert (shuffles, way) == (0, "way: colocated (both are hashed alike: 2 buckets, merged by k0)")
    assert join(*sides_, tmp_path / "out", "--on=k0") == 0
    assert written(tmp_path / "out") == expected(
        left, right, JoinRule(left=left.schema, right=right.schema, on=on)
    )
    about = manifest.latest(str(tmp_path / "out")).about
    assert about["join"]["way"] == "colocated"


def retell(folder: Path, told: Partitioning) -> None:
    """Lets the dataset say something else of how it is partitioned."""
    current = manifest.latest(str(folder))
    assert current is not None
    publish(folder, replace(current, number=2, partitioning={"documents": told.to_json()}))


NOT_COLOCATED = {
    "a bucket was split": (
        replace(hashed(("k0",), 8, ("k0",)), split=True),
        "a partition of the right side was cut by a cap",
    ),
    "another column": (
        Partitioning(by=(Level(function="hash", columns=("note",), partitions=8, name="k0_bucket"),)),
        "not hashed alike by k0",
    ),
    "numbers of buckets that don't divide": (hashed(("k0",), 6), "not hashed alike by k0"),
}


@pytest.mark.parametrize(("told", "reason"), NOT_COLOCATED.values(), ids=NOT_COLOCATED)
def test_what_is_not_colocated_says_why(
    told: Partitioning, reason: str, two: Two, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, left, right = two
    retell(right, told)
    assert join(left, right, tmp_path / "out", "--on=k0", "--way=colocated") == 2
    assert reason in capsys.readouterr().err


def test_what_is_not_colocated_is_broadcast_or_shuffled(two: Two, capsys: pytest.CaptureFixture[str]) -> None:
    *_, left, right = two
    retell(right, hashed(("k0",), 6))
    assert planned(capsys, left, right, "--on=k0")[1].startswith("way: broadcast (the right side has about ")
    shuffles, way = planned(capsys, left, right, "--on=k0", "--broadcast_bytes=1000")
    assert shuffles == 1
    assert way.startswith("way: shuffle (no side is known to be small: left about ")


def test_files_that_are_not_sorted_as_the_manifest_tells_fail_the_run(
    two: Two, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, left, right = two
    file = next(left.rglob("*.parquet"))
    rows = pq.read_table(file)
    pq.write_table(rows.take(pa.array(range(rows.num_rows - 1, -1, -1))), file)
    assert join(left, right, tmp_path / "out", "--on=k0") == 1
    assert "the rows are not sorted by k0. Use --way=shuffle" in capsys.readouterr().err


def test_what_can_not_be_read_is_rejected_once(two: Two, tmp_path: Path) -> None:
    *_, left, right = two
    file = next(right.rglob("*.parquet"))
    file.write_bytes(b"no parquet".ljust(file.stat().st_size))
    assert join(left, right, tmp_path / "out", "--on=k0", "--how=left", "--max_reject_fraction=1") == 0
    rejects = pq.read_table(tmp_path / "out" / "rejects").to_pylist()
    assert [row["file"] for row in rejects] == [str(file)]


def test_the_left_side_of_an_inner_join_is_broadcast_where_it_is_smaller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right, _ = keyed(("int",), seed=23)
    folders = write_file(tmp_path / "left", right), write_file(tmp_path / "right", left)
    assert planned(capsys, *folders, "--on=k0")[1].startswith("way: broadcast (the left side has about ")
    assert planned(capsys, *folders, "--on=k0", "--how=left")[1].startswith(
        "way: broadcast (the right side has about "
    )


def test_a_side_that_turns_out_large_names_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right, _ = keyed(("int",), seed=24)
    folders = write_file(tmp_path / "left", left), write_file(tmp_path / "right", right)
    flags = ("--on=k0", "--way=broadcast", "--broadcast_bytes=200", "--how=left")
    assert join(*folders, tmp_path / "out", *flags) == 1
    assert "Use --way=shuffle, or a larger --broadcast_bytes." in capsys.readouterr().err


def test_named_columns_alone_are_read(two: Two, tmp_path: Path) -> None:
    left, right, *folders = two
    chosen = ("--left_columns=note", "--right_columns=weight")
    assert join(*folders, tmp_path / "out", "--on=k0", *chosen) == 0
    found = pq.read_table(tmp_path / "out" / "documents")
    assert found.column_names == ["k0", "note", "weight"]
    some = left, right.drop_columns(["note"])
    rule = JoinRule(left=some[0].schema, right=some[1].schema, on=("k0",))
    assert rows_of(found.to_batches()) == expected(*some, rule)


WRONG = {
    "no such column": (("--on=url",), "no column 'url'"),
    "types": (
        ("--on=mixed",),
        "the left side's column 'mixed' is string, the right side's column 'mixed' is int64",
    ),
    "outer by broadcast": (("--on=k0", "--how=outer", "--way=broadcast"), "use --way=shuffle"),
    "too much": (("--on=k0", "--broadcast_bytes=2GiB"), "below 2 GiB"),
}


@pytest.mark.parametrize(("flags", "message"), WRONG.values(), ids=WRONG)
def test_what_can_not_be_joined_is_told_before_the_job(
    flags: Iterable[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: dict[str, Any] = {"k0": [1, 2]}
    left = write_file(tmp_path / "left", pa.table({**rows, "mixed": ["a", "b"]}))
    right = write_file(tmp_path / "right", pa.table({**rows, "mixed": [1, 2]}))
    assert join(left, right, tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_plan_is_there_for_programs(two: Two, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *_, left, right = two
    assert join(left, right, tmp_path / "out", "--on=k0", "--plan=json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["shuffles"] == []
    assert "Join in place" in told["steps"]
