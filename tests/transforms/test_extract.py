"""Texts are those of resiliparse called directly; what no parser bears costs that page alone."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from resiliparse.parse.html import HTMLTree

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.kernels.html import extract_text
from beam_etl.testing import check_kernel
from beam_etl.transforms import children
from beam_etl.transforms.batches import merge_batches
from beam_etl.transforms.children import Guarded, close_children
from beam_etl.transforms.extract import ExtractText
from tests.beam import run
from tests.hostile_kernels import by_its_word, lacks_a_library
from tests.stored import read

PAGE = b"""<html><head><title> A  title </title></head><body><nav><a href="/">home</a></nav><main><h1>Head</h1>
<p>Some text with a <a href="b.html">link</a> and <a href="https://c.example/x#y">another</a>.</p></main></body></html>"""


@pytest.fixture(autouse=True)
def no_children() -> Iterator[None]:
    yield
    close_children()


def pages(
    *payloads: bytes | None, kind: str = "text/html", url: str = "https://a.example/d/"
) -> pa.RecordBatch:
    rows = len(payloads)
    return pa.RecordBatch.from_pydict(
        {
            "url": [url] * rows,
            "content_type": [kind] * rows,
            "charset": pa.array(["utf-8"] * rows),
            "payload": pa.array(payloads, pa.large_binary()),
        }
    )


@pytest.mark.parametrize("extract", ["main", "all"])
def test_texts_and_titles_are_what_resiliparse_gives(extract: str, shared: Path) -> None:
    found = read(shared / "data/warc/real/sample-0000.warc.gz", Columns(needed=(), carry=ALL))
    told = [row for row in found.rows if row["content_type"] == "text/html"]
    made = extract_text(merge_batches(found.batches), extract).to_pylist()
    made = [row for row in made if row["content_type"] == "text/html"]
    assert len(made) == len(told) > 15
    for row, page in zip(made, told, strict=True):
        charset = page["charset"]
        assert charset in ("utf-8", detect_encoding(page["payload"], from_html_meta=True))
        tree = HTMLTree.parse(bytes_to_str(page["payload"], charset))
        assert row["text"] == extract_plain_text(tree, main_content=extract == "main", links=False)
        assert row["title"] == (tree.title or None)
        assert "payload" not in row


MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


@pytest.mark.parametrize("told", [None, "ISO-8859-1", "latin1", "utf-8", "none"])
@pytest.mark.parametrize(("charset", "mark"), MARKS.items(), ids=MARKS)
def test_a_byte_order_mark_wins_over_a_stored_charset(charset: str, mark: bytes, told: str | None) -> None:
    page = mark + "<title>Grüße</title><p>aus Köln".encode(charset)
    batch = pages(page).drop_columns(["charset"]).append_column("charset", pa.array([told], pa.string()))
    [row] = extract_text(batch, "all").to_pylist()
    assert (row["title"], row["text"]) == ("Grüße", "aus Köln")


def test_links_are_absolute_and_distinct() -> None:
    [row] = extract_text(pages(PAGE), links=True).to_pylist()
    assert row["links"] == ["https://a.example/", "https://a.example/d/b.html", "https://c.example/x#y"]


BASES = {
    "of another host": (b"<base href=//b.example/x/y>", "https://b.example/x/h"),
    "that is relative": (b"<base target=_top><base href='../e/'><base href=/f/>", "https://a.example/e/h"),
    "that is none": (b"<base href='data:text/plain,x'>", "https://a.example/d/h"),
}


@pytest.mark.parametrize(("base", "expected"), BASES.values(), ids=BASES)
def test_links_are_relative_to_the_base_of_their_page(base: bytes, expected: str) -> None:
    page = base + b"<a href=h>x</a><a href=HTTP://C.example>y</a>"
    [row] = extract_text(pages(page), links=True).to_pylist()
    assert row["links"] == [expected, "http://C.example"]


def test_links_are_bounded_together() -> None:
    links = b"".join(b"<a href=%d>x</a>" % number for number in range(100))
    url = f"https://a.example/{'x' * 1000}/"
    [row] = extract_text(pages(links * 2, url=url), links=True, max_bytes=200_000).to_pylist()
    assert row["links"] == [f"{url}{number}" for number in range(100)]
    with pytest.raises(ValueError, match="links of over 50000 bytes, of 200 on the page"):
        extract_text(pages(links * 2, url=url), links=True, max_bytes=50_000)


CASES = {
    "none": ("none", "text/html", "<p>a</p>", "<p>a</p>"),
    "plain text": ("main", "text/plain", "a <b> c", "a <b> c"),
    "half a surrogate pair": ("all", "text/html", "<p>a&#xD800;b", None),
}


@pytest.mark.parametrize(("extract", "kind", "page", "text"), CASES.values(), ids=CASES)
def test_other_pages(extract: str, kind: str, page: str, text: str | None) -> None:
    [row] = extract_text(pages(page.encode(), kind=kind), extract).to_pylist()
    row["text"].encode()
    assert text is None or row["text"] == text


def test_the_kernel_keeps_the_promises() -> None:
    check_kernel(partial(extract_text, links=True), pages(PAGE, b"", None, b"<title>x</title>", PAGE * 3))


def test_a_page_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ValueError, match="a page of 104857600 bytes: over the limit of 8388608"):
        extract_text(pages(b"<b>" * (100 << 20 >> 2) + b"x" * (25 << 20)))
    with pytest.raises(ValueError, match="a text of .* characters, of a page of 9000 bytes"):
        extract_text(pages(b"<ul><li>x" * 1000), "all", max_bytes=100_000)


def test_a_hostile_page_costs_that_page_alone() -> None:
    bombs = {b"<div>" * 60_000: "0.5 s of the processor", b"<ul><li>x" * 30_000: "0.5 s of the processor"}
    batch = pages(PAGE, *bombs, PAGE)
    guarded = Guarded(partial(extract_text, extract="all"), 0.5, 1 << 30)
    first, *refused, last = guarded.rows(batch)
    assert [reason in str(found) for found, reason in zip(refused, bombs.values(), strict=True)] == [
        True,
        True,
    ]
    assert [first, last] == [[extract_text(batch.slice(at, 1), "all")] for at in (0, 3)]


def test_a_child_that_dies_in_any_way_is_told_and_replaced() -> None:
    words = ["a", "die", "spin", "b", "eat", "fail", "print", "c"]
    batch = pa.RecordBatch.from_pydict({"text": words})
    told: list[Any] = list(Guarded(by_its_word, 0.5, 1 << 30).rows(batch))
    assert [told[at] for at in (0, 3, 6, 7)] == [[batch.slice(at, 1)] for at in (0, 3, 6, 7)]
    assert told[1].startswith("it ended its process (SIGSEGV)")
    assert told[2] == "it takes over 0.5 s of the processor"
    assert told[4] == "MemoryError: "
    assert told[5] == "ValueError: as it says"


def test_a_child_that_was_ended_while_it_waited_costs_no_row() -> None:
    batch = pa.RecordBatch.from_pydict({"text": ["a", "b"]})
    guarded = Guarded(by_its_word, 0.5, 1 << 30)
    first = list(guarded.rows(batch))
    [[idle]] = children._waiting._children.values()
    os.kill(idle.process.pid, signal.SIGKILL)
    idle.process.wait()
    assert list(guarded.rows(batch)) == first
    [[other]] = children._waiting._children.values()
    assert other is not idle


def test_a_child_is_ended_when_nobody_wants_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    start = children._Child.__init__
    monkeypatch.setattr(
        children._Child, "__init__", lambda child, order: made.append(child) or start(child, order)
    )
    # answers come together: of two megabytes the first ones come before the row that takes long
    batch = pa.RecordBatch.from_pydict({"text": ["a" * (1 << 20), "b" * (1 << 20), "spin"]})
    rows = Guarded(by_its_word, 60, 1 << 30).rows(batch)
    assert next(rows) == [batch.slice(0, 1)]
    rows.close()  # type: ignore[attr-defined]
    assert [child.process.poll() for child in made] == [-signal.SIGKILL]


def test_a_worker_without_the_library_fails_the_job() -> None:
    with pytest.raises(ImportError, match="No module named 'parser'"):
        list(Guarded(lacks_a_library, 1, 1 << 30).rows(pa.RecordBatch.from_pydict({"text": ["a"]})))


def test_the_transform_gives_texts_and_rejects() -> None:
    batch = pages(PAGE, b"x" * 3000, PAGE)
    batch = batch.append_column(schema.ADDRESS, pa.array([7, 8, 9], pa.uint64()))
    pipeline = run()
    done = pipeline | beam.Create([batch], reshuffle=False) | ExtractText(max_page_bytes=2000)
    texts = done.batches | beam.FlatMap(lambda found: found.select(["address", "title"]).to_pylist())
    rejects = done.rejects | beam.FlatMap(
        lambda found: found.select(["position", "stage", "bytes"]).to_pylist()
    )
    assert_that(texts, equal_to([{"address": at, "title": "A title"} for at in (7, 9)]), label="texts")
    assert_that(rejects, equal_to([{"position": 8, "stage": "extract text", "bytes": 3000}]), label="rejects")
    pipeline.run().wait_until_finish()


WRONG = {"extract": "some", "seconds": 0, "max_page_bytes": -1}


@pytest.mark.parametrize(("name", "value"), WRONG.items(), ids=WRONG)
def test_what_cannot_be_asked_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=repr(value)):
        ExtractText(**{name: value})  # type: ignore[arg-type]
