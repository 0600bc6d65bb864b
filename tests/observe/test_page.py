"""The page of a run, read back from a browser."""

import re

import pytest

from beam_etl.observe.page import page
from tests.browser import Tables, opened
from tests.observe.reports import HOSTILE, REPORT, WITHOUT_COUNTERS


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The page as a browser has it."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(page(REPORT), encoding="utf-8")
    return Tables(opened(folder / "page.html", folder / "profile"))


def test_a_browser_shows_the_seconds_and_bytes_of_each_stage(shown: Tables) -> None:
    head, *rows = shown.found["where the time went"]
    names = [name for name in head if name]
    assert names == ["stage", "seconds", "share", "rows in", "rows out", "bytes in", "bytes out"]
    assert [[cell for cell in row if cell] for row in rows] == [
        ["Count", "5.000", "50.0%", "1,000", "1,000", "9 KB", "9 KB"],
        ["Read", "1.500", "15.0%", "1,000", "4 KB", "9 KB"],
        ["starting Python", "1.500", "15.0%"],
        ["Merge", "1.000", "10.0%", "1,000", "10", "9 KB", "100 B"],
        ["Group/Cut", "0.500", "5.0%", "1,000", "1,000", "9 KB", "9 KB"],
        ["the engine, between steps", "0.500", "5.0%"],
    ]


def test_a_browser_shows_what_crossed_and_how_evenly(shown: Tables) -> None:
    _, (label, partitions, rows, size, elements, _, *others) = shown.found["shuffles"]
    assert (label, partitions, rows, size, elements) == ("Group by domain", "8", "1,000", "8 KB", "8")
    assert (others[:2], others[3:]) == (["4.0", "4.0"], ["0.400", "0.100", "0.250", "1.000"])
    assert others[2].startswith("domain=")


def test_a_browser_shows_the_rows_and_the_rejects(shown: Tables) -> None:
    assert [row[0::2] for row in shown.found["rows"][1:]] == [
        ["records started", "1,010"],
        ["rejected", "10"],
        ["documents read", "1,000"],
        ["written to counts", "10"],
        ["written to rejects", "10"],
    ]
    assert [row[0::2] for row in shown.found["rejects"][1:]] == [["not JSON at byte #", "7"], [HOSTILE, "3"]]


def test_the_graph_has_a_box_a_node_and_an_arrow_an_edge(shown: Tables) -> None:
    kinds = [attributes.get("class") for tag, attributes in shown.tags if tag in ("g", "path")]
    assert kinds.count("node") == 3
    assert kinds.count("node shuffle") == 1
    assert kinds.count("edge") == 4
    assert "0.5 s · 1,000 rows · 8 KB" in shown.words


def test_text_of_a_run_stays_text_and_nothing_is_fetched(shown: Tables) -> None:
    assert HOSTILE in shown.words
    assert "script" not in {tag for tag, _ in shown.tags}
    assert not re.search(r'(src|href)="|url\((?!#)', page(REPORT))
    assert "default-src 'none'" in page(REPORT)


def test_who_does_not_see_is_told_what_is_what(shown: Tables) -> None:
    tags = [(tag, attributes) for tag, attributes in shown.tags]
    assert {attributes.get("lang") for tag, attributes in tags if tag == "html"} == {"en"}
    for tag, attributes in tags:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")


def test_without_counters_there_is_a_page_too() -> None:
    shown = Tables(page(WITHOUT_COUNTERS))
    assert shown.found["where the time went"][1:] == []
    assert "No rows crossed." in shown.words
