"""What a record says: its columns, by fastwarc."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.errors import is_content_error
from beam_etl.io.formats.archives.heads import Record
from beam_etl.io.formats.archives.starts import ARC_LINE
from beam_etl.kernels.charsets import charset_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what it still offers to others
    from fastwarc.warc import WarcRecord

COMMON = [
    pa.field(schema.ID, pa.string()),
    pa.field(schema.URL, pa.string()),
    pa.field(schema.DATE, pa.string()),
    pa.field(schema.TIME, pa.string()),
    pa.field("digest", pa.string()),
    pa.field("ip", pa.string()),
    pa.field("content_type", pa.string()),
    pa.field("truncated", pa.string()),
]

PAGE_COLUMNS = pa.schema(
    [
        *COMMON,
        pa.field("http_status", pa.int32()),
        pa.field("charset", pa.string()),
        pa.field(schema.PAYLOAD, pa.large_binary()),
    ]
)
"""Of a response or a conversion. `id` is the record's, `digest` that of the payload, else that of the block, as they
are stored; `content_type` in lower case without parameters; `charset` of text only (charsets.charset_of); `truncated`
the record's reason, or BODY; `payload` the body without its transfer and content encodings."""

TEXT_COLUMNS = pa.schema([*COMMON, pa.field(schema.TEXT, pa.large_string())])
"""Of a conversion to text."""

BODY = "body"
"""`truncated` of a body that ends, or is damaged, before its encoding says."""

MAX_HTTP_HEAD_BYTES = 256 << 10

_TEXTUAL = re.compile(r"text/|.*[/+](?:x?html|xml|json|javascript)\b")

_ARC_HEAD = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n"


class TooLongError(ValueError):
    """A payload expands to more than the limit."""


def values_of(record: Record, names: frozenset[str], most: int) -> dict[str, Any]:
    """Columns of PAGE_COLUMNS and TEXT_COLUMNS of a record, these `names` at least; an absent one is null.

    Texts of the record are bytes, which may be no UTF-8.

    Raises:
      TooLongError: its payload has over `most` bytes.
      Exception: one that `is_content_error` knows: its HTTP head can't be read.
    """
    if record.fields is not None and (body := _plain_body(record.fields, record.block)) is not None:
        return _with_body(_of_warc(record.fields.get), body, body.type, names)
    line = ARC_LINE.fullmatch(record.head)
    head = b"WARC" + record.head[4:] if line is None else _ARC_HEAD % len(record.block)
    stored = head + record.block if record.block.startswith(b"HTTP/") else head
    parsed = WarcRecord.from_bytes(stored)
    told = parsed.headers
    found = _of_warc(told.get_bytes) if line is None else _of_arc(line)
    body = _body(stored, parsed, record.block, most, not names.isdisjoint(_OF_BODY))
    kind = body.type if line is None or body.status is not None else _media_type(line[4].decode("latin-1"))
    return _with_body(found, body, kind, names)


def _with_body(
    found: dict[str, Any], body: "_Body", kind: str | None, names: frozenset[str]
) -> dict[str, Any]:
    found["http_status"] = body.status
    found["content_type"] = kind
    found[schema.PAYLOAD] = found[schema.TEXT] = body.payload
    if body.damaged and not found.get("truncated"):
        found["truncated"] = BODY
    if "charset" in names and kind is not None and _is_textual(kind):
        found["charset"] = charset_of(body.payload, body.charset)
    return found


_OF_BODY = (schema.PAYLOAD, schema.TEXT, "charset", "truncated")


def _of_warc(get: Callable[[bytes], bytes | None]) -> dict[str, Any]:
    url, time = get(b"WARC-Target-URI"), get(b"WARC-Date")
    return {
        schema.ID: get(b"WARC-Record-ID"),
        schema.URL: None if url is None else url.strip(b"<> "),
        schema.DATE: time,
        schema.TIME: time,
        "digest": get(b"WARC-Payload-Digest") or get(b"WARC-Block-Digest"),
        "ip": get(b"WARC-IP-Address"),
        "truncated": get(b"WARC-Truncated"),
    }


def _of_arc(line: re.Match[bytes]) -> dict[str, Any]:
    digits = line[3].decode()
    time = None
    if digits != "-":
        day, clock = digits[:8], digits[8:].ljust(6, "0")
        time = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z".encode()
    checksum = line[6] if line[6] not in (None, b"-") else None
    return {schema.URL: line[1], schema.DATE: time, schema.TIME: time, "ip": line[2], "digest": checksum}


class _Body(NamedTuple):
    payload: bytes
    type: str | None
    charset: str | None = None
    status: int | None = None
    damaged: bool = False


def _body(stored: bytes, parsed: Any, block: bytes, most: int, wanted: bool) -> _Body:
    """What a record carries. `stored`: the record as WARC, if its block is HTTP; `parsed`: the same."""
    kind = parsed.headers.get("Content-Type")
    if not (block.startswith(b"HTTP/") and (kind is None or "http" in kind.lower())):
        return _Body(block, _media_type(kind or ""))
    for again, decoding in _attempts(stored, block) if wanted else ((stored, "none"),):
        http, payload, error = _http(again, parsed, decoding, most, wanted)
        parsed = None  # it can be read once
        if error is None or payload:
            break
    cut_off = error is not None or again is not stored
    if http is None or http.status_code is None:
        return _Body(block, None)
    told = http.get("Content-Type") or ""
    return _Body(payload, _media_type(told), _charset(told), http.status_code, cut_off)


def _attempts(stored: bytes, block: bytes) -> Iterator[tuple[bytes, str]]:
    """What to decode, and how, one after another until something comes of it.

    Crawlers store bodies that are decoded already under the headers of the encoded ones: what can't be decoded from its
    first byte on is taken as it is.
    """
    yield stored, "all"
    head, gap, body = block.partition(b"\r\n\r\n")
    if partial := _chunks(body):
        part = head + gap + partial
        yield _ARC_HEAD % len(part) + part, "content"
    yield stored, "content"
    yield stored, "none"


_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")


def _chunks(body: bytes) -> bytes:
    """The chunks of a body that isn't whole, as far as they go; nothing where there are none."""
    pieces, at = [], 0
    while found := _CHUNK.match(body, at):
        stop = found.end() + int(found[1], 16)
        pieces.append(body[found.end() : stop])
        at = stop + 2
    return b"".join(pieces)


def _http(
    stored: bytes, unread: Any, decoding: str, most: int, wanted: bool
) -> tuple[Any, bytes, Exception | None]:
    """The headers of a response; what can be had of its body, if it is wanted; and why that isn't all.

    Args:
      stored, unread: it, and the same as a record of which nothing was read yet, or None.

    Raises:
      Exception: one that `is_content_error` knows: a head without encodings can't be read.
    """
    payload: bytes = b""
    failure: Exception | None = None
    for size in _READ_BYTES:
        parsed, unread = unread or WarcRecord.from_bytes(stored), None
        parsed.is_http = True
        try:
            parsed.parse_http(auto_decode=decoding, max_header_len=MAX_HTTP_HEAD_BYTES, quirks_mode=True)
        except Exception as error:
            if decoding == "none" or not is_content_error(error):
                raise
            return None, b"", error
        if wanted:
            payload, failure = _read(parsed.reader, size, len(payload), most)
        if failure is None:
            break
    return parsed.http_headers, payload, failure


_READ_BYTES = (1 << 20, 4 << 10, 1)
"""Read at once. What comes before damage is had by smaller and smaller pieces: a read that fails gives nothing."""


def _read(reader: Any, size: int, known: int, most: int) -> tuple[bytes, Exception | None]:
    """A body, in pieces of `size` bytes behind its first `known` ones; and why it ended early."""
    pieces, done = [], 0
    try:
        while piece := reader.read(known - done if done < known else size):
            pieces.append(piece)
            done += len(piece)
            if done > most:
                raise TooLongError(f"a payload of over {most} bytes, which is the limit")
    except TooLongError:
        raise
    except Exception as error:
        if not is_content_error(error):
            raise
        return b"".join(pieces), error
    return b"".join(pieces), None


def _plain_body(fields: Mapping[bytes, bytes], block: bytes) -> _Body | None:
    """What a record with a regular head carries, where it isn't HTTP, or where it is without encodings.

    None where it is another, or where the HTTP head is odd in any way: `_body` reads those.
    """
    kind = fields.get(b"Content-Type", b"")
    if not kind.isascii():
        return None
    if not (block.startswith(b"HTTP/") and (not kind or b"http" in kind.lower())):
        return _Body(block, _media_type(kind.decode()))
    end = block.find(b"\r\n\r\n", 0, _PLAIN_HTTP_HEAD_BYTES)
    head = block[: end + 4].lower()
    found = _PLAIN_HTTP_HEAD.fullmatch(head)
    if found is None or b"\0" in head or not head.isascii() or _tells_encodings(head):
        return None
    at = head.find(_CONTENT_TYPE)
    if at >= 0 and head.find(_CONTENT_TYPE, at + 1) >= 0:
        return None
    told = block[at + len(_CONTENT_TYPE) : head.find(b"\r", at)].decode().strip() if at >= 0 else ""
    return _Body(block[end + 4 :], _media_type(told), _charset(told), int(found[1]))


_PLAIN_HTTP_HEAD_BYTES = 16 << 10
_PLAIN_HTTP_HEAD = re.compile(rb"http/\d\.\d (\d{3})(?: [^\r\n]*)?\r\n(?:[^:\s]+:[^\r\n]*\r\n)*\r\n")
"""In lower case. Lines that go on in the next one, have no colon or a space before it are read in several ways."""
_CONTENT_TYPE = b"\ncontent-type:"


def _tells_encodings(head: bytes) -> bool:
    return b"-encoding" in head and (b"\ntransfer-encoding" in head or b"\ncontent-encoding" in head)


_Answer = TypeVar("_Answer")

_REMEMBERED_CHARACTERS = 200
"""Of a text: headers are strangers', and may have MAX_HTTP_HEAD_BYTES."""


def _remembering(function: Callable[[str], _Answer]) -> Callable[[str], _Answer]:
    """The function, which is asked once about what many records say."""
    known = lru_cache(maxsize=1000)(function)
    return lambda text: known(text) if len(text) <= _REMEMBERED_CHARACTERS else function(text)


@_remembering
def _is_textual(kind: str) -> bool:
    return _TEXTUAL.match(kind) is not None


@_remembering
def _media_type(header: str) -> str | None:
    return header.partition(";")[0].strip().lower() or None


_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([^\s;"',]+)""", re.IGNORECASE)


@_remembering
def _charset(header: str) -> str | None:
    found = _CHARSET.search(header)
    return found[1] if found else None
