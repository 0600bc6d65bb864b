"""An index is searched as if everything were scored, and only what is needed is read of it."""

import gzip
import json
import math
import random
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest, table_files
from beam_etl.io.errors import InputError
from beam_etl.io.index import segment as index_segment
from beam_etl.io.index.reader import InvertedIndex
from beam_etl.io.manifest import DatasetError
from beam_etl.io.table_files import FOOTER_BYTES
from beam_etl.kernels.query import QueryError
from beam_etl.pipelines import inverted_index
from tests.datasets import publish
from tests.indexes import Expected, write_index
from tests.ranking import Collection, average_precision, ndcg, random_query, random_text, typed

GRANULE_BITS, DOCUMENT_GRANULE_BITS = 4, 3
"""Instead of 14 and 12: so that 300 documents have many blocks, ranges and row groups."""

SIZES = (130, 1, 169)
"""Documents of each segment."""

PARAMETERS = [(1.2, 0.75), (0.0, 0.75), (0.4, 0.0), (5.0, 1.0)]


def segments(positions: bool = True) -> list[Expected]:
    """Unlike in partitions, blocks and split terms: that doesn't change what is found."""
    draw = random.Random(5)
    return [
        Expected(
            texts=[random_text(draw) for _ in range(size)],
            ids=[f"{number}-{each}" for each in range(size)],
            positions=positions,
            split={"w0": 4, "w2": 5} if size > 1 else {},
            partitions=partitions,
            block_postings=block_postings,
            granule_bits=GRANULE_BITS,
            document_granule_bits=DOCUMENT_GRANULE_BITS,
        )
        for number, (size, partitions, block_postings) in enumerate(
            zip(SIZES, (4, 1, 3), (8, 1, 20), strict=True)
        )
    ]


@pytest.fixture(scope="module")
def expected() -> list[Expected]:
    return segments()


@pytest.fixture(scope="module")
def folders(expected: list[Expected], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("indexes")
    return [str(write_index(root / str(number), each)) for number, each in enumerate(expected)]


@pytest.fixture(autouse=True)
def small_granules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "folders" in request.fixturenames:
        monkeypatch.setattr(index_segment, "DOCUMENT_GRANULE_BITS", DOCUMENT_GRANULE_BITS)


def collection(expected: list[Expected]) -> Collection:
    return Collection([words for each in expected for words in each.split_words])


@pytest.mark.slow
def test_a_search_finds_what_scoring_everything_finds(expected: list[Expected], folders: list[str]) -> None:
    draw, index, all_of_it = random.Random(6), InvertedIndex(folders), collection(expected)
    blocks = read = 0
    for _ in range(1000):
        parts = random_query(draw)
        k, (k1, b) = draw.choice([1, 3, 10, 1000]), draw.choice(PARAMETERS)
        found = index.search(typed(parts), k, k1, b)
        assert list(found.hits) == all_of_it.search(parts, k, k1, b), (typed(parts), k, k1, b)
        blocks, read = blocks + found.blocks, read + found.blocks_read
        for hit in found.hits[:2]:
            explained = index.explain(typed(parts), hit.document, k1, b)
            assert sum((part.score for part in explained), 0.0) == hit.score
    assert read < blocks


def test_a_term_has_its_postings(expected: list[Expected], folders: list[str]) -> None:
    index, offsets = InvertedIndex(",".join(folders)), (0, SIZES[0], SIZES[0] + SIZES[1])
    terms = {term for each in expected for term in each.entries}
    for term in [*sorted(terms), "absent", ""]:
        wanted = [
            (offset + document, frequency, list(places))
            for each, offset in zip(expected, offsets, strict=True)
            for document, frequency, places in each.entries.get(term, [])
        ]
        assert list(index.postings(term)) == wanted
        assert index.frequency(term) == len(wanted)


def test_documents_go_on_from_segment_to_segment(expected: list[Expected], folders: list[str]) -> None:
    index = InvertedIndex(folders)
    rows = [row for each in expected for row in each.documents()]
    for number, row in enumerate(rows):
        found = index.document(number)._asdict()
        assert found.pop("segment") == int(row["id"][0])
        assert found == {**row, "document": number}
    with pytest.raises(IndexError, match="no document 300: there are 300"):
        index.document(300)
    tokens = sum(sum(each.lengths) for each in expected)
    assert index.statistics == (300, tokens, tokens / 300)


def test_indexes_without_positions_are_searched_but_not_for_phrases(tmp_path: Path) -> None:
    parts = segments(positions=False)
    folder = str(
        write_index(
            tmp_path / "index", replace(parts[0], granule_bits=14, document_granule_bits=12, split={})
        )
    )
    index, draw, all_of_it = InvertedIndex(folder), random.Random(7), collection(parts[:1])
    for _ in range(100):
        query = random_query(draw, phrases=False)
        assert list(index.search(typed(query), 5).hits) == all_of_it.search(query, 5, 1.2, 0.75)
    assert next(index.postings("w0"))[2] is None
    with pytest.raises(QueryError, match=r"phrases need positions.*--positions=true"):
        index.search('"w0 w1"')


@pytest.mark.parametrize("footer_bytes", [FOOTER_BYTES, 16], ids=["usual", "in two reads"])
def test_footers_of_any_size_are_read(
    footer_bytes: int, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "FOOTER_BYTES", footer_bytes)
    assert InvertedIndex(folders).search("w1 w3").hits


@pytest.mark.parametrize("partitions", [pytest.param(1, marks=pytest.mark.long), 8])
def test_a_term_costs_its_row_groups(partitions: int, webtext: list[dict[str, Any]], tmp_path: Path) -> None:
    texts = [row["text"] for row in webtext[::8]]
    wanted = Expected(texts=texts, positions=False, partitions=partitions)
    write_index(tmp_path / "index", wanted, group_blocks=1000, group_terms=1000)
    files = list((tmp_path / "index").rglob("*.parquet"))
    size = sum(path.stat().st_size for path in files)
    footer = max(FOOTER_BYTES, *(pq.read_metadata(path).serialized_size + 8 for path in files))
    for term in ("kernel", "日", "absent"):
        index = InvertedIndex(str(tmp_path / "index"))
        assert [document for document, _, _ in index.postings(term)] == [
            document for document, _, _ in wanted.entries.get(term, [])
        ]
        once = index.bytes_read
        assert 0 < once < size * 0.05 + 2 * footer
        assert list(index.postings(term))
        assert index.bytes_read == once
        index.search(term)


def test_what_is_counted_is_what_was_read(folders: list[str]) -> None:
    """As Linux counts it for the process, whose other threads may read at the same time: least of all it is ours."""
    told = Path("/proc/self/io")
    if not told.exists():
        pytest.skip("the system doesn't tell")

    def read_so_far() -> int:
        return int(told.read_text().split()[1])

    InvertedIndex(folders).search('"w1 w3"')  # and what it imports
    counted = []
    for _ in range(5):
        index, before = InvertedIndex(folders), read_so_far()
        index.search('"w1 w3"')
        counted.append(read_so_far() - before)
    first = index.bytes_read
    assert first <= min(counted) <= first + 1000
    index.search('"w1 w3"')
    assert index.bytes_read == first


def about(folder: Path, **changes: Any) -> None:
    """Publishes it again, and says something else of it."""
    found = manifest.latest(str(folder))
    assert found is not None
    stated = {**found.about, "index": {**found.about["index"], **changes}}
    assert publish(folder, replace(found, number=found.number + 1, about=stated))


def without_index(folder: Path) -> None:
    found = manifest.latest(str(folder))
    assert found is not None
    assert publish(folder, replace(found, number=2, about={"job": "token_count"}))


NOT_SEARCHED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "no dataset. Give the folder that inverted_index wrote"),
    "another dataset": (
        without_index,
        "a dataset of documents, postings, split_terms, terms, no inverted index",
    ),
    "another version": (lambda folder: about(folder, version=7), "version 7, this code has 2. Build it anew"),
    "another rule": (
        lambda folder: about(folder, words="letters"),
        "rule 'letters'; this code has words, python",
    ),
    "another Unicode": (lambda folder: about(folder, unicode="9.0"), r"words of Unicode 9.0.*Build it anew"),
}


@pytest.mark.parametrize(("change", "message"), NOT_SEARCHED.values(), ids=NOT_SEARCHED)
def test_what_cant_be_searched_is_told(change: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    folder = write_index(tmp_path / "index", Expected(texts=["a b"]))
    change(folder)
    with pytest.raises(InputError, match=message):
        InvertedIndex(str(folder))


def test_segments_have_the_same_words(tmp_path: Path) -> None:
    one = write_index(tmp_path / "one", Expected(texts=["a b"]))
    other = write_index(tmp_path / "other", Expected(texts=["a b"], rule="python"))
    with pytest.raises(InputError, match=r"other: --words=python, of .*one words"):
        InvertedIndex([str(one), str(other)])
    with pytest.raises(InputError, match="no index is named"):
        InvertedIndex("")


@pytest.mark.parametrize("table", ["terms", "postings", "documents"])
def test_a_file_that_is_gone_or_damaged_is_told(table: str, tmp_path: Path) -> None:
    folder = write_index(tmp_path / "index", Expected(texts=["a b"], partitions=1))
    (file,) = (folder / table).iterdir()
    index, content = InvertedIndex(str(folder)), file.read_bytes()
    file.unlink()
    with pytest.raises(DatasetError, match=re.escape(f"{file}: it is gone")):
        index.search("a")
    for damaged in (content[:-6], content[-30:], content[:7], content[:-8] + b"\xff\xff\xff\x7fPAR1", b""):
        file.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"check_index tells what is damaged"):
            InvertedIndex(str(folder)).search("a")


def test_an_index_without_documents_has_no_hits(tmp_path: Path) -> None:
    index = InvertedIndex(str(write_index(tmp_path / "index", Expected(texts=[]))))
    assert (index.search('a "b c" +d -e').hits, index.frequency("a"), index.statistics) == (
        (),
        0,
        (0, 0, 0.0),
    )


def test_k_is_at_least_one(tmp_path: Path) -> None:
    index = InvertedIndex(str(write_index(tmp_path / "index", Expected(texts=["a"]))))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search("a", 0)


def cranfield(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Queries, and the grade of each judged document. The judgements number the queries from 1 in their order."""
    titles = re.findall(r"<title>\s*(.*?)\s*</title>", (folder / "cran.qry.xml").read_text(), re.DOTALL)
    judged: dict[str, dict[str, int]] = {}
    for line in (folder / "cranqrel.trec.txt").read_text().splitlines():
        query, _, document, grade = line.split()
        judged.setdefault(query, {})[document] = int(grade)
    return {str(number): title for number, title in enumerate(titles, 1)}, judged


def cisi(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    parts = re.split(r"^\.I (\d+)\s*$", (folder / "CISI.QRY").read_text(), flags=re.MULTILINE)[1:]
    queries = {
        number: " ".join(re.findall(r"^\.W\n(.*?)(?=^\.\w|\Z)", body, re.DOTALL | re.MULTILINE))
        for number, body in zip(parts[::2], parts[1::2], strict=True)
    }
    judged: dict[str, dict[str, int]] = {}
    for line in (folder / "CISI.REL").read_text().splitlines():
        query, document, *_ = line.split()
        judged.setdefault(query, {})[document] = 1
    return queries, judged


COLLECTIONS: Mapping[str, Any] = {"cranfield": cranfield, "cisi": cisi}


def effectiveness(
    ranked: Mapping[str, list[str]], judged: Mapping[str, Mapping[str, int]]
) -> tuple[float, float]:
    """MAP and nDCG@10 over the queries that have a relevant document."""
    known = [query for query in ranked if any(grade > 0 for grade in judged.get(query, {}).values())]
    precision = [average_precision(ranked[query], judged[query]) for query in known]
    return sum(precision) / len(known), sum(ndcg(ranked[query], judged[query]) for query in known) / len(
        known
    )


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "cisi")) for name in COLLECTIONS]
)
def test_rankings_are_those_of_another_implementation(name: str, shared: Path, tmp_path: Path) -> None:
    """All of it but the formula is another's: words, statistics, scores of all documents as sums over dictionaries."""
    folder = shared / "data/ir" / name
    with gzip.open(folder / "docs.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    texts, ids = [row["contents"] for row in documents], [row["id"] for row in documents]
    flags = [f"--input={folder}/docs.jsonl.gz", f"--output={tmp_path}/index"]
    assert inverted_index.run([*flags, "--text_column=contents", "--words=alphanumeric"]) == 0
    index = InvertedIndex(f"{tmp_path}/index")
    queries, judged = COLLECTIONS[name](folder)
    reference = Reference(texts)
    ours, theirs = {}, {}
    for number, query in queries.items():
        plain = " ".join(words_of(query))
        found = index.search(plain, len(texts))
        ours[number] = [ids[hit.document] for hit in found.hits]
        theirs[number] = [ids[document] for document in reference.ranking(plain)]
    assert effectiveness(ours, judged) == pytest.approx(effectiveness(theirs, judged), abs=5e-5)
    assert effectiveness(ours, judged) == pytest.approx(EFFECTIVENESS[name], abs=5e-5)


EFFECTIVENESS = {"cranfield": (0.2776, 0.3596), "cisi": (0.1791, 0.3332)}
"""MAP and nDCG@10 with k1 1.2 and b 0.75, no stop words, no stemming."""


class Reference:
    """BM25 as the formula is written, f / (f + norm), word by word."""

    def __init__(self, texts: list[str]) -> None:
        self.documents = [words_of(text) for text in texts]
        self.average = sum(map(len, self.documents)) / len(texts)
        self.postings: dict[str, dict[int, int]] = {}
        for number, words in enumerate(self.documents):
            for word in words:
                there = self.postings.setdefault(word, {})
                there[number] = there.get(number, 0) + 1

    def ranking(self, query: str) -> list[int]:
        """Documents by descending score; sums that differ in their last bits only count as equal."""
        scores: dict[int, float] = {}
        for word in words_of(query):
            there = self.postings.get(word, {})
            count, n = len(self.documents), len(there)
            idf = math.log(1 + (count - n + 0.5) / (n + 0.5))
            for number, frequency in there.items():
                norm = 1.2 * (0.25 + 0.75 * len(self.documents[number]) / self.average)
                scores[number] = scores.get(number, 0.0) + idf * frequency / (frequency + norm)
        return sorted(scores, key=lambda number: (-round(scores[number], 9), number))
