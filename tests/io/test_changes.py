"""A file that goes away or is written anew while it is read: told as such, in every format, whoever reads it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_etl.io import splits
from beam_etl.io.changes import change_of, mark_of
from beam_etl.io.columns import Columns
from beam_etl.io.files import match_files
from beam_etl.io.formats import FileEntry, format_of
from beam_etl.io.rejects import Reject
from beam_etl.io.stores import store_of
from beam_etl.io.stores.objects import ObjectStore
from beam_etl.pipelines import dedup, domain_score, lines, token_count
from tests.faults import LOCAL, FaultReport
from tests.stored import STORED, documents, json_lines, write

ROWS = documents(300)


def _touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "it goes away": (Path.unlink, "it is gone"),
    "it grows": (lambda path: path.write_bytes(path.read_bytes() + b"\n"), "it has"),
    "it is cut": (lambda path: path.write_bytes(path.read_bytes()[:100]), "it has"),
    "it is written anew": (_touch, "it was written anew"),
}


@pytest.mark.parametrize("name", [stored.name for stored in STORED])
@pytest.mark.parametrize(("change", "how"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("is_known", [True, False], ids=["since the job began", "since the split began"])
def test_the_last_item_of_a_split_tells_that_the_file_changed(
    name: str, change: Callable[[Path], object], how: str, is_known: bool, tmp_path: Path
) -> None:
    encode = next(stored.encode for stored in STORED if stored.name == name)
    path = write(tmp_path, name, encode(ROWS))
    file, known = match_files(str(path))[0], format_of(name)
    assert known is not None
    if not is_known:
        file = file._replace(modified=0)
    [split] = splits.plan_splits(file, known, 1 << 30)
    found = splits.read_split(split, known, Columns())
    first = next(found)
    change(path)
    *_, last = (first, *found)
    assert isinstance(last, Reject)
    assert last.reason.startswith(f"the file changed while the job ran: {how}")


@pytest.mark.parametrize("name", [*(stored.name for stored in STORED), "a.txt"])
def test_a_file_that_is_gone_before_it_is_planned_is_told_as_well(name: str, tmp_path: Path) -> None:
    known = format_of(name)
    assert known is not None
    gone = FileEntry(0, str(tmp_path / name), 1000)
    for split in splits.plan_splits(gone, known, 1000):
        [reject] = splits.read_split(split, known, Columns())
        assert isinstance(reject, Reject)
        assert reject.reason == "the file changed while the job ran: it is gone. Run again."


JOBS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "token_count": (token_count.run, []),
    "domain_score": (domain_score.run, ["--min_domain_score=0.1"]),
    "lines": (lines.run, []),
    "dedup in place": (dedup.run, ["--within=domain", "--partitioned=true"]),
}


WHILE_IT_IS_READ = [
    *((name, "it is written anew") for name in JOBS),
    *(("token_count", change) for change in CHANGES if change != "it is written anew"),
]


@pytest.mark.parametrize(("name", "change"), WHILE_IT_IS_READ)
def test_a_job_whose_input_changed_publishes_nothing_and_says_why(
    name: str,
    change: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    faults: FaultReport,
) -> None:
    (job, flags), (changed, _) = JOBS[name], CHANGES[change]
    rows = [{**row, "url": f"https://a{n % 3}.example/{n}"} for n, row in enumerate(ROWS)]
    path = write(tmp_path, "in/a.jsonl", json_lines(rows))
    to_documents = splits.to_documents

    def change_and_read(*arguments: object) -> object:
        changed(path)
        return to_documents(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(splits, "to_documents", change_and_read)
    code = job([f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--max_reject_fraction=1", *flags])
    assert code == 1
    told = capsys.readouterr().err
    assert f"{path}: " in told
    assert "the file changed while the job ran" in told
    assert "Traceback" not in told
    assert not list((tmp_path / "out").rglob("part-*"))
    faults.fault(
        LOCAL,
        f"{name}: an input changes while it is read ({change})",
        1,
        "exit code 1, the file named; no dataset",
    )


def test_a_file_that_could_not_be_looked_at_before_is_not_said_to_be_another(
    memory_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{memory_bucket}/a.jsonl"
    store_of(path).create(path, b"{}\n")
    file = FileEntry(0, path, 3)

    def unreachable(*_: object) -> None:
        raise OSError(5, "no answer")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "look", unreachable)
        seen = mark_of(file)
    assert change_of(file, seen) is None
    known = mark_of(file)
    store_of(path).write(path, b"[]\n")
    assert change_of(file, known) == "it was written anew"
