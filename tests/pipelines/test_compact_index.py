"""Several indexes made one, against the index that is built of all their documents at once."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.io import manifest
from beam_etl.io.index import files as index_files
from beam_etl.io.write import WriteDataset
from beam_etl.kernels import blocks, indexing, pieces, split_terms
from beam_etl.pipelines import check_index, compact_index, dedup, inverted_index
from beam_etl.transforms import partition_index
from beam_etl.transforms.shuffle import Shuffle
from tests.beam import run
from tests.runs import crossed_bytes, kill_at_its_first_file

Document = dict[str, Any]

TABLES = ("postings", "terms", "documents")
FAILED, USAGE = 1, 2


@pytest.fixture(scope="module")
def rows(webtext: list[Document]) -> list[Document]:
    """Some real documents, in many languages."""
    return webtext[::9]


def write(rows: Iterable[Document], path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def build(sources: Iterable[str], output: Path, *flags: str) -> str:
    assert inverted_index.run([f"--input={','.join(sources)}", f"--output={output}", *flags]) == 0
    return str(output)


def compact(segments: Iterable[str], output: Path, *flags: str) -> str:
    assert compact_index.run([f"--input={','.join(segments)}", f"--output={output}", *flags]) == 0
    return str(output)


def contents(folder: str | Path) -> dict[tuple[str, str], list[Document]]:
    """All rows of an index in their order, by table and partition; split terms by term."""
    published = manifest.latest(str(folder))
    assert published is not None
    found: dict[tuple[str, str], list[Document]] = {}
    for table in TABLES:
        for file in published.table(table):
            match = re.search(r"part-\d+", file.path)
            assert match
            found[table, match[0]] = pq.read_table(Path(folder) / file.path).to_pylist()
    split = [
        row
        for file in published.table("split_terms")
        for row in pq.read_table(Path(folder) / file.path).to_pylist()
    ]
    found["split_terms", ""] = sorted(split, key=lambda row: row["term"])
    return found


def statistics(folder: str | Path) -> Mapping[str, Any]:
    published = manifest.latest(str(folder))
    assert published is not None
    about: Mapping[str, Any] = published.about["index"]
    return about


def digests(folder: Path) -> dict[str, bytes]:
    """All files of a dataset."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Layout:
    """What decides how an index lies in partitions, blocks and ranges."""

    positions: bool = False
    parts: tuple[int, ...] = (90, 140)
    partitions: int | None = None
    granule_bits: int | None = None
    split_bytes: int | None = None


LAYOUTS = {
    "positions, several partitions": Layout(positions=True, partitions=5),
    "across granules": Layout(positions=True, granule_bits=5, partitions=3),
    "split terms": Layout(parts=(7, 70, 150), split_bytes=60, granule_bits=4, partitions=2),
}


def lay_out(layout: Layout, patch: pytest.MonkeyPatch) -> None:
    """Small documents make what large collections have: granules, blocks, split terms and partitions."""
    if layout.granule_bits is not None:
        for module in (pieces, indexing, blocks, split_terms):
            patch.setattr(module, "GRANULE_BITS", layout.granule_bits)
        for module in (indexing, index_files):
            patch.setattr(module, "DOCUMENT_GRANULE_BITS", layout.granule_bits - 1)
        small = partial(blocks.merge_pieces, block_postings=1 << layout.granule_bits)
        patch.setattr(index_files, "merge_pieces", small)
    if layout.split_bytes is not None:
        patch.setattr(split_terms, "SAMPLED", 2)
        patch.setattr(split_terms, "SPLIT_BYTES", layout.split_bytes)
    if layout.partitions is not None:
        many = lambda **given: Shuffle(**{**given, "partitions": layout.partitions})  # noqa: E731
        patch.setattr(partition_index, "Shuffle", many)


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(layout, id=name, marks=[pytest.mark.long] * (name == "across granules"))
        for name, layout in LAYOUTS.items()
    ],
)
def test_a_merged_index_equals_one_built_at_once(
    layout: Layout, rows: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(layout, monkeypatch)
    flags = (f"--positions={str(layout.positions).lower()}",)
    begin, sources = 0, []
    for number, size in enumerate(layout.parts):
        sources.append(write(rows[begin : begin + size], tmp_path / f"in/{number}.jsonl"))
        begin += size
    segments = [build([source], tmp_path / f"s{number}", *flags) for number, source in enumerate(sources)]
    before = [digests(Path(segment)) for segment in segments]
    whole = build(sources, tmp_path / "whole", *flags)
    merged = compact(segments, tmp_path / "merged")
    wanted, found = contents(whole), contents(merged)
    assert found.keys() == wanted.keys()
    for place in wanted:
        assert found[place] == wanted[place], place
    assert statistics(merged) == statistics(whole)
    assert [digests(Path(segment)) for segment in segments] == before
    if layout.granule_bits is None:  # which a check takes for granted
        assert check_index.run([merged]) == 0
    if layout.split_bytes:
        assert len(wanted["split_terms", ""]) > 10
    if layout.partitions:
        assert len({part for table, part in wanted if table == "postings"}) == layout.partitions


def test_a_merged_index_can_be_merged_again(rows: list[Document], tmp_path: Path) -> None:
    sources = [write(rows[at : at + 60], tmp_path / f"in/{at:03}.jsonl") for at in (0, 60, 120)]
    first, second, third = (build([source], tmp_path / Path(source).stem) for source in sources)
    both = compact([first, second], tmp_path / "both")
    assert contents(compact([both, third], tmp_path / "all")) == contents(build(sources, tmp_path / "whole"))


def test_a_segment_may_have_no_words_or_no_documents(tmp_path: Path) -> None:
    texts = {"a": "one two", "b": "...", "c": None, "d": "two three"}
    sources = [
        write([{"id": name, "text": text}], tmp_path / f"{name}.jsonl") for name, text in texts.items()
    ]
    tolerant = "--max_reject_fraction=1"
    segments = [build([source], tmp_path / Path(source).stem, tolerant) for source in sources]
    merged = compact(segments, tmp_path / "merged")
    assert contents(merged) == contents(build(sources, tmp_path / "whole", tolerant))
    assert [row["id"] for row in contents(merged)["documents", "part-00000"]] == ["a", "b", "d"]


def test_words_left_out_are_those_of_all_segments(tmp_path: Path) -> None:
    long = [{"id": "a", "text": f"one {'x' * 300}"}, {"id": "b", "text": f"{'y' * 256} {'z' * 999} two"}]
    segments = [build([write([row], tmp_path / f"{row['id']}.jsonl")], tmp_path / row["id"]) for row in long]
    assert statistics(compact(segments, tmp_path / "merged"))["left_out"] == 3


def removals(folder: Path, places: Iterable[tuple[str, int]], format: str = "parquet") -> str:
    """A dataset of removals, as dedup's but for columns that nobody needs."""
    found = [{"file": file, "position": position, "id": "any"} for file, position in places]
    columns = pa.schema([schema.REMOVAL.field(name) for name in ("file", "position", "id")])
    pipeline = run()
    batches = pipeline | beam.Create([pa.RecordBatch.from_pylist(found, columns)]).with_output_types(
        pa.RecordBatch
    )
    _ = {"removals": batches} | WriteDataset(output=str(folder), format=format)
    pipeline.run().wait_until_finish()
    return str(folder)


def without_places(found: Mapping[tuple[str, str], list[Document]]) -> dict[tuple[str, str], list[Document]]:
    """Where a document was read from left out."""
    return {
        place: [{**row, "file": None, "position": None} for row in rows] if place[0] == "documents" else rows
        for place, rows in found.items()
    }


def most(number: int) -> bool:
    return number % 3 > 0


KEEP: dict[str, tuple[str, Callable[[int], bool]]] = {
    "some go": ("parquet", most),
    "some go, jsonl": ("jsonl", most),
    "some go, avro": ("avro", most),
    "a segment goes": ("parquet", lambda number: number >= 50),
    "all go": ("parquet", lambda number: number < 0),
}


@pytest.mark.parametrize(
    ("format", "keep"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.long] * (name in ("some go, jsonl", "some go, avro")))
        for name, case in KEEP.items()
    ],
)
def test_removed_documents_are_as_if_they_had_never_been(
    format: str,
    keep: Callable[[int], bool],
    rows: list[Document],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lay_out(Layout(granule_bits=4, split_bytes=200, partitions=2), monkeypatch)
    parts = {"a": range(50), "b": range(50, 120)}
    gone, segments, left = [], [], []
    for name, part in parts.items():
        source = tmp_path / f"in/{name}.jsonl"
        write([rows[number] for number in part], source)
        segments.append(build([str(source)], tmp_path / name, "--positions=true"))
        position = 0
        for number, line in zip(part, source.read_bytes().splitlines(keepends=True), strict=True):
            if not keep(number):
                gone.append((str(source), position))
            position += len(line)
        left.append(write([rows[number] for number in part if keep(number)], tmp_path / f"left/{name}.jsonl"))
    told = removals(tmp_path / "told", gone, format)
    merged = compact(segments, tmp_path / "merged", f"--removals={told}")
    assert f"documents removed: {len(gone)}\n" in capsys.readouterr().out
    if any(map(keep, range(120))):
        whole = build(left, tmp_path / "whole", "--positions=true")
        assert without_places(contents(merged)) == without_places(contents(whole))
        assert statistics(merged) == statistics(whole)
    else:
        assert contents(merged) == {("split_terms", ""): []}
        assert statistics(merged)["documents"] == 0


def test_what_dedup_removed_is_dropped_and_one_of_equal_ids_stays(
    rows: list[Document], tmp_path: Path
) -> None:
    sources = [
        write(rows[:60], tmp_path / "in/a.jsonl"),
        write([*rows[40:80], *rows[:3]], tmp_path / "in/b.jsonl"),
    ]
    segments = [build([source], tmp_path / Path(source).stem) for source in sources]
    flags = (f"--input={','.join(sources)}", f"--output={tmp_path}/deduplicated", "--method=exact")
    assert dedup.run(flags) == 0
    kept = [
        json.loads(line)
        for path in sorted((tmp_path / "deduplicated/documents").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert len(kept) <= 80
    merged = compact(segments, tmp_path / "merged", f"--removals={tmp_path}/deduplicated")
    whole = build([write(kept, tmp_path / "kept.jsonl")], tmp_path / "whole")
    assert without_places(contents(merged)) == without_places(contents(whole))


def test_removals_of_other_documents_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write([{"id": "a", "text": "one"}, {"id": "b", "text": "two"}], tmp_path / "a.jsonl")
    segment = build([source], tmp_path / "a")
    some = removals(tmp_path / "some", [(source, 0), ("/elsewhere.jsonl", 0), ("/elsewhere.jsonl", 1)])
    merged = compact([segment], tmp_path / "merged", f"--removals={some}")
    told = "documents removed: 1; 2 removals are of documents that these indexes don't have"
    assert told in capsys.readouterr().out
    assert [row["id"] for row in contents(merged)["documents", "part-00000"]] == ["b"]
    none = removals(tmp_path / "none", [("/elsewhere.jsonl", 0)])
    flags = [f"--input={segment}", f"--output={tmp_path}/other", f"--removals={none}"]
    assert compact_index.run(flags) == FAILED
    assert "none of the 1 removals" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


DIFFERENT = {
    "positions": (("--positions=true",), "positions is False there, True here"),
    "words": (("--words=alphanumeric",), "words is 'words' there, 'alphanumeric' here"),
}


@pytest.mark.parametrize(("flags", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_segments_that_differ_are_refused(
    flags: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write([{"id": "a", "text": "one"}], tmp_path / "a.jsonl")
    segments = [build([source], tmp_path / "a"), build([source], tmp_path / "b", *flags)]
    assert compact_index.run([f"--input={','.join(segments)}", f"--output={tmp_path}/out"]) == USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_command_that_cannot_be_run_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write([{"id": "a", "text": "one"}], tmp_path / "a.jsonl")
    segment = build([source], tmp_path / "a")
    assert dedup.run([f"--input={source}", f"--output={tmp_path}/documents"]) == 0
    (tmp_path / "empty").mkdir()
    refused = {
        f"--input={tmp_path}/nothing": "no dataset",
        f"--input={tmp_path}/documents": "no inverted index",
        f"--input={segment},{segment}": "each needs a folder of its own",
        f"--input={segment} --removals={tmp_path}/empty": "no dataset",
        f"--input={segment} --removals={segment}x/a": "no dataset",
        f"--input={segment} --output={segment} --overwrite=true": "each needs a folder of its own",
        f"--input={segment} --output={segment}/inside": "each needs a folder of its own",
    }
    for flags, message in refused.items():
        argv = [*([] if "--output" in flags else [f"--output={tmp_path}/out"]), *flags.split()]
        assert compact_index.run(argv) == USAGE
        assert message in capsys.readouterr().err
    published = manifest.latest(segment)
    assert published is not None
    other = build([source], tmp_path / "b")
    argv = [f"--input={segment}", f"--removals={other}", f"--output={tmp_path}/out"]
    assert compact_index.run(argv) == USAGE
    assert "without a table removals" in capsys.readouterr().err


@pytest.mark.parametrize("table", ["postings", "documents"])
def test_a_damaged_segment_is_not_merged(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write([{"id": str(n), "text": f"one two {n}"} for n in range(99)], tmp_path / "a.jsonl")
    segment = build([source], tmp_path / "a")
    (damaged,) = (tmp_path / "a" / table).glob("*.parquet")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 4
    damaged.write_bytes(content)
    assert compact_index.run([f"--input={segment}", f"--output={tmp_path}/out"]) in (FAILED, USAGE)
    assert f"{damaged} isn't what was written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_segment_that_was_replaced_meanwhile_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write([{"id": "a", "text": "one"}], tmp_path / "a.jsonl")
    segment = build([source], tmp_path / "a")

    def build_late(opened: Any, config: Any) -> Mapping[str, Any]:
        tables = compact_index.build(opened, config)
        build([source], tmp_path / "a", "--overwrite=true")
        return tables

    job = replace(compact_index.JOB, build=build_late)
    assert job.run([f"--input={segment}", f"--output={tmp_path}/out"]) == FAILED
    assert f"{segment} was replaced or removed since the job began" in capsys.readouterr().err


@pytest.mark.parametrize("positions", [pytest.param("false", marks=pytest.mark.long), "true"])
def test_the_plan_expects_what_crosses(
    positions: str, webtext: list[Document], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [write(webtext[:1000], tmp_path / "a.jsonl"), write(webtext[1000:], tmp_path / "b.jsonl")]
    segments = [
        build([source], tmp_path / Path(source).stem, f"--positions={positions}") for source in sources
    ]
    argv = [f"--input={','.join(segments)}", f"--output={tmp_path}/out"]
    assert compact_index.run([*argv, "--plan=json"]) == 0
    out = capsys.readouterr().out
    shuffles = json.loads(out[out.index("{\n") :])["shuffles"]
    assert [shuffle["by"] for shuffle in shuffles] == [["term"], ["term", "range"]]
    planned = sum(shuffle["expected_bytes"] or 0 for shuffle in shuffles)
    assert compact_index.run(argv) == 0
    assert 0.75 < crossed_bytes(capsys.readouterr().out) / planned < 1.25


@pytest.mark.slow
def test_a_killed_merge_leaves_the_segments_and_can_be_run_again(
    rows: list[Document], tmp_path: Path
) -> None:
    sources = [write(rows[at : at + 60], tmp_path / f"in/{at}.jsonl") for at in (0, 60)]
    segments = [build([source], tmp_path / Path(source).stem) for source in sources]
    before = [digests(Path(segment)) for segment in segments]
    flags = [f"--input={','.join(segments)}", f"--output={tmp_path}/out"]
    kill_at_its_first_file("compact_index", flags)
    assert manifest.latest(str(tmp_path / "out")) is None
    assert list((tmp_path / "out/_staging").rglob("part-*"))
    assert [digests(Path(segment)) for segment in segments] == before
    assert compact_index.run(flags) == 0
    assert contents(tmp_path / "out") == contents(build(sources, tmp_path / "whole"))
    assert not (tmp_path / "out/_staging").exists()
