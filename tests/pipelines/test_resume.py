"""`--resume`: what a run had finished when it failed or was killed isn't done again, and no row is another one."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io.apply_decisions import _Apply
from beam_etl.io.commit import PUBLISHED
from beam_etl.io.read import ReadDocuments
from beam_etl.io.spill_files import SpillFile
from beam_etl.pipelines import curate, extract
from beam_etl.transforms.children import close_children
from tests.archives import response
from tests.attempts import OTHER, rows_of
from tests.cloud import CLOUDS, in_environment
from tests.faults import EQUAL, FaultReport
from tests.faults import NOTHING as NO_DATASET
from tests.places import attempt, listed
from tests.resuming import (
    ALL,
    IN_LAST_READ,
    LINES,
    NOTHING,
    RECORD,
    SETTLE,
    SPLIT_FILE,
    Order,
    check_said,
    check_same,
    kill,
    numbered,
    resumed,
    rows,
    taken,
)
from tests.stored import write

SINCE = {
    "nothing": ("3 splits of the input; 60 documents in",),
    "a file was torn": ("2 splits of the input; 40 documents in",),
    "a file isn't as it was written": (
        "its part of the input is read again",
        "2 splits of the input; 40 documents in",
    ),
    "a split was worked on twice": ("3 splits of the input; 60 documents in",),
    "an input was written anew": ("starting from the beginning",),
}
"""What has happened since a run failed, and what the next one says."""

SINCE_IN_CI = ("a file isn't as it was written",)


def hurt(how: str, folder: Path, source: Path) -> None:
    """What may become of files after a run died."""
    files = sorted((folder / "_staging").glob("*/split-*"))
    assert len(files) == 4  # one isn't whole
    content = files[0].read_bytes()
    if how == "a file was torn":
        files[0].write_bytes(content[:-1])
    elif how == "a file isn't as it was written":
        files[0].write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    elif how == "a split was worked on twice":
        (files[0].parent / f"{files[0].name[:-12]}twice.arrows").write_bytes(content)
    elif how == "an input was written anew":
        os.utime(source / "0.jsonl", (5, 5))


@pytest.fixture
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of a file of 60 documents, which are equally long."""
    size = len(next(iter(numbered(files=1, rows=20).values())))
    monkeypatch.setitem(ReadDocuments.__init__.__kwdefaults__, "split_bytes", size)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Flags of a job over two files, and what it gives where none is split."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for name, content in numbered(files=2, rows=60).items():
        write(folder / "in", name, content)
    steps = "[words]\nforbidden_words = ['number 007']\n[lines]\nmatch = 'exact'\nmin_length = 12\n[exact]\n[funnel]\n"
    config = write(folder, "steps.toml", steps.encode())
    flags = [f"--config={config}", f"--input={folder}/in/*.jsonl", "--direct_num_workers=1"]
    assert curate.run([*flags, f"--output={folder}/out"]) == 0
    return flags, folder


@pytest.mark.usefixtures("small_splits")
@pytest.mark.parametrize(
    ("how", "told"),
    [
        pytest.param(how, told, id=how, marks=() if how in SINCE_IN_CI else pytest.mark.long)
        for how, told in SINCE.items()
    ],
)
def test_splits_that_were_read_are_not_read_again(
    how: str,
    told: tuple[str, ...],
    undisturbed: tuple[list[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, folder = undisturbed
    given = [*given, f"--output={tmp_path}/out"]
    closing, calls = SpillFile.close_split, iter(range(99))

    def failing(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise OSError("no space left")
        return closing(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SpillFile, "close_split", failing)
        assert curate.run(given) == 1
    hurt(how, tmp_path / "out", folder / "in")
    left = list((tmp_path / "out/_staging").iterdir())
    capsys.readouterr()
    assert curate.run([*given, "--resume=true"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("curate: ")]
    check_said(said, told)
    if how == "an input was written anew":  # what was put down of the old one stays for a day
        for old in left:
            shutil.rmtree(old)
    check_same(f"{tmp_path}/out", f"{folder}/out")


KILLS: dict[str, tuple[tuple[str, str, str, int, bool], tuple[str, ...]]] = {
    "before the first split is whole": ((*SPLIT_FILE, 0, False), (NOTHING,)),
    "when a split is whole": ((*SPLIT_FILE, 0, True), ("1 splits of the input; 20 documents",)),
    "in the first read": ((*SPLIT_FILE, 2, True), ("3 splits of the input; 60 documents",)),
    "in the middle of a split": (
        ("beam_etl.io.spill_files", "SpillFile._add", "documents", 2, True),
        ("2 splits of the input; 40 documents",),
    ),
    "before all are recorded": ((*RECORD, 0, False), ("6 splits of the input; 120 documents",)),
    "when all are recorded": ((*RECORD, 0, True), (ALL,)),
    "while lines are cut": (("beam_etl.transforms.repeated_lines", "_Remove._outputs", "", 1, False), (ALL,)),
    "before edited ones are recorded": (("beam_etl.io.staging", "mark_owner", "", 3, False), (ALL,)),
    "in the last read": ((*IN_LAST_READ, 0, False), (ALL, LINES)),
    "at the first file written": (("beam_etl.io.data_files", "OpenFile.close", "", 0, True), (ALL, LINES)),
    "before it is published": ((*SETTLE, 0, False), (ALL, LINES)),
}
"""Where a run dies, as killed_jobs.arm takes it; and what the next one says it takes over."""

KILLS_IN_CI = ("in the first read", "in the last read")


def cases(kills: Mapping[str, Sequence[Any]], in_ci: Sequence[str]) -> list[Any]:
    """For parametrize: the name of each, where a run dies and what the next one says."""
    return [
        pytest.param(name, *kill, id=name, marks=() if name in in_ci else pytest.mark.long)
        for name, kill in kills.items()
    ]


@pytest.mark.usefixtures("small_splits")
@pytest.mark.parametrize(
    ("when", "where", "told"),
    cases(KILLS, KILLS_IN_CI),
)
def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(
    when: str,
    where: Sequence[Any],
    told: tuple[str, ...],
    undisturbed: tuple[list[str], Path],
    faults: FaultReport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, folder = undisturbed
    order = Order("curate", [*given, f"--output={tmp_path}/out"], where)
    kill(order)
    check_said(resumed(order, f"{tmp_path}/out", capsys), told)
    check_same(f"{tmp_path}/out", f"{folder}/out")
    faults.resume("curate: lines and exact duplicates of 2 files", when, NO_DATASET, taken(told), EQUAL)


STORES_IN_CI = ("while lines are cut",)


@pytest.mark.usefixtures("small_splits")
@pytest.mark.parametrize(
    ("when", "where", "told"),
    cases(KILLS, STORES_IN_CI),
)
def test_what_a_killed_run_left_in_a_store_is_taken_over_and_gone_then(
    when: str,
    where: Sequence[Any],
    told: tuple[str, ...],
    undisturbed: tuple[list[str], Path],
    faults: FaultReport,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, folder = undisturbed
    with ExitStack() as stack:
        roots = [
            stack.enter_context(in_environment(stack.enter_context(make()))).root for make in CLOUDS.values()
        ]
        orders = [Order("curate", [*given, f"--output={root}/out"], where) for root in roots]
        kill(*orders)
        for order, root in zip(orders, roots, strict=True):
            check_said(resumed(order, f"{root}/out", capsys), told)
            check_same(f"{root}/out", f"{folder}/out")
            what = f"curate to {root[:5]}: lines and exact duplicates of 2 files"
            faults.resume(what, when, NO_DATASET, taken(told), EQUAL)


@pytest.mark.usefixtures("small_splits")
@pytest.mark.parametrize("equal", [True, False], ids=["an equal one", "another one"])
def test_a_run_that_another_one_overtakes_says_what_to_do(
    equal: bool,
    undisturbed: tuple[list[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An equal one has removed what both had put down. What another one left there is taken over later on."""
    given, folder = undisturbed
    output = f"{tmp_path}/out"
    given = [*given, f"--output={output}"]
    applied, first = _Apply._applied, iter([True])

    def overtaken(*arguments: Any) -> Any:
        if next(first, False):
            assert attempt(output, OTHER) == PUBLISHED
            if equal:
                shutil.rmtree(f"{output}/_staging")
        return applied(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_Apply, "_applied", overtaken)
        assert curate.run(given) == 1
    said = capsys.readouterr().err
    assert f"curate: another job published to {output} while this one ran; nothing of it was touched." in said
    assert (
        "its result is there; to replace it, run again with --overwrite=true, and --resume=true to take"
        in said
    )
    assert listed(output) == rows_of(OTHER)
    if equal:
        return
    assert curate.run([*given, "--overwrite=true", "--resume=true"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("curate: ")]
    check_said(told, (ALL, LINES))
    check_same(output, f"{folder}/out")


KILLS_OF_EXTRACT = {
    "while text of pages is extracted": (
        ("beam_etl.transforms.extract", "_Extract._outputs", "", 2, False),
        ("2 splits of the input",),
    ),
    "when a split is whole": ((*SPLIT_FILE, 0, True), ("1 splits of the input",)),
    "at the first file written": (
        ("beam_etl.io.data_files", "OpenFile.close", "", 0, True),
        ("3 splits of the input",),
    ),
    "before all are recorded": ((*RECORD, 0, False), ("3 splits of the input",)),
    "when all are recorded": ((*RECORD, 0, True), (ALL,)),
    "before it is published": ((*SETTLE, 0, False), (ALL,)),
}

EXTRACT_IN_CI = ("when a split is whole",)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Path, int]]:
    """Flags of a job over pages, some of which are removed or rejected; what it gives; a third of their size."""
    folder = tmp_path_factory.mktemp("extracted")
    pages = [
        response(
            f"https://{'ab'[number % 7 == 0]}.example/{number}",
            f"<p>{'A long page. ' * (400 if number % 20 == 9 else 1)}The number of this one is {number}.".encode(),
        )
        for number in range(60)
    ]
    crawl = write(folder, "a.warc", b"".join(pages))
    flags = [f"--input={crawl}", "--blocklist=b.example", "--max_page_bytes=2000", "--max_reject_fraction=1"]
    flags += ["--detect_language=false", "--direct_num_workers=1"]
    try:
        assert extract.run([*flags, f"--output={folder}/out"]) == 0
        yield flags, folder, crawl.stat().st_size // 3 + 1
    finally:
        close_children()


@pytest.mark.parametrize(
    ("when", "where", "told"),
    cases(KILLS_OF_EXTRACT, EXTRACT_IN_CI),
)
def test_a_killed_extraction_goes_on_and_ends_as_an_undisturbed_one(
    when: str,
    where: Sequence[Any],
    told: tuple[str, ...],
    extracted: tuple[list[str], Path, int],
    faults: FaultReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, folder, size = extracted
    monkeypatch.setitem(ReadDocuments.__init__.__kwdefaults__, "split_bytes", size)
    order = Order("extract", [*given, f"--output={tmp_path}/out", "--resume=true"], where)
    kill(order)
    check_said(resumed(order, f"{tmp_path}/out", capsys), told)
    check_same(f"{tmp_path}/out", f"{folder}/out")
    assert rows(f"{tmp_path}/out", "removals")
    assert rows(f"{tmp_path}/out", "rejects")
    faults.resume("extract: a crawl of pages", when, NO_DATASET, taken(told), EQUAL)


@pytest.mark.long
@pytest.mark.usefixtures("small_splits")
def test_steps_that_compare_nothing_go_on_where_they_were_asked_to(
    undisturbed: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *flags = undisturbed[0]
    steps = write(tmp_path, "steps.toml", b"[words]\nforbidden_words = ['number 007']\n[mask]\n[funnel]\n")
    given = [f"--config={steps}", *flags]
    assert curate.run([*given, f"--output={tmp_path}/whole"]) == 0
    order = Order("curate", [*given, f"--output={tmp_path}/out", "--resume=true"], (*SPLIT_FILE, 0, True))
    kill(order)
    check_said(resumed(order, f"{tmp_path}/out", capsys), ("1 splits of the input; 20 documents",))
    check_same(f"{tmp_path}/out", f"{tmp_path}/whole")


def test_jobs_that_were_not_asked_to_put_nothing_down(
    extracted: tuple[list[str], Path, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, _, _ = extracted
    steps = write(tmp_path, "steps.toml", b"[extract]\n")
    for job, flags in (extract, given), (curate, [given[0], f"--config={steps}"]):
        for more in (), ("--resume=true",):
            assert job.run([*flags, f"--output={tmp_path}/out", "--plan=text", *more]) == 0
            said = capsys.readouterr()
            assert ("Put down" in said.out) == ("starting from the beginning" in said.err) == bool(more)
    assert not (tmp_path / "out").exists()
