"""A stand-in for Google Cloud Storage: the storage of gcp-storage-emulator, behind the XML interface as documented.

The emulator (2024.8 and later) serves the JSON interface; of the XML one it has GET and PUT of objects, without lists,
preconditions, ranges or uploads in parts, which clients that speak XML need. What is here follows
cloud.google.com/storage/docs/xml-api: `x-goog-if-generation-match: 0` creates an object only if it is absent (412
else), `If-Match` compares ETags, `list-type=2` lists, `?uploads` begins and lists uploads.
"""

import datetime
import hashlib
import itertools
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.storage import Storage

_PAGE = 1000

_Answer = tuple[str, dict[str, str], bytes]


class GoogleXml:
    """A WSGI application with one bucket."""

    def __init__(self, bucket: str) -> None:
        self.storage = Storage(use_memory_fs=True)
        self._bucket = bucket
        create_bucket(bucket, self.storage)
        self.storage.buckets[bucket]["softDeletePolicy"] = {"retentionDurationSeconds": "0"}
        self.storage._write_config_to_file = lambda: None  # of a folder, which there is none
        self._generations = itertools.count(1)
        self._uploads: dict[str, tuple[str, str, dict[int, bytes]]] = {}
        self._lock = threading.RLock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        with self._lock:
            status, headers, body = self._answer(environ)
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        headers.setdefault("Content-Length", str(len(body)))
        start(status, list(headers.items()))
        return [b"" if is_head else body]

    def _answer(self, environ: dict[str, Any]) -> _Answer:
        method = environ["REQUEST_METHOD"]
        path = environ["PATH_INFO"].encode("latin-1").decode()
        bucket, _, key = path.lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"], True).items()}
        if bucket != self._bucket:
            return _error("404 Not Found", "NoSuchBucket", "The specified bucket does not exist.")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            if not key:
                return self._list_uploads(query) if "uploads" in query else self._list(query)
            if "uploads" in query or "uploadId" in query:
                return self._upload(method, key, query, body)
            if method in ("GET", "HEAD"):
                return self._get(key, environ)
            if method == "PUT":
                return self._put(key, environ, body)
            self.storage.delete_file(bucket, key)
            return "204 No Content", {}, b""
        except NotFound:
            return _error("404 Not Found", "NoSuchKey", "The specified key does not exist.")

    def _get(self, key: str, environ: dict[str, Any]) -> _Answer:
        told = self.storage.get_file_obj(self._bucket, key)
        wanted = environ.get("HTTP_IF_MATCH")
        if wanted and wanted.strip('"') != told["etag"]:
            return _error("412 Precondition Failed", "PreconditionFailed", "If-Match")
        content = self.storage.get_file(self._bucket, key)
        headers = _headers(told)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", environ.get("HTTP_RANGE", ""))
        if not found:
            return "200 OK", {**headers, "Content-Length": str(len(content))}, content
        first, last = int(found[1]), min(int(found[2]), len(content) - 1)
        if first >= len(content):
            return _error("416 Range Not Satisfiable", "InvalidRange", "The range can't be satisfied.")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return "206 Partial Content", headers, content[first : last + 1]

    def _put(self, key: str, environ: dict[str, Any], body: bytes) -> _Answer:
        there = self.storage.objects.get(self._bucket, {}).get(key)
        wanted = environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH")
        if wanted is not None and wanted != (there["generation"] if there else "0"):
            return _error(
                "412 Precondition Failed", "PreconditionFailed", "At least one of them did not hold."
            )
        if source := environ.get("HTTP_X_GOOG_COPY_SOURCE"):
            body = self.storage.get_file(self._bucket, unquote(source).lstrip("/").partition("/")[2])
        return "200 OK", _headers(self._store(key, body)), b"<CopyObjectResult/>" if source else b""

    def _store(self, key: str, body: bytes) -> dict[str, Any]:
        told = {
            "name": key,
            "generation": str(next(self._generations)),
            "size": str(len(body)),
            "etag": hashlib.md5(body).hexdigest(),
            "updated": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        self.storage.create_file(self._bucket, key, body, told)
        return told

    def _list(self, query: dict[str, str]) -> _Answer:
        found, folders = self.storage.get_file_list(self._bucket, query.get("prefix"), query.get("delimiter"))
        after = query.get("continuation-token", "")
        found = [told for told in found if told["name"] > after]
        page, more = found[:_PAGE], len(found) > _PAGE
        contents = "".join(
            f"<Contents><Key>{escape(told['name'])}</Key><Generation>{told['generation']}</Generation>"
            f'<LastModified>{told["updated"]}</LastModified><ETag>"{told["etag"]}"</ETag>'
            f"<Size>{told['size']}</Size></Contents>"
            for told in page
        )
        prefixes = "".join(
            f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            for folder in folders
            if not after
        )
        token = f"<NextContinuationToken>{escape(page[-1]['name'])}</NextContinuationToken>" if more else ""
        return _xml(
            "ListBucketResult", f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}{prefixes}"
        )

    def _upload(self, method: str, key: str, query: dict[str, str], body: bytes) -> _Answer:
        if "uploads" in query:
            name = f"upload-{next(self._generations)}"
            began = datetime.datetime.now(datetime.timezone.utc).isoformat()
            self._uploads[name] = key, began, {}
            return _xml(
                "InitiateMultipartUploadResult",
                f"<Bucket>{self._bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{name}</UploadId>",
            )
        name = query["uploadId"]
        if name not in self._uploads:
            return _error("404 Not Found", "NoSuchUpload", "The requested upload was not found.")
        if method == "PUT":
            self._uploads[name][2][int(query["partNumber"])] = body
            return "200 OK", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
        _, _, parts = self._uploads.pop(name)
        if method == "DELETE":
            return "204 No Content", {}, b""
        told = self._store(key, b"".join(parts[number] for number in sorted(parts)))
        status, headers, answer = _xml(
            "CompleteMultipartUploadResult",
            f'<Bucket>{self._bucket}</Bucket><Key>{escape(key)}</Key><ETag>"{told["etag"]}"</ETag>',
        )
        return status, {**headers, **_headers(told)}, answer

    def _list_uploads(self, query: dict[str, str]) -> _Answer:
        return _xml(
            "ListMultipartUploadsResult",
            "<IsTruncated>false</IsTruncated>"
            + "".join(
                f"<Upload><Key>{escape(key)}</Key><UploadId>{name}</UploadId><Initiated>{began}</Initiated></Upload>"
                for name, (key, began, _) in self._uploads.items()
                if key.startswith(query.get("prefix", ""))
            ),
        )


def _headers(told: dict[str, Any]) -> dict[str, str]:
    updated = datetime.datetime.fromisoformat(told["updated"].replace("Z", "+00:00"))
    return {
        "ETag": f'"{told["etag"]}"',
        "x-goog-generation": told["generation"],
        "Last-Modified": updated.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Content-Type": "application/octet-stream",
    }


def _xml(name: str, body: str) -> _Answer:
    answer = f'<?xml version="1.0" encoding="UTF-8"?><{name}>{body}</{name}>'.encode()
    return "200 OK", {"Content-Type": "application/xml"}, answer


def _error(status: str, code: str, message: str) -> _Answer:
    answer = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return status, {"Content-Type": "application/xml"}, answer
