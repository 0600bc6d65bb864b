"""The whole job, beside plain Python, datasketch and dicts; each run is checked for what any run promises."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io.read import ReadDocuments
from beam_etl.kernels.banding import Banding
from beam_etl.kernels.partition import PartitionPlan, plan_partitions
from beam_etl.pipelines.dedup import run
from tests.dedup_runs import (
    MISSING,
    ROWS,
    Done,
    cut,
    deduplicate,
    equal,
    expected_survivors,
    lines_of,
    near,
    read,
    table,
    write,
)
from tests.duplicates import Clusters, Document

LOOSE = Banding(bands=20, rows=4)
LOOSE_FLAGS = ("--bands=20", "--band_rows=4")


def known(row: Document, name: str, sign: int) -> float:
    return MISSING if row[name] is None else sign * row[name]


def month(row: Document) -> int:
    return int(row["time"][5:7])


MODES: dict[
    str, tuple[tuple[str, ...], Callable[[Sequence[Document]], Clusters], Callable[[Document], Any]]
] = {
    "near": ((), near, lambda row: 0),
    "other bands": (
        (*LOOSE_FLAGS, "--seed=9", "--ngram=3"),
        lambda rows: near(rows, banding=LOOSE, seed=9, ngram=3),
        lambda row: 0,
    ),
    "threshold": (
        ("--threshold=0.8",),
        lambda rows: near(rows, banding=Banding(bands=14, rows=9), threshold=0.8),
        lambda row: 0,
    ),
    "threshold, loose, longest": (
        ("--threshold=0.7", *LOOSE_FLAGS, "--keep=longest"),
        lambda rows: near(rows, banding=LOOSE, threshold=0.7),
        lambda row: -len(row["text"]),
    ),
    "within": (("--within=domain",), lambda rows: near(rows, within="domain"), lambda row: 0),
    "longest": (("--keep=longest",), near, lambda row: -len(row["text"])),
    "shortest": (("--keep=shortest",), near, lambda row: len(row["text"])),
    "newest": (("--keep=newest",), near, lambda row: MISSING if row["time"] is None else -month(row)),
    "oldest": (("--keep=oldest",), near, lambda row: MISSING if row["time"] is None else month(row)),
    "largest of a column": (("--keep=max:views",), near, lambda row: known(row, "views", -1)),
    "smallest of a column": (("--keep=min:score",), near, lambda row: known(row, "score", 1)),
    "exact": (("--method=exact",), lambda rows: equal(rows, "text"), lambda row: 0),
    "exact url": (
        ("--method=exact", "--key=url", "--keep=longest"),
        lambda rows: equal(rows, "url"),
        lambda row: -len(row["text"]),
    ),
    "exact of two columns": (
        ("--method=exact", "--key=domain,views"),
        lambda rows: equal(rows, "domain", "views"),
        lambda row: 0,
    ),
}


@pytest.mark.parametrize(("flags", "clusters", "worth"), MODES.values(), ids=MODES)
def test_what_is_removed_is_what_plain_python_removes(
    flags: tuple[str, ...],
    clusters: Callable[[Sequence[Document]], Clusters],
    worth: Callable[[Document], Any],
    tmp_path: Path,
) -> None:
    expected = expected_survivors(ROWS, clusters(ROWS), worth)
    assert expected
    assert deduplicate(tmp_path, cut(ROWS, 3, "parquet"), *flags).survivors == expected


def test_real_documents(webtext: list[Document], tmp_path: Path) -> None:
    rows = webtext[:1500]
    expected = expected_survivors(rows, near(rows))
    assert len(expected) > 20
    assert deduplicate(tmp_path, cut(rows, 3, "jsonl.gz")).survivors == expected


@pytest.mark.parametrize("keep", ["newest", "oldest"])
def test_times_may_have_another_name(keep: str, tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "time"} for row in ROWS]
    expected = expected_survivors(ROWS, near(ROWS), MODES[keep][2])
    done = deduplicate(tmp_path, cut(rows, 3, "jsonl"), f"--keep={keep}", "--time_column=seen")
    assert done.survivors == expected


EXPECTED = expected_survivors(ROWS, near(ROWS, banding=LOOSE, threshold=0.7), lambda row: -len(row["text"]))

SHARDINGS = {
    "one file": (1, "parquet", ()),
    "three packed files": (3, "jsonl.gz", ("--direct_num_workers=1",)),
    "ten files, two workers": (10, "jsonl", ("--direct_num_workers=2",)),
    "ten files, one worker": (10, "parquet", ("--direct_num_workers=1",)),
    "a file for each document": (len(ROWS), "jsonl", ()),
}


@pytest.mark.parametrize(
    ("count", "suffix", "flags"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.long] * (name == "ten files, one worker"))
        for name, case in SHARDINGS.items()
    ],
)
def test_the_same_documents_stay_however_they_are_stored(
    count: int, suffix: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    done = deduplicate(
        tmp_path, cut(ROWS, count, suffix), "--threshold=0.7", *LOOSE_FLAGS, "--keep=longest", *flags
    )
    assert done.survivors == EXPECTED


def many_partitions(
    expected_bytes: int | None, key_limit: int, partitions: int | None = None
) -> PartitionPlan:
    return plan_partitions(expected_bytes, key_limit, partitions or 17)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits, bundles and slices of clusters are small, and partitions are many."""
    monkeypatch.setattr("beam_etl.io.file_source.ReadDocuments", partial(ReadDocuments, split_bytes=4000))
    for module in ("near_duplicates", "exact_duplicates", "link_files"):
        monkeypatch.setattr(f"beam_etl.transforms.{module}.GATHER_BYTES", 1)
    for module in ("shuffle", "near_duplicates", "removals"):
        monkeypatch.setattr(f"beam_etl.transforms.{module}.plan_partitions", many_partitions)
    monkeypatch.setattr("beam_etl.kernels.removals.CLUSTER_SLICE", 30)


COPIES = [{**ROWS[0], "id": f"copy{number}"} for number in range(100)]
MORE = [*ROWS[:60], *COPIES, *ROWS[60:]]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", ["near", "threshold, loose, longest", "exact"])
def test_small_splits_and_many_partitions_change_nothing(
    name: str, suffix: str, tmp_path: Path, small: None
) -> None:
    flags, clusters, worth = MODES[name]
    done = deduplicate(tmp_path, cut(MORE, 2, suffix), *flags)
    assert done.survivors == expected_survivors(MORE, clusters(MORE), worth)


STACKED = ["near", "longest", "largest of a column", "threshold, loose, longest", "exact", "exact url"]


@pytest.mark.parametrize("name", STACKED)
def test_copies_that_travel_as_one_row_are_told_one_by_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_etl.kernels.stacking.STACK_FROM", 4)
    monkeypatch.setattr("beam_etl.kernels.stacking.STACK_ROWS", 9)
    rows = [{**row, "views": place % 37} for place, row in enumerate(MORE)]
    flags, clusters, worth = MODES[name]
    done = deduplicate(tmp_path, cut(rows, 3, "parquet"), *flags)
    assert done.survivors == expected_survivors(rows, clusters(rows), worth)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="{0[0]} then {0[1]}".format)
def test_the_order_of_patterns_does_not_matter(order: tuple[str, str], tmp_path: Path) -> None:
    half = len(ROWS) // 2
    write(tmp_path / "a", {"x.jsonl": ROWS[:half]})
    write(tmp_path / "b", {"x.jsonl": ROWS[half:]})
    inputs = ",".join(str(tmp_path / name) for name in order)
    assert run([f"--input={inputs}", f"--output={tmp_path}/out"]) == 0
    found = {row["id"]: row["survivor_id"] for row in table(tmp_path / "out", "removals")}
    assert found == expected_survivors(ROWS, near(ROWS))


def chain(length: int) -> list[Document]:
    """Each document shares a half of its words with the one before it, and half with the one after."""
    return [
        {"id": f"c{place}", "text": " ".join(f"w{number}" for number in range(30 * place, 30 * place + 60))}
        for place in range(length)
    ]


CHAIN = ("--ngram=1", "--bands=128", "--band_rows=1")


def test_one_process_and_rounds_give_the_same_clusters(tmp_path: Path, small: None) -> None:
    rows = chain(120)
    found = {
        way: deduplicate(
            tmp_path / way, cut(rows, 30, "jsonl"), *CHAIN, f"--components={way}", "--component_rounds=7"
        ).removals
        for way in ("one", "rounds")
    }
    without_files = {
        way: sorted(
            (row["id"], row["survivor_id"], row["cluster"], row["cluster_size"], row["band"]) for row in rows
        )
        for way, rows in found.items()
    }
    assert without_files["one"] == without_files["rounds"]
    assert len(without_files["one"]) == 119


def test_a_graph_that_needs_more_rounds_publishes_nothing(
    tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", cut(chain(200), 50, "jsonl"))
    flags = [
        f"--input={source}",
        f"--output={tmp_path}/out",
        *CHAIN,
        "--components=rounds",
        "--component_rounds=1",
    ]
    assert run(flags) == 1
    errors = capsys.readouterr().err
    assert "--component_rounds" in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "out").rglob("*.json*"))


def test_rejects_stay_out_and_are_told_once(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    lines = lines_of(ROWS)
    broken = [b"{broken\n", b'{"id": "no text"}\n', b"[]\n"]
    (source / "a.jsonl").write_bytes(b"".join([*lines[:20], *broken, *lines[20:]]))
    output = tmp_path / "out"
    assert run([f"--input={source}", f"--output={output}", "--max_reject_fraction=1"]) == 0
    rejects = table(output, "rejects")
    kept = [row for path in sorted((output / "documents").iterdir()) for row in read(path)]
    removed = table(output, "removals")
    assert len(kept) + len(removed) + len(rejects) == len(lines) + len(broken)
    assert {row["id"]: row["survivor_id"] for row in removed} == expected_survivors(ROWS, near(ROWS))
    assert b"{broken" in {row["payload"].strip() for row in rejects}


def test_empty_documents_are_counted_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": f"e{place}", "text": ""} for place in range(1234)]
    for method in ("near", "exact"):
        done = deduplicate(tmp_path / method, cut(rows, 2, "jsonl"), f"--method={method}")
        assert done.ids == [row["id"] for row in rows]
        assert "1,234 empty documents" in capsys.readouterr().out


def test_an_input_without_documents(tmp_path: Path) -> None:
    for number, flags in enumerate([("--threshold=0.8", "--keep=longest"), ("--method=exact",)]):
        done = deduplicate(tmp_path / str(number), {"a.parquet": []}, *flags)
        assert done == Done([], [])


def test_a_document_alone_is_kept(tmp_path: Path) -> None:
    done = deduplicate(tmp_path, {"a.parquet": ROWS[:1]}, "--threshold=0.8", "--keep=longest")
    assert done == Done(ROWS[:1], [])


@pytest.mark.parametrize("name", ["dataset", "cluster"])
def test_columns_of_the_user_may_have_our_names(name: str, tmp_path: Path) -> None:
    """As a key, within and to keep by. The removal table has none of their values."""
    rows = [{"id": f"d{place}", "text": f"text {place % 9}", name: place % 4} for place in range(40)]
    for number, (flags, clusters, sign) in enumerate(
        [
            (("--method=exact", f"--key={name}", f"--keep=max:{name}"), equal(rows, name), -1),
            ((f"--within={name}", f"--keep=min:{name}"), near(rows, within=name), 1),
        ]
    ):
        done = deduplicate(tmp_path / str(number), cut(rows, 2, "jsonl"), *flags)
        assert done.survivors == expected_survivors(rows, clusters, lambda row: sign * row[name])  # noqa: B023
        alike = defaultdict(set)
        for row in done.removals:
            alike[row["cluster"]].add((row["reason"], row["content_hash"], row["band"], row["similarity"]))
        assert {len(told) for told in alike.values()} == {1}
        assert {row["reason"] for row in done.removals} == {"exact"}


@pytest.mark.parametrize("name", ["near", "threshold, loose, longest", "exact"])
def test_files_that_are_partitioned_already_need_no_shuffle(name: str, tmp_path: Path) -> None:
    parts = defaultdict(list)
    for row in ROWS:
        parts[str(row["domain"])].append(row)
    rows = [row for some in parts.values() for row in some]
    flags, _, worth = MODES[name]
    files = {f"{number}.parquet": some for number, some in enumerate(parts.values())}
    clusters = {
        "near": partial(near, within="domain"),
        "threshold, loose, longest": partial(near, within="domain", banding=LOOSE, threshold=0.7),
        "exact": lambda rows: equal(
            [{**row, "domain": str(row["domain"])} for row in rows], "domain", "text"
        ),
    }[name]
    expected = {
        node: nodes
        for node, nodes in clusters(rows).items()
        if rows[node]["text"]  # type: ignore[operator]
    }
    done = deduplicate(tmp_path, files, *flags, "--within=domain", "--partitioned=true")
    assert done.survivors == expected_survivors(rows, expected, worth)
