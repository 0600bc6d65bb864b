"""Uploads in parts: writing one, and ending those that were left, which `obstore` can't list."""

import contextlib
import datetime
import errno
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import Any

from beam_etl.io.stores.base import Upload
from beam_etl.io.stores.faults import explained
from beam_etl.io.stores.signing import Keys, sign_request
from beam_etl.io.stores.urls import split_url

PART_BYTES = 8 << 20
"""Of a part: S3 takes 10,000 of them, so a file may have 80 GB. What is smaller is one request."""

PARTS = 3
"""That are sent at the same time: with what is gathered, 32 MiB of an open file are in memory."""

_SECONDS = 30

RULE = (
    "Have the bucket end them by itself: a lifecycle rule AbortIncompleteMultipartUpload after some days "
    "(docs/stores.md)"
)


class ObjectSink:
    """See Sink. What has less than PART_BYTES is one request when it is closed."""

    def __init__(self, client: Any, path: str) -> None:
        import obstore

        self._path = path
        self._writer = obstore.open_writer(
            client, split_url(path).key, buffer_size=PART_BYTES, max_concurrency=PARTS
        )
        self.closed = False

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        try:
            self._writer.write(view)
        except Exception as error:  # noqa: BLE001 - as in `objects`
            raise explained(error, self._path) from None
        return view.nbytes

    def flush(self) -> None:
        """Nothing: close does."""

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            self._writer.close()
        except Exception as error:  # noqa: BLE001 - as in `objects`
            raise explained(error, self._path) from None

    def abort(self) -> None:
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(Exception):  # what can't be ended is left, as when the process dies
            self._writer.__exit__(InterruptedError, InterruptedError(), None)


def list_uploads(scheme: str, bucket: str, folder: str) -> list[Upload]:
    """The uploads to objects below a folder that weren't ended.

    Raises:
      OSError: they can't be listed.
    """
    found: list[Upload] = []
    query = {"uploads": "", "prefix": f"{folder}/" if folder else ""}
    while True:
        page = ET.fromstring(_request(scheme, bucket, "GET", "", query))
        space = page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
        for each in page.iter(f"{space}Upload"):
            told = {child.tag.removeprefix(space): child.text or "" for child in each}
            began = datetime.datetime.fromisoformat(told["Initiated"].replace("Z", "+00:00"))
            found.append(Upload(f"{scheme}://{bucket}/{told['Key']}", told["UploadId"], began.timestamp()))
        if (page.findtext(f"{space}IsTruncated") or "").lower() != "true":
            return found
        query["key-marker"] = page.findtext(f"{space}NextKeyMarker") or ""
        query["upload-id-marker"] = page.findtext(f"{space}NextUploadIdMarker") or ""


def abort_uploads(scheme: str, bucket: str, uploads: Iterable[Upload]) -> None:
    """Ends uploads without an object; those that were ended meanwhile too."""
    for upload in uploads:
        try:
            _request(scheme, bucket, "DELETE", split_url(upload.path).key, {"uploadId": upload.id})
        except FileNotFoundError:
            continue


def _request(scheme: str, bucket: str, method: str, key: str, query: Mapping[str, str]) -> bytes:
    path = urllib.parse.quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/-_.~")
    made = _s3(method, path, query) if scheme == "s3" else _google(method, path, query)
    try:
        with urllib.request.urlopen(made, timeout=_SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        text = f"status code: {error.code} {error.reason}: {error.read()[:1000].decode(errors='replace')}"
        if error.code == 404 and "NoSuchUpload" in text:
            raise FileNotFoundError(errno.ENOENT, "there is no such upload", key) from error
        raise explained(RuntimeError(text), f"{scheme}://{bucket}/{key}") from error
    except urllib.error.URLError as error:
        raise explained(RuntimeError(f"HTTP error: {error.reason}"), f"{scheme}://{bucket}/{key}") from error


def _s3(method: str, path: str, query: Mapping[str, str]) -> urllib.request.Request:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = next(
        (
            os.environ[name]
            for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
            if os.environ.get(name)
        ),
        f"https://s3.{region}.amazonaws.com",
    )
    keys = Keys.of_environment()
    if keys is None:
        raise PermissionError(
            errno.EACCES,
            "unfinished uploads can only be looked for with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
            f"environment. {RULE}",
        )
    return sign_request(method, endpoint.rstrip("/"), path, query, region, keys)


def _google(method: str, path: str, query: Mapping[str, str]) -> urllib.request.Request:
    account = json.loads(os.environ.get("GOOGLE_SERVICE_ACCOUNT_KEY") or "{}")
    base = (
        os.environ.get("GOOGLE_BASE_URL") or account.get("gcs_base_url") or "https://storage.googleapis.com"
    )
    url = f"{base.rstrip('/')}{path}?{urllib.parse.urlencode(query)}"
    headers = {} if account.get("disable_oauth") else {"Authorization": f"Bearer {_google_token(account)}"}
    return urllib.request.Request(url, method=method, headers=headers)


def _google_token(account: Mapping[str, Any]) -> str:
    try:
        import google.auth
        import google.auth.transport.requests
        import google.oauth2.service_account
    except ImportError as error:
        raise PermissionError(
            errno.EACCES, f"unfinished uploads can only be looked for with the extra gcp. {RULE}"
        ) from error
    scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
    try:
        if account:
            found = google.oauth2.service_account.Credentials.from_service_account_info(
                account, scopes=scopes
            )
        else:
            found, _ = google.auth.default(scopes=scopes)
        found.refresh(google.auth.transport.requests.Request())
    except Exception as error:
        raise PermissionError(errno.EACCES, f"no token for Google's storage: {error}. {RULE}") from error
    return str(found.token)
