"""Archives for tests: the same records packed in every way, and what warcio says of them."""

import functools
import gzip
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard
from warcio.archiveiterator import ArchiveIterator


def response(
    url: str, body: bytes, headers: Sequence[tuple[str, str]] = (), kind: str = "text/html", **more: str
) -> bytes:
    """A WARC record of a page, as it is stored uncompressed."""
    http = "".join(f"{name}: {value}\r\n" for name, value in [("Content-Type", kind), *headers])
    block = f"HTTP/1.1 200 OK\r\n{http}\r\n".encode() + body
    told = {
        "WARC-Type": "response",
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url)}>",
        "WARC-Target-URI": url,
        "WARC-Date": "2024-05-01T12:00:00Z",
        "Content-Type": "application/http; msgtype=response",
        "Content-Length": str(len(block)),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"WARC/1.0\r\n{head}\r\n".encode() + block + b"\r\n\r\n"


def records(count: int) -> list[bytes]:
    """Pages of different sizes, and a request for each, uncompressed."""
    made: list[bytes] = []
    for number in range(count):
        url = f"https://example.com/{number}"
        head = f"WARC/1.0\r\nWARC-Type: request\r\nWARC-Target-URI: {url}\r\nContent-Length: 4\r\n\r\nGET \r\n\r\n"
        made += [head.encode(), response(url, f"<p>page {number} ".encode() * (1 + number * 37 % 101))]
    return made


def _blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@functools.cache
def dictionary() -> bytes:
    """Of zstd, for the records."""
    return zstandard.train_dictionary(1024, records(100)).as_bytes()


def frame_of(dictionary: bytes) -> bytes:
    """What an archive begins with that needs it."""
    return b"\x5d\x2a\x4d\x18" + len(dictionary).to_bytes(4, "little") + dictionary


def with_dictionary(one: bytes) -> bytes:
    """A record packed with the dictionary."""
    known = zstandard.ZstdCompressionDict(dictionary())
    return zstandard.ZstdCompressor(dict_data=known, write_checksum=True).compress(one)


PACKED: dict[str, tuple[str, Callable[[list[bytes]], bytes]]] = {
    "plain": ("a.warc", b"".join),
    "gzip by record": ("a.warc.gz", lambda made: b"".join(map(gzip.compress, made))),
    "gzip as a whole": ("a.warc.gz", lambda made: gzip.compress(b"".join(made))),
    "gzip in blocks": ("a.warc.gz", lambda made: b"".join(map(gzip.compress, _blocks(b"".join(made), 5000)))),
    "gzip with padding": ("a.warc.gz", lambda made: b"".join(gzip.compress(one) + b"\0" * 7 for one in made)),
    "zstd by record": ("a.warc.zst", lambda made: b"".join(map(zstandard.compress, made))),
    "zstd as a whole": ("a.warc.zst", lambda made: zstandard.compress(b"".join(made))),
    "zstd with skippable frames": (
        "a.warc.zst",
        lambda made: b"".join(b"\x5d\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(one) for one in made),
    ),
    "zstd with a dictionary": (
        "a.warc.zst",
        lambda made: b"".join([frame_of(dictionary()), *map(with_dictionary, made)]),
    ),
}
"""Name and bytes of a file, by how records are packed in it."""


def offsets(made: Sequence[bytes], pack: Callable[[bytes], bytes]) -> list[int]:
    """Where each record begins, when each is packed by itself."""
    return [0, *itertools.accumulate(len(pack(one)) for one in made)][:-1]


def by_warcio(path: Path) -> list[dict[str, Any]]:
    """The responses of an archive, as warcio tells them."""
    found = []
    with path.open("rb") as file:
        for record in (iterator := ArchiveIterator(file)):
            if record.rec_type not in ("response", "conversion"):
                continue
            head = record.rec_headers.get_header
            payload = record.content_stream().read()
            found.append(
                {
                    "position": iterator.get_record_offset(),
                    "id": head("WARC-Record-ID"),
                    "url": head("WARC-Target-URI"),
                    "time": head("WARC-Date"),
                    "ip": head("WARC-IP-Address"),
                    "digest": head("WARC-Payload-Digest") or head("WARC-Block-Digest"),
                    "http_status": int(record.http_headers.get_statuscode()) if record.http_headers else None,
                    "payload": payload,
                }
            )
    return found
