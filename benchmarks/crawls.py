"""Crawls for benchmarks: pages and texts of documents as WARC and WET, and real archives several times.

Heads have the fields that Common Crawl's have.
"""

import base64
import gzip
import hashlib
import html
import itertools
import json
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

FILES = 4
"""Archives of a crawl: what two workers share."""

LARGE_FILES = 8
"""Of one that is large: of some 60 MB of texts, or 13 MB of pages, each."""

PAGE = (
    "<!DOCTYPE html><html><head><meta charset='utf-8'><title>{title}</title><script>var a = 1;</script></head><body>"
    "<nav><ul><li><a href='/'>Home</a></li><li><a href='/about'>About</a></li></ul></nav><article>{text}</article>"
    "<footer><p>All rights reserved</p></footer></body></html>"
)


def documents(corpus: Path, most_bytes: int) -> Iterator[tuple[str, str]]:
    """URL and text, so many bytes of texts."""
    size = 0
    for path in sorted(corpus.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(1024, columns=["url", "text"]):
            for row in batch.to_pylist():
                if size >= most_bytes:
                    return
                size += len(row["text"].encode())
                yield row["url"], row["text"]


def make_crawls(corpus: Path, folder: Path, most_bytes: int) -> tuple[Path, Path]:
    """Folders of a WARC of pages and a WET of their texts."""
    warc, wet = folder / "warc", folder / "wet"
    for made in (warc, wet):
        made.mkdir(parents=True)
    for number, (url, text) in enumerate(documents(corpus, most_bytes)):
        lines = "".join(f"<p>{html.escape(line)}</p>\n" for line in text.splitlines() if line)
        page = PAGE.format(title=html.escape(url), text=lines).encode()
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
        place = number % FILES
        _append(warc / f"{place}.warc.gz", _response(url, number, http))
        _append(wet / f"{place}.warc.wet.gz", _conversion(url, number, text.encode()))
    return warc, wet


def make_wet(documents: Path, folder: Path, most_bytes: int) -> Path:
    """A folder of a WET with the texts of a JSONL file, again and again under other URLs, so many bytes of them."""
    folder.mkdir(parents=True)
    with gzip.open(documents, "rt", encoding="utf-8") as lines:
        texts = [(row["url"], row["text"].encode()) for row in map(json.loads, lines)]
    size = 0
    for number, (url, text) in enumerate(itertools.cycle(texts)):
        if size >= most_bytes:
            break
        size += len(text)
        place = number % LARGE_FILES
        _append(folder / f"{place}.warc.wet.gz", _conversion(f"{url}?{number}", number, text))
    return folder


def _append(path: Path, record: bytes) -> None:
    with path.open("ab") as file:
        file.write(gzip.compress(record, 6))


def _response(url: str, number: int, http: bytes) -> bytes:
    more = (("WARC-Payload-Digest", _digest(http)), ("WARC-Identified-Payload-Type", "text/html"))
    return _record(
        "response", url, number, (*more, ("Content-Type", "application/http; msgtype=response")), http
    )


def _conversion(url: str, number: int, text: bytes) -> bytes:
    more = (
        ("WARC-Refers-To", _id(-number)),
        ("WARC-Block-Digest", _digest(text)),
        ("Content-Type", "text/plain"),
    )
    return _record("conversion", url, number, more, text)


def _record(kind: str, url: str, number: int, more: Iterable[tuple[str, str]], block: bytes) -> bytes:
    fields = (
        ("WARC-Type", kind),
        ("WARC-Target-URI", url),
        ("WARC-Date", "2026-01-01T00:00:00Z"),
        ("WARC-Record-ID", _id(number)),
        *more,
        ("Content-Length", str(len(block))),
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"WARC/1.0\r\n{head}\r\n".encode() + block + b"\r\n\r\n"


def _id(number: int) -> str:
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, str(number))}>"


def _digest(data: bytes) -> str:
    return f"sha1:{base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()}"


def repeat_crawls(real: Path, folder: Path, times: int) -> Path:
    """A folder of archives that hold real ones, one behind another, all of them so many times."""
    folder.mkdir(parents=True)
    stored = [path.read_bytes() for path in sorted(real.glob("*.warc.gz"))]
    for number in range(times):
        with (folder / f"{number % LARGE_FILES}.warc.gz").open("ab") as file:
            file.writelines(stored)
    return folder
