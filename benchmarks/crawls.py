"""Crawls for benchmarks: pages and texts of a corpus as WARC and WET, and real ones several times."""

import gzip
import html
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

FILES = 4
"""Archives of a crawl: what two workers share."""

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
        _append(warc / f"{place}.warc.gz", _record("response", url, number, "text/html", http))
        _append(wet / f"{place}.warc.wet.gz", _record("conversion", url, number, "text/plain", text.encode()))
    return warc, wet


def _append(path: Path, record: bytes) -> None:
    with path.open("ab") as file:
        file.write(gzip.compress(record, 6))


def _record(kind: str, url: str, number: int, payload: str, block: bytes) -> bytes:
    content = "application/http; msgtype=response" if kind == "response" else payload
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, str(number))}>\r\n"
        f"WARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Identified-Payload-Type: {payload}\r\n"
        f"Content-Type: {content}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def repeat_crawls(real: Path, folder: Path, times: int) -> Path:
    """A folder with real archives, each several times."""
    folder.mkdir(parents=True)
    for path in sorted(real.glob("*.warc.gz")):
        for number in range(times):
            shutil.copyfile(path, folder / f"{path.name.removesuffix('.warc.gz')}-{number}.warc.gz")
    return folder
