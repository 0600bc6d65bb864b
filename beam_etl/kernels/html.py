"""The text of pages: their main content, or all of it, with titles and links."""

from typing import Any
from urllib.parse import urljoin

import pyarrow as pa

from beam_etl import schema
from beam_etl.kernels.charsets import charset_of, decode

CHARSET, CONTENT_TYPE = "charset", "content_type"
TITLE, LINKS = "title", "links"
OF_PAGES = (TITLE, LINKS)
"""Columns that are made of pages, and of no text."""

MAIN, ALL, NONE = "main", "all", "none"
EXTRACTS = (MAIN, ALL, NONE)
"""What is taken of a page: its main content, everything a reader sees, or the page as it is, with its tags."""

MAX_PAGE_BYTES = 8 << 20
"""A parser takes some 30 times a page's bytes. Crawlers cut pages off at 1 to 5 MiB."""

HTML_TYPES = ("text/html", "application/xhtml+xml")
PLAIN_TYPES = ("text/plain",)


def extract_text(
    batch: pa.RecordBatch, extract: str = MAIN, links: bool = False, max_bytes: int = MAX_PAGE_BYTES
) -> pa.RecordBatch:
    """The texts of pages.

    Args:
      batch: pages with `payload`, binary; and where they are known `charset`, `content_type` and `url`. A byte
        order mark wins over a charset. Without a content type a page is HTML.
      extract: one of EXTRACTS. Plain text stays as it is.
      links: add `links`, the distinct URLs of all <a href>, in order, made absolute by the page's <base>, else its URL.
      max_bytes: of a page, and of what is made of it.

    Returns:
      The batch with `text`, `title` (null where there is none) and `links` in place of the payload.

    Raises:
      KeyError: there is no payload. The message names the columns there are.
      ValueError: a page, its text, or its links together, are over `max_bytes`.
    """
    if schema.PAYLOAD not in batch.schema.names:
        raise KeyError(f"pages need a column {schema.PAYLOAD!r}; they have {', '.join(batch.schema.names)}")
    pages = [_page(batch, row, extract, links, max_bytes) for row in range(batch.num_rows)]
    made = {
        schema.TEXT: pa.array([page[0] for page in pages], pa.large_string()),
        TITLE: pa.array([page[1] for page in pages], pa.string()),
        **({LINKS: pa.array([page[2] for page in pages], pa.list_(pa.string()))} if links else {}),
    }
    batch = batch.drop_columns([name for name in (schema.PAYLOAD, *made) if name in batch.schema.names])
    for name, values in made.items():
        batch = batch.append_column(name, values)
    return batch


_Page = tuple[str | None, str | None, list[str] | None]


def _page(batch: pa.RecordBatch, row: int, extract: str, links: bool, max_bytes: int) -> _Page:
    """Text, title and links."""
    payload = batch.column(schema.PAYLOAD)[row].as_py()
    if payload is None:
        return None, None, None
    if len(payload) > max_bytes:
        raise ValueError(f"a page of {len(payload)} bytes: over the limit of {max_bytes}")
    page = decode(payload, charset_of(payload, _value(batch, CHARSET, row)))
    kind = _value(batch, CONTENT_TYPE, row)
    if kind in PLAIN_TYPES:
        return _clean(page), None, [] if links else None
    text, title, found, base = _of_html(page, extract, links)
    if len(text) > max_bytes:
        raise ValueError(
            f"a text of {len(text)} characters, of a page of {len(payload)} bytes: over {max_bytes}"
        )
    url = _value(batch, schema.URL, row) or ""
    to = _joined(url, base) or url
    return _clean(text), _clean(title) if title else None, _absolute(to, found, max_bytes) if links else None


def _value(batch: pa.RecordBatch, name: str, row: int) -> str | None:
    value: str | None = batch.column(name)[row].as_py() if name in batch.schema.names else None
    return value


def _of_html(page: str, extract: str, links: bool) -> tuple[str, str, list[str], str]:
    """Text, title, links as they are written, and what the page says that they are relative to."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree: Any = HTMLTree.parse(page)
    text = page if extract == NONE else extract_plain_text(tree, main_content=extract == MAIN, links=False)
    found = [node.getattr("href") for node in tree.document.query_selector_all("a[href]")] if links else []
    base = tree.document.query_selector("base[href]") if found else None
    return text, tree.title or "", found, (base.getattr("href") or "") if base is not None else ""


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which no encoding has."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


def _joined(base: str, link: str) -> str | None:
    """The URL of a link; None where it is none of the web."""
    try:
        whole = urljoin(base, _clean(link).strip())
    except ValueError:
        return None
    scheme, mark, rest = whole.partition("://")
    return f"{scheme.lower()}{mark}{rest}" if mark and scheme.lower() in ("http", "https") else None


def _absolute(url: str, found: list[str], max_bytes: int) -> list[str]:
    """Distinct URLs of the web; what can't be one is left out.

    Raises:
      ValueError: they are over `max_bytes` together: each short link may become as long as the page's URL.
    """
    made: dict[str, None] = {}
    size = 0
    for link in found:
        whole = _joined(url, link or "")
        if whole is not None and whole not in made:
            made[whole] = None
            size += len(whole.encode())
            if size > max_bytes:
                raise ValueError(f"links of over {max_bytes} bytes, of {len(found)} on the page")
    return list(made)
