"""One run after another, and partitioned files: real documents, beside a union-find over shared buckets."""

import gzip
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.kernels.banding import Banding, buckets
from beam_etl.kernels.minhash import permutations, signatures
from beam_etl.pipelines import incremental
from beam_etl.pipelines.dedup import run

Document = dict[str, Any]
Pairs = Mapping[int, Iterable[str]]


@pytest.fixture(scope="module")
def documents(shared: Path) -> list[Document]:
    """Every third of the set with known pairs, so that runs are short; all of them have more than five words."""
    with gzip.open(shared / "data/neardup/debdocs/docs.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [{name: row[name] for name in ("id", "domain", "text")} for row in rows[::3]]


@pytest.fixture(scope="module")
def shared_buckets(documents: list[Document]) -> Pairs:
    """Documents by bucket, with the job's defaults."""
    found = signatures(pa.array([row["text"] for row in documents]), 5, permutations(128, 1))
    assert found.shingles.min() > 0
    matrix = buckets(found.mins, Banding()).tolist()
    together: dict[int, list[str]] = defaultdict(list)
    for row, mine in zip(documents, matrix, strict=True):
        for bucket in mine:
            together[bucket].append(row["id"])
    return together


def components(pairs: Pairs, ids: set[str]) -> dict[str, str]:
    """The component of each id, by a plain union-find; documents outside `ids` join nothing."""
    parent = {name: name for name in ids}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for together in pairs.values():
        some = [name for name in together if name in ids]
        for name in some[1:]:
            parent[find(name)] = find(some[0])
    return {name: find(name) for name in ids}


def write(path: Path, rows: Iterable[Document]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def kept(output: Path) -> set[str]:
    found: set[str] = set()
    current = manifest.latest(str(output))
    assert current is not None
    for file in current.table("documents"):
        found |= {json.loads(line)["id"] for line in (output / file.path).read_text("utf-8").splitlines()}
    return found


def removals(output: Path) -> list[Document]:
    return pq.read_table(output / "removals").to_pylist()


@pytest.fixture(
    params=[pytest.param(1, id="1 partition", marks=pytest.mark.long), pytest.param(8, id="8 partitions")]
)
def partitions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_etl.io.signatures.signature_partitions", lambda _: request.param)


@pytest.mark.slow
@pytest.mark.usefixtures("partitions")
@pytest.mark.parametrize("flags", [(), ("--keep=longest",)], ids=["first", "longest"])
def test_a_later_run_removes_what_belongs_to_an_earlier_one(
    documents: list[Document], shared_buckets: Pairs, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    first = write(tmp_path / "first.jsonl", documents[::2])
    second = write(tmp_path / "second.jsonl", documents[1::2])
    kept_signatures, before, after = tmp_path / "signatures", tmp_path / "before", tmp_path / "after"
    assert (
        run([f"--input={first}", f"--output={before}", f"--write_signatures={kept_signatures}", *flags]) == 0
    )
    assert run([f"--input={second}", f"--output={after}", f"--against={kept_signatures}", *flags]) == 0

    a, b = ({row["id"] for row in rows} for rows in (documents[::2], documents[1::2]))
    alone, second_alone, everything = (components(shared_buckets, ids) for ids in (a, b, a | b))
    with_earlier = {everything[name] for name in a}
    touches = {second_alone[name] for name in b if everything[name] in with_earlier}
    assert len(kept(before)) == len(set(alone.values()))
    assert len(kept(after)) == len({second_alone[name] for name in b} - touches)
    joined = len(set(alone.values())) - len(
        with_earlier
    )  # clusters of the first that the second would have joined
    assert joined > 0
    assert len(kept(before)) + len(kept(after)) == len(set(everything.values())) + joined

    assert kept(after) | {row["id"] for row in removals(after)} == b
    for row in removals(after):
        earlier = row["survivor_dataset"] == str(kept_signatures)
        assert earlier == (second_alone[row["id"]] in touches)
        assert row["survivor_id"] in (a if earlier else kept(after))
        assert everything[row["survivor_id"]] == everything[row["id"]]
        assert row["survivor_file"] == (first if earlier else second)


@pytest.mark.slow
def test_each_copy_of_an_earlier_document_is_found_however_full_its_buckets_are(
    documents: list[Document], tmp_path: Path
) -> None:
    given = write(tmp_path / "in.jsonl", documents[:300])
    flags = (f"--input={given}", "--threshold=0.9", "--bands=3", "--band_rows=1")
    assert run([*flags, f"--output={tmp_path}/out", f"--write_signatures={tmp_path}/signatures"]) == 0
    assert run([*flags, f"--output={tmp_path}/again", f"--against={tmp_path}/signatures"]) == 0
    assert len(removals(tmp_path / "again")) == 300


@pytest.mark.slow
@pytest.mark.usefixtures("partitions")
def test_a_second_run_over_the_same_documents_keeps_none(documents: list[Document], tmp_path: Path) -> None:
    given = write(tmp_path / "in.jsonl", documents[:300])
    flags = (f"--input={given}", "--threshold=0.8")
    one, two = tmp_path / "one", tmp_path / "two"
    assert run([*flags, f"--output={tmp_path}/out", f"--write_signatures={one}"]) == 0
    again = [*flags, f"--output={tmp_path}/again", f"--against={one}", f"--write_signatures={two}"]
    assert run(again) == 0
    assert not (tmp_path / "again/documents").exists()
    rows = removals(tmp_path / "again")
    assert sorted(row["id"] for row in rows) == sorted(row["id"] for row in documents[:300])
    assert all(row["similarity"] is not None and row["similarity"] >= 0.5 for row in rows)
    assert run([*flags, f"--output={tmp_path}/third", f"--against={one},{two}"]) == 0
    assert {row["survivor_dataset"] for row in removals(tmp_path / "third")} <= {str(one), str(two)}


GONE: dict[str, tuple[Callable[[Path], object], str]] = {
    "replaced": (lambda folder: shutil.rmtree(folder / "_manifests"), "the dataset was replaced"),
    "buckets removed": (lambda folder: shutil.rmtree(folder / "buckets"), "buckets/part-"),
    "buckets damaged": (
        lambda folder: [path.write_bytes(b"PAR1") for path in folder.glob("buckets/*")],
        "arquet",
    ),
    "signatures removed": (lambda folder: shutil.rmtree(folder / "signatures"), "signatures/part-"),
}


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="near", marks=pytest.mark.long),
        pytest.param(("--threshold=0.8",), id="verified"),
    ],
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.long] * (name == "buckets damaged"))
        for name, case in GONE.items()
    ],
)
def test_signatures_that_go_away_while_a_run_reads_them_fail_it_and_nothing_is_published(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    message: str,
    flags: tuple[str, ...],
) -> None:
    given = write(tmp_path / "in.jsonl", [{"id": "a", "text": "one text of some six words here"}])
    earlier = tmp_path / "earlier"
    assert run([f"--input={given}", f"--output={tmp_path}/out", f"--write_signatures={earlier}", *flags]) == 0
    opened = incremental.open_signatures

    def then_change(*arguments: Any) -> Any:
        found = opened(*arguments)
        change(earlier)
        return found

    monkeypatch.setattr(incremental, "open_signatures", then_change)
    assert run([f"--input={given}", f"--output={tmp_path}/again", f"--against={earlier}", *flags]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Run again." in told
    assert "Traceback" not in told
    assert not (tmp_path / "again").exists()


def test_runs_one_after_another_take_these_shuffles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shuffles(*flags: str) -> list[list[str]]:
        capsys.readouterr()
        given = write(tmp_path / "in.jsonl", [{"id": "a", "text": "some words"}])
        assert run([f"--input={given}", f"--output={tmp_path}/other", *flags, "--plan=json"]) == 0
        return [shuffle["by"] for shuffle in json.loads(capsys.readouterr().out)["shuffles"]]

    signatures = tmp_path / "signatures"
    one = write(tmp_path / "one.jsonl", [{"id": "b", "text": "other words"}])
    assert run([f"--input={one}", f"--output={tmp_path}/out", f"--write_signatures={signatures}"]) == 0
    usual = [["bucket"], ["split"], ["survivor", "salt"], ["domain"]]
    after = [["bucket"], ["split"], ["document"], ["survivor", "salt"], ["domain"]]
    assert sorted(shuffles()) == sorted(usual)
    assert sorted(shuffles(f"--against={signatures}")) == sorted(after)
    assert sorted(shuffles(f"--write_signatures={tmp_path}/new")) == sorted(
        [*usual, ["bucket"], ["document"]]
    )


@pytest.mark.slow
def test_partitioned_files_are_deduplicated_without_a_shuffle(
    documents: list[Document], shared_buckets: Pairs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_domain: dict[str, list[Document]] = defaultdict(list)
    for row in documents:
        by_domain[row["domain"]].append(row)
    for number, rows in enumerate(by_domain.values()):
        write(tmp_path / f"in/{number:02d}.jsonl", rows)
    flags = [f"--input={tmp_path}/in", "--within=domain"]
    assert run([*flags, f"--output={tmp_path}/here", "--partitioned=true", "--plan=json"]) == 0
    assert json.loads(capsys.readouterr().out)["shuffles"] == []
    assert run([*flags, f"--output={tmp_path}/here", "--partitioned=true"]) == 0
    assert run([*flags, f"--output={tmp_path}/there"]) == 0
    assert run([f"--input={tmp_path}/in", f"--output={tmp_path}/across"]) == 0

    inside = [components(shared_buckets, {row["id"] for row in rows}) for rows in by_domain.values()]
    expected = sum(len(set(found.values())) for found in inside)
    assert len(kept(tmp_path / "here")) == expected
    assert kept(tmp_path / "here") == kept(tmp_path / "there")
    key = ("file", "position")
    here, there = (
        sorted(removals(tmp_path / name), key=lambda row: [row[part] for part in key])
        for name in ("here", "there")
    )
    assert here == there
    assert len(here) < len(removals(tmp_path / "across"))


@pytest.mark.parametrize("flags", [(), ("--partitioned=true",)], ids=["shuffled", "partitioned"])
def test_empty_documents_and_large_clusters_are_told(
    flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["", "one and the same text of some words", "another text"]
    rows = [{"id": str(number), "domain": "a", "text": texts[number % 3]} for number in range(12)]
    given = write(tmp_path / "in.jsonl", rows)
    asked = ("--within=domain", "--max_cluster_size=3", *flags)
    assert run([f"--input={given}", f"--output={tmp_path}/out", *asked]) == 0
    told = capsys.readouterr().out
    assert "4 empty documents: kept, and nobody's duplicates" in told
    assert "2 clusters of more than 3 documents" in told
    assert len(kept(tmp_path / "out")) == 6
