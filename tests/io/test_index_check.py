"""A sound index passes; whatever is wrong with one is found, though its checksums are right, and told."""

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_etl.io import index_files
from beam_etl.io.index_check import IndexCheck
from beam_etl.io.index_compare import Comparison, read_as_built
from beam_etl.io.index_manifest import open_index
from beam_etl.io.index_report import Report
from beam_etl.kernels import blocks, indexing, pieces, split_terms
from beam_etl.pipelines import check_index, inverted_index
from tests.index_lies import ROW_GROUP_BYTES, Index, Row, load, save

GRANULE_BITS, BLOCK_POSTINGS = 4, 16
"""Instead of 16 and 65,536: so that 200 documents have blocks and ranges."""

DOCUMENTS = 200


def document(number: int) -> Row:
    """One that has `the` once or more, `even` in half of them, and some rare words."""
    draw = random.Random(number)
    rare = [f"w{draw.randrange(60)}" for _ in range(draw.randrange(8))]
    regular = ["the"] * (1 + number % 3) + ["even"] * (number % 2 == 0) + ["seldom"] * (number % 20 == 0)
    text = " ".join([*regular, *rare, *["end"] * (number % 3 == 0)])
    return {"id": f"id{number}", "url": f"https://one.org/{number}", "text": text}


def write(folder: Path, numbers: range = range(DOCUMENTS)) -> Path:
    folder.mkdir(parents=True)
    half = len(numbers) // 2
    for name, part in (("a", numbers[:half]), ("b", numbers[half:])):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(document(number)) for number in part))
    return folder


@contextmanager
def small() -> Iterator[None]:
    """What is cut in thousands is cut in tens, and there are four partitions."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pieces, blocks, indexing, split_terms, index_files):
            patch.setattr(module, "GRANULE_BITS", GRANULE_BITS)
        patch.setattr(split_terms, "SAMPLED", 1)
        patch.setattr(split_terms, "SPLIT_BYTES", 400)
        patch.setattr(index_files, "ROW_GROUP_BYTES", ROW_GROUP_BYTES)
        patch.setattr(
            index_files, "merge_pieces", partial(blocks.merge_pieces, block_postings=BLOCK_POSTINGS)
        )
        build = inverted_index.BuildInvertedIndex
        patch.setattr(inverted_index, "BuildInvertedIndex", partial(build, partitions=4))
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("source") / "in")


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with positions, split terms and terms of several blocks."""
    output = tmp_path_factory.mktemp("built") / "index"
    with small():
        assert inverted_index.run([f"--input={source}", f"--output={output}", "--positions=true"]) == 0
    return output


def checked(folder: Path, documents: Path | None = None, threads: int = 2) -> Report:
    report = Report()
    current = open_index(str(folder), report)
    if current is None:
        return report
    check = IndexCheck(
        str(folder), current, report, threads, documents is not None, GRANULE_BITS, BLOCK_POSTINGS
    )
    check.run()
    if documents is not None:
        Comparison(check, read_as_built([str(documents)], current.about["config"]), threads).run()
    return report


def test_the_index_of_these_tests_has_what_they_need(built: Path) -> None:
    index = load(built)
    assert len(index.postings) == len(index.documents) == 4
    assert [row["term"] for row in index.split_terms] == ["the"]
    assert sum(any(row["term"] == "the" for row in rows) for rows in index.postings.values()) == 2
    assert len(index.blocks("even")) > 2
    terms = [row for path in (built / "terms").iterdir() for row in pq.read_table(path).to_pylist()]
    assert max(row["row_groups"] for row in terms) > 1


@pytest.mark.parametrize("threads", [1, 3])
def test_a_sound_index_passes(built: Path, source: Path, threads: int) -> None:
    report = checked(built, source, threads)
    assert list(report.lines()) == []
    assert report.documents == DOCUMENTS
    assert report.bytes == sum(path.stat().st_size for path in built.rglob("*") if path.is_file())


@pytest.mark.parametrize("flags", [(), ("--positions=true",), ("--words=python",)], ids=str)
def test_a_sound_index_of_real_documents_passes(
    webtext: list[dict[str, Any]], flags: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(row) for row in webtext[:400]))
    build = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out"]
    assert inverted_index.run([*build, *flags]) == 0
    report = check_index.check(f"{tmp_path}/out", [f"{tmp_path}/in.jsonl"])
    assert list(report.lines()) == []


def test_an_index_without_words_is_sound(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": ""}\n{"id": null, "text": "?"}')
    assert inverted_index.run([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out"]) == 0
    assert list(check_index.check(f"{tmp_path}/out", [f"{tmp_path}/in.jsonl"]).lines()) == []


def test_rejected_documents_are_passed_over(tmp_path: Path) -> None:
    lines = [json.dumps(document(number)) for number in range(40)]
    lines[7:7] = ["{damaged", "[]"]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert inverted_index.run([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out"]) == 0
    assert list(check_index.check(f"{tmp_path}/out", [f"{tmp_path}/in.jsonl"]).lines()) == []


def add(row: Row, name: str, by: Any, at: int | None = None) -> None:
    if at is None:
        row[name] += by
    else:
        row[name][at] += by


def swap(values: list[Any], one: int = 0, other: int = 1) -> None:
    values[one], values[other] = values[other], values[one]


def drop_posting(block: Row) -> None:
    """Of a block whose documents have the term once."""
    assert set(block["frequencies"]) == {1}
    block["document_frequency"] -= 1
    for name in ("documents", "frequencies", "positions"):
        del block[name][1]


def move(index: Index, term: str) -> None:
    """All of a term to another partition."""
    for number, rows in index.postings.items():
        moved = [row for row in rows if row["term"] == term]
        if moved:
            rows[:] = [row for row in rows if row["term"] != term]
            target = index.postings[(number + 1) % len(index.postings)]
            target[:] = sorted([*target, *moved], key=lambda row: (row["term"], row["first_document"]))
            return


def join_blocks(index: Index, term: str, begin: int = 0) -> None:
    """Two neighbouring blocks become one of the next width."""
    rows, (one, other) = index.rows_with(term), index.blocks(term)[begin : begin + 2]
    for name in ("documents", "frequencies", "positions"):
        one[name] += other[name]
    one.update(
        width=one["width"] + 1,
        block=one["block"] // 2,
        document_frequency=len(one["documents"]),
        last_document=other["last_document"],
    )
    rows.remove(other)


def cut_block(index: Index, term: str) -> None:
    """Of a term with one block, two."""
    rows, block = index.rows_with(term), index.block(term)
    assert set(block["frequencies"]) == {1}
    parts = []
    for half in (0, 1):
        documents = [number for number in block["documents"] if number >> 7 == half]
        lengths = [index.document(number)["length"] for number in documents]
        places = dict(zip(block["documents"], block["positions"], strict=True))
        parts.append(
            {
                "term": term,
                "width": 7,
                "block": half,
                "document_frequency": len(documents),
                "first_document": documents[0],
                "last_document": documents[-1],
                "documents": documents,
                "frequencies": [1] * len(documents),
                "positions": [places[number] for number in documents],
                "impact_frequencies": [1],
                "impact_lengths": [min(lengths)],
            }
        )
    at = rows.index(block)
    rows[at : at + 1] = parts


def rename(index: Index, term: str, other: str) -> None:
    """A term becomes another, with its place in the order and its partition."""
    for rows in index.postings.values():
        for row in rows:
            if row["term"] == term:
                row["term"] = other
        rows.sort(key=lambda row: (row["term"].encode(), row["first_document"]))


def any_term(terms: dict[int, list[Row]]) -> list[Row]:
    return next(rows for rows in terms.values() if len(rows) > 3)


def in_terms(change: Callable[[list[Row]], object]) -> Callable[[Index], None]:
    def lie(index: Index) -> None:
        index.in_terms = lambda terms: (change(any_term(terms)), None)[1]

    return lie


def in_block(change: Callable[[Row], object], term: str = "even") -> Callable[[Index], None]:
    return lambda index: (change(index.block(term)), None)[1]


def in_documents(change: Callable[[list[Row]], object]) -> Callable[[Index], None]:
    return lambda index: (change(next(iter(index.documents.values()))), None)[1]


LENGTH = "length of a document"

LIES: dict[str, tuple[Callable[[Index], object], set[str]]] = {
    "frequency": (
        in_block(lambda row: add(row, "frequencies", 1, 1)),
        {"impacts", LENGTH, "number of positions"},
    ),
    "frequency of 0": (
        in_block(lambda row: add(row, "frequencies", -1, 1)),
        {"frequencies", LENGTH, "number of positions"},
    ),
    "a posting is absent": (in_block(drop_posting), {LENGTH}),
    "documents swapped": (in_block(lambda row: swap(row["documents"], 2, 3)), {"order of documents"}),
    "document twice": (
        in_block(lambda row: add(row, "documents", -2, 2)),
        {"order of documents", LENGTH},
    ),
    "document of another block": (
        in_block(lambda row: add(row, "documents", 64, -1)),
        {"bounds of a block", "first and last document", LENGTH},
    ),
    "document that isn't there": (
        in_block(lambda row: add(row, "documents", 1000, -1)),
        {"unknown document", "first and last document"},
    ),
    "document_frequency": (in_block(lambda row: add(row, "document_frequency", 1)), {"document_frequency"}),
    "fewer frequencies": (in_block(lambda row: row["frequencies"].pop()), {"document_frequency"}),
    "first_document": (
        in_block(lambda row: add(row, "first_document", 1)),
        {"first and last document"},
    ),
    "last_document": (in_block(lambda row: add(row, "last_document", -1)), {"first and last document"}),
    "number of a block": (
        in_block(lambda row: add(row, "block", 8)),
        {"bounds of a block"},
    ),
    "positions don't ascend": (
        lambda index: swap(
            next(b for b in index.blocks("the") if b["frequencies"][1] > 1)["positions"], 1, 2
        ),
        {"order of positions"},
    ),
    "a position is absent": (in_block(lambda row: row["positions"].pop()), {"number of positions"}),
    "impact": (in_block(lambda row: add(row, "impact_lengths", 1, 0)), {"impacts"}),
    "impact frequency": (in_block(lambda row: add(row, "impact_frequencies", 1, 0)), {"impacts"}),
    "no impacts": (
        in_block(lambda row: row.update(impact_lengths=[], impact_frequencies=[])),
        {"impacts"},
    ),
    "impacts of two sizes": (in_block(lambda row: row["impact_lengths"].pop()), {"impacts"}),
    "block twice": (
        lambda index: index.rows_with("even").insert(
            index.rows_with("even").index(index.block("even")), index.block("even")
        ),
        {"order of blocks", LENGTH},
    ),
    "terms in another order": (
        lambda index: swap(index.rows_with("even"), -1, -2),
        {"order of terms"},
    ),
    "term of another partition": (lambda index: move(index, "w7"), {"partition"}),
    "split term of another partition": (lambda index: move(index, "the"), {"partition"}),
    "block too large": (
        lambda index: join_blocks(index, "the"),
        {"impacts", "postings of a block", "width of blocks"},
    ),
    "block too small": (lambda index: cut_block(index, "seldom"), {"width of blocks"}),
    "long term": (lambda index: rename(index, "w7", "w" * 256), {"length of a term"}),
    "a term is absent": (
        lambda index: index.rows_with("w7").remove(index.block("w7")),
        {LENGTH},
    ),
    "terms: document_frequency": (
        in_terms(lambda rows: add(rows[1], "document_frequency", 1)),
        {"document_frequency of a term"},
    ),
    "terms: collection_frequency": (
        in_terms(lambda rows: add(rows[1], "collection_frequency", 1)),
        {"collection_frequency of a term"},
    ),
    "terms: row_group": (in_terms(lambda rows: add(rows[1], "row_group", 1)), {"row_group of a term"}),
    "terms: row_groups": (in_terms(lambda rows: add(rows[1], "row_groups", 1)), {"row_groups of a term"}),
    "terms: offset": (in_terms(lambda rows: add(rows[1], "offset", 1)), {"offset of a term"}),
    "terms: bytes": (in_terms(lambda rows: add(rows[1], "bytes", -1)), {"bytes of a term"}),
    "terms: one is absent": (in_terms(lambda rows: rows.pop(1)), {"terms"}),
    "terms: one more": (
        in_terms(lambda rows: rows.append({**rows[-1], "term": "zzz"})),
        {"terms"},
    ),
    "terms: one twice": (in_terms(lambda rows: rows.insert(1, rows[1])), {"order of terms"}),
    "terms: order": (in_terms(swap), {"order of terms"}),
    "length": (lambda index: add(index.document(5), "length", 1), {LENGTH, "statistics"}),
    "documents swapped in the table": (in_documents(swap), {"order of documents"}),
    "a document is absent": (
        lambda index: next(iter(index.documents.values())).pop(),
        {"unknown document", "impacts", "statistics"},
    ),
    "a gap between documents": (
        lambda index: index.document(DOCUMENTS - 1).update(document=DOCUMENTS),
        {"unknown document", LENGTH, "statistics", "impacts"},
    ),
    "document of another partition": (
        lambda index: index.documents[3].append(index.documents[2].pop()),
        {"partition"},
    ),
    "statistics: documents": (lambda index: add(index.statistics, "documents", 1), {"statistics"}),
    "statistics: tokens": (lambda index: add(index.statistics, "tokens", 1), {"statistics"}),
    "statistics: average_length": (
        lambda index: add(index.statistics, "average_length", 0.1),
        {"statistics"},
    ),
    "statistics: words": (lambda index: add(index.statistics, "words", "2"), {"statistics"}),
    "statistics: one is absent": (lambda index: index.statistics.pop("tokens"), {"statistics"}),
    "statistics: positions": (lambda index: index.statistics.update(positions=False), {"schema"}),
    "split term too many": (
        lambda index: index.split_terms.append({"term": "zzz", "width": 7}),
        {"split terms"},
    ),
    "split term twice": (
        lambda index: index.split_terms.append(index.split_terms[0]),
        {"split terms"},
    ),
    "split term that isn't": (
        lambda index: index.split_terms.insert(0, {"term": "even", "width": 6}),
        {"partition", "width of blocks"},
    ),
    "split term absent": (lambda index: index.split_terms.clear(), {"partition"}),
    "width of a split term": (
        lambda index: add(index.split_terms[0], "width", -1),
        {"partition", "width of blocks"},
    ),
    "small width of a split term": (
        lambda index: index.split_terms[0].update(width=2),
        {"partition", "width of a split term", "width of blocks"},
    ),
    "partitions": (
        lambda index: index.partitioning.update(
            {name: {**told, "partitions": 5} for name, told in index.partitioning.items()}
        ),
        {"partition"},
    ),
    "partitions of a table": (
        lambda index: index.partitioning["terms"].update(partitions=5),
        {"partitioning"},
    ),
    "schema in the manifest": (lambda index: index.schemas["terms"].update(bytes="int32"), {"schema"}),
}


@pytest.mark.parametrize(("lie", "kinds"), LIES.values(), ids=LIES)
def test_a_lie_with_right_checksums_is_found(
    lie: Callable[[Index], object], kinds: set[str], built: Path, tmp_path: Path
) -> None:
    index = load(built)
    lie(index)
    save(index, tmp_path / "index")
    report = checked(tmp_path / "index")
    assert not report.sound
    assert set(report.kinds) == kinds, list(report.lines())


def test_what_is_written_again_unchanged_is_sound(built: Path, source: Path, tmp_path: Path) -> None:
    save(load(built), tmp_path / "index")
    assert list(checked(tmp_path / "index", source).lines()) == []


def shift(row: Row) -> None:
    """The last position of a block, by one."""
    row["positions"][-1] += 1


AGAINST_DOCUMENTS: dict[str, tuple[Callable[[Index], object], str]] = {
    "id": (lambda index: index.document(9).update(id="x"), "document 9: .* id is 'id9', 'x' in the index"),
    "url": (lambda index: index.document(9).update(url=None), "document 9: .* url is .*, None in the index"),
    "file": (lambda index: index.document(9).update(file="in/c.jsonl"), "file is 'a.jsonl', 'c.jsonl' in"),
    "position": (lambda index: add(index.document(9), "position", 1), "document 9: .* position is "),
    "position of a term": (in_block(shift), "'even' is at position 1, 2 in the index"),
    "term": (
        lambda index: rename(index, "end", "enc"),
        "'enc' is in the index only; 'end' is in the text only",
    ),
    "left_out": (lambda index: add(index.statistics, "left_out", 1), "left_out is 1, the texts give 0"),
}


@pytest.mark.parametrize(("lie", "told"), AGAINST_DOCUMENTS.values(), ids=AGAINST_DOCUMENTS)
def test_a_lie_that_only_the_documents_tell_is_found(
    lie: Callable[[Index], object], told: str, built: Path, source: Path, tmp_path: Path
) -> None:
    index = load(built)
    lie(index)
    save(index, tmp_path / "index")
    report = checked(tmp_path / "index", source)
    assert set(report.kinds) <= {"documents", "statistics", "partition"}
    assert re.search(told, "\n".join(report.lines())), list(report.lines())


def test_an_index_of_other_documents_is_told(built: Path, tmp_path: Path) -> None:
    report = checked(built, write(tmp_path / "in", range(1, DOCUMENTS)))
    lines = list(report.lines())
    assert lines[0] == "documents: 201"
    assert "  input: 199 are in the input, 200 in the index" in lines
    told = re.compile(r"document 3: a\.jsonl, position \d+: id is 'id4', 'id3' in the index; .*terms more")
    assert any(map(told.search, lines))
    assert len(lines) < 15


def copied(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "index"))


def test_a_file_that_is_absent_is_told_and_what_it_leaves_unchecked(built: Path, tmp_path: Path) -> None:
    folder = copied(built, tmp_path)
    next((folder / "documents").iterdir()).unlink()
    report = checked(folder)
    assert report.kinds == {"absent file": 1}
    assert {"impacts", "lengths of documents", "statistics"} <= set(report.unchecked)


def test_files_that_no_manifest_lists_are_leftovers(built: Path, tmp_path: Path) -> None:
    folder = copied(built, tmp_path)
    (folder / "terms" / "part-00001-abc.parquet").write_bytes(b"")
    (folder / "other").mkdir()
    (folder / "other" / "part").write_bytes(b"")
    report = checked(folder)
    assert report.sound
    assert [note.split(" is ")[0] for note in report.notes] == ["other/part", "terms/part-00001-abc.parquet"]


FILES: dict[str, tuple[Callable[[list[Any]], object], set[str]]] = {
    "rows": (lambda files: change(files, "postings", rows=7), {"rows of a file"}),
    "bytes": (lambda files: change(files, "postings", bytes=7), {"size of a file"}),
    "checksum": (lambda files: change(files, "documents", sha256="0" * 64), {"checksum of a file"}),
    "name": (
        lambda files: change(files, "terms", path="terms/part-00009-a.parquet"),
        {"name of a file", "absent file"},
    ),
    "not listed": (
        lambda files: files.remove(next(file for file in files if file.table == "terms")),
        {"absent file"},
    ),
    "listed twice": (
        lambda files: files.append(next(file for file in files if file.table == "terms")),
        {"name of a file"},
    ),
    "another table's": (
        lambda files: change(files, "terms", path=next(f.path for f in files if f.table == "postings")),
        {"size of a file"},
    ),
}


def change(files: list[Any], table: str, **values: Any) -> None:
    at = next(at for at, file in enumerate(files) if file.table == table)
    files[at] = replace(files[at], **values)


@pytest.mark.parametrize(("lie", "kinds"), FILES.values(), ids=FILES)
def test_a_manifest_that_is_wrong_about_files_is_found(
    lie: Callable[[list[Any]], object], kinds: set[str], built: Path, tmp_path: Path
) -> None:
    index = load(built)
    index.in_files = lambda files: (lie(files), None)[1]
    save(index, tmp_path / "index")
    assert kinds & set(checked(tmp_path / "index").kinds)


def test_a_file_of_garbage_with_a_right_checksum_is_told(built: Path, tmp_path: Path) -> None:
    index = load(built)

    def lie(files: list[Any]) -> None:
        for table in ("postings", "terms", "documents", "split_terms"):
            at = next(at for at, file in enumerate(files) if file.table == table)
            path = tmp_path / "index" / files[at].path
            content = path.read_bytes()[:-100]
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            files[at] = replace(files[at], bytes=len(content), sha256=digest)

    index.in_files = lie
    save(index, tmp_path / "index")
    assert checked(tmp_path / "index").kinds == {"damaged file": 4}


def test_pages_that_are_damaged_are_told_though_the_checksum_is_right(built: Path, tmp_path: Path) -> None:
    """Nor is there ever a traceback, whatever Arrow makes of it."""
    draw = random.Random(5)
    index, folder = load(built), tmp_path / "index"
    save(index, folder)
    listed = [file for file in load(folder).manifest.files if file.table in ("postings", "terms")]
    for number in range(60):
        file = draw.choice(listed)
        content = bytearray((folder / file.path).read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        target = tmp_path / str(number)

        def lie(
            files: list[Any], path: str = file.path, content: bytes = bytes(content), target: Path = target
        ) -> None:
            at = next(at for at, each in enumerate(files) if each.path == path)
            (target / path).write_bytes(content)
            files[at] = replace(files[at], sha256=hashlib.sha256(content).hexdigest())

        index = load(built)
        index.in_files = lie
        save(index, target)
        checked(target)


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


@pytest.mark.parametrize(
    "flips", [60, pytest.param(400, marks=pytest.mark.slow)], ids=lambda flips: f"{flips} flips"
)
def test_every_bit_flip_is_found(flips: int, built: Path, tmp_path: Path) -> None:
    folder, draw = copied(built, tmp_path), random.Random(flips)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    missed = []
    for _ in range(flips):
        path = draw.choices(files, weights=[file.stat().st_size for file in files])[0]
        at, bit = draw.randrange(path.stat().st_size), draw.randrange(8)
        flip(path, at, bit)
        if checked(folder).sound:
            missed.append((path, at, bit))
        flip(path, at, bit)
    assert missed == []
    assert checked(folder).sound


@pytest.mark.slow
def test_every_bit_of_a_manifest_counts(built: Path, tmp_path: Path) -> None:
    folder, missed = copied(built, tmp_path), []
    path = folder / "_manifests" / "000001.json"
    for at in range(path.stat().st_size):
        for bit in range(8):
            flip(path, at, bit)
            report = Report()
            if open_index(str(folder), report) is not None and report.sound:
                missed.append((at, bit))
            flip(path, at, bit)
    assert missed == []
