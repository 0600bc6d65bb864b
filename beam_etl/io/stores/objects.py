"""Object stores: S3 and what speaks its protocol, and Google Cloud Storage.

Objects are created whole, under the names that they keep. What publishes is creating an object if it is absent:
`If-None-Match: *` on S3, `x-goog-if-generation-match: 0` on Google's.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeVar

import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_etl.io.stores.base import Found, Sink, Upload
from beam_etl.io.stores.faults import ChangedError, PassingError, explained, passes
from beam_etl.io.stores.local import PROBE
from beam_etl.io.stores.range_file import RangeFile
from beam_etl.io.stores.uploads import PART_BYTES, ObjectSink, abort_uploads, list_uploads
from beam_etl.io.stores.urls import split_url
from beam_etl.transforms.metrics import NAMESPACE, REQUESTS_RETRIED

TRIES = 5
FIRST_SECONDS = 0.1
"""Before the second try; each further one waits four times as long: 8.5 s in all."""

REQUESTS = 16
"""At the same time, where many objects are asked about."""

DELETED = 1000
"""Objects that are deleted at once."""

COPIED_BYTES = 5 << 30
"""Most that S3 copies with one request."""

EXTRAS = {"s3": "aws", "gs": "gcp"}

Answer = TypeVar("Answer")


@cache
def object_store(path: str) -> "ObjectStore":
    """The store that an object, or a folder of objects, is in. One a bucket and process.

    Raises:
      OSError: `obstore` isn't installed.
      UrlError: the path is no url of an object, or has credentials in it.
    """
    url = split_url(path)
    return _bucket(url.scheme, url.bucket)


@cache
def _bucket(scheme: str, bucket: str) -> "ObjectStore":
    return ObjectStore(scheme, bucket)


def forget_stores() -> None:
    """The environment is looked at anew: for tests that change it."""
    object_store.cache_clear()
    _bucket.cache_clear()


def _connect(scheme: str, bucket: str, retries: int) -> Any:
    """A client of obstore. Credentials, region and endpoint are those of the environment."""
    try:
        from obstore.store import GCSStore, S3Store
    except ImportError as error:
        extra = EXTRAS[scheme]
        raise OSError(
            None, f"{scheme}:// needs the package obstore: pip install 'beam-etl[{extra}]'"
        ) from error
    retry = {"max_retries": retries}
    if scheme == "s3":
        return S3Store(bucket, retry_config=retry)  # type: ignore[arg-type]
    options = {"allow_http": os.environ.get("GOOGLE_ALLOW_HTTP", "false").lower() == "true"}
    return GCSStore(bucket, retry_config=retry, client_options=options)  # type: ignore[arg-type]


def retried_request() -> None:
    """Counts it."""
    Metrics.counter(NAMESPACE, REQUESTS_RETRIED).inc()


class ObjectStore:
    """See Store. One bucket."""

    has_folders = False
    lists_late = True

    def __init__(self, scheme: str, bucket: str) -> None:
        self.scheme, self.bucket = scheme, bucket
        try:
            self._client = _connect(scheme, bucket, 0)  # tries again are ours, and counted
            self._uploading = _connect(scheme, bucket, 10)  # parts of an upload are sent again by the library
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - as below
            raise explained(error, f"{scheme}://{bucket}") from None

    def read(self, path: str) -> bytes:
        import obstore

        return self._ask(path, lambda key: bytes(obstore.get(self._client, key).bytes()))

    def create(self, path: str, content: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        def put(key: str) -> bool:
            try:
                obstore.put(self._client, key, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                # S3 says the same of a key that another is about to create, which may fail.
                try:
                    obstore.head(self._client, key)
                except FileNotFoundError as error:
                    raise PassingError("it is being created by another, and isn't there") from error
                return False
            return True

        return self._ask(path, put)

    def write(self, path: str, content: bytes) -> None:
        import obstore

        self._ask(path, lambda key: obstore.put(self._client, key, content, use_multipart=False))

    def publish(self, prepared: str, path: str) -> None:
        if not self.create(path, self.read(prepared)):
            raise FileExistsError(path)

    def open_new(self, path: str) -> Sink:
        return ObjectSink(self._uploading, path)

    def open_file(self, path: str) -> Any:
        """By ranges, all of one version of the object."""
        found = self.look(path)

        def fetch(start: int, stop: int) -> bytes:
            return self.read_range(path, start, stop, found.etag)

        return pa.PythonFile(RangeFile(fetch, found.bytes), mode="r")

    def read_range(self, path: str, start: int, stop: int, etag: str = "") -> bytes:
        """Some bytes of an object.

        Raises:
          ChangedError: its content has become another one than that of the etag.
        """
        import obstore
        from obstore.exceptions import PreconditionError

        def get(key: str) -> bytes:
            wanted: Any = {"range": (start, stop)}
            if etag:
                wanted["if_match"] = etag
            try:
                return bytes(obstore.get(self._client, key, options=wanted).bytes())
            except PreconditionError as error:
                raise ChangedError(errno.ESTALE, "it was written anew", path) from error

        return self._ask(path, get)

    def copy(self, source: str, target: str) -> None:
        """Copies an object inside the store; one that S3 doesn't copy goes through this machine."""
        import obstore

        if self.scheme == "s3" and self.look(source).bytes > COPIED_BYTES:
            self._copy_through(source, target)
            return
        self._ask(source, lambda key: obstore.copy(self._client, key, split_url(target).key))

    def _copy_through(self, source: str, target: str) -> None:
        sink = self.open_new(target)
        try:
            with self.open_file(source) as file:
                while piece := file.read(PART_BYTES):
                    sink.write(piece)
            sink.close()
        finally:
            sink.abort()

    def make_folder(self, path: str) -> None:
        """There are none."""

    def names(self, folder: str) -> list[str]:
        import obstore

        def listed(key: str) -> list[str]:
            found = obstore.list_with_delimiter(self._client, key or None)
            paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
            return sorted({path.rstrip("/").rsplit("/", 1)[-1] for path in paths if path.strip("/") != key})

        return self._ask(folder, listed)

    def files(self, folder: str) -> Iterator[Found]:
        key = split_url(folder).key
        for page in self._pages(folder):
            yield from (self._found(each) for each in page if each["path"].strip("/") != key)

    def _pages(self, folder: str) -> Iterator[list[Any]]:
        """The pages of a list. One that failed ends without a word, so another list goes on behind what it gave."""
        import obstore

        given = offset = ""
        pages: Iterator[Any] | None = None

        def following(key: str) -> Any:
            nonlocal pages, offset
            if pages is None:
                offset = given
                pages = iter(obstore.list(self._client, key or None, offset=offset or None, chunk_size=1000))
            try:
                return next(pages, None)
            except Exception:
                pages = None
                raise

        while (page := self._ask(folder, following)) is not None:
            # A key `a/` is told as `a`, which comes before what stands before it.
            page = [each for each in page if each["path"] > offset] if offset else page
            given = max([given, *(each["path"] for each in page)])
            yield page

    def look(self, path: str) -> Found:
        import obstore

        try:
            return self._found(self._ask(path, lambda key: obstore.head(self._client, key)))
        except OSError as error:
            if error.errno == errno.EPROTO:  # the answer has no text: that to another request tells more
                self.names(path)
            raise

    def exists(self, path: str) -> bool:
        try:
            self.look(path)
        except FileNotFoundError:
            return False
        return True

    def look_at(self, paths: Iterable[str]) -> list[Found | None]:
        """Each of many objects; None for one that isn't there."""

        def find(path: str) -> Found | None:
            try:
                return self.look(path)
            except FileNotFoundError:
                return None

        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(find, paths))

    def remove(self, paths: Iterable[str]) -> None:
        """In the order of the paths, many at once."""
        keys = [split_url(path).key for path in paths]
        for at in range(0, len(keys), DELETED):
            some = keys[at : at + DELETED]
            try:
                self._ask(self._path(some[0]), partial(self._delete, some))
            except FileNotFoundError:  # Google's tells, and leaves the rest
                self._remove_each(some)
            except OSError:
                continue

    def _delete(self, keys: list[str], _: str) -> None:
        import obstore

        obstore.delete(self._client, keys)

    def _remove_each(self, keys: list[str]) -> None:
        import obstore

        for key in keys:
            try:
                self._ask(self._path(key), lambda key: obstore.delete(self._client, key))
            except OSError:
                continue

    def remove_folder(self, path: str) -> None:
        self.remove([found.path for found in self.files(path)] or [path])

    def refusal(self, folder: str) -> str | None:
        probe = os.path.join(folder, f"{PROBE}{secrets.token_hex(6)}")
        try:
            made = [self.create(probe, b"first"), self.create(probe, b"second")]
            kept = self.read(probe)
        except OSError as error:
            return f"creating an object there, if it is absent, fails: {error.strerror or error}"
        finally:
            self.remove([probe])
        if made[1] or kept != b"first":  # of the first, the answer may have been lost
            return (
                "the store replaces an object that is there although it is told not to (If-None-Match: *). Two writers "
                "would lose each other's work. Use a store that knows conditional writes, or write to a local path "
                "and copy the folder as it is"
            )
        return None

    def refresh(self, folders: Iterable[str]) -> None:
        """Nothing is remembered."""

    def uploads(self, folder: str) -> list[Upload]:
        """Multi-part uploads to a folder that weren't ended.

        Raises:
          OSError: they can't be listed. The message says why.
        """
        return list_uploads(self.scheme, self.bucket, split_url(folder).key)

    def abort(self, uploads: Iterable[Upload]) -> None:
        """Ends uploads without an object."""
        abort_uploads(self.scheme, self.bucket, uploads)

    def _path(self, key: str) -> str:
        return f"{self.scheme}://{self.bucket}/{key}"

    def _found(self, told: Any) -> Found:
        modified = told["last_modified"].timestamp()
        return Found(self._path(told["path"]), told["size"], modified, etag=told["e_tag"] or "")

    def _ask(self, path: str, request: Callable[[str], Answer]) -> Answer:
        """The answer to a request about a path, which is made again where that may help.

        Raises:
          OSError: what is explained in `faults`.
        """
        key = split_url(path).key
        for tries in range(1, TRIES + 1):
            try:
                return request(key)
            except ChangedError:
                raise
            except Exception as error:  # noqa: BLE001 - the library's have no class of their own in common
                if tries == TRIES or not passes(error):
                    raise explained(error, path) from None  # its own text may tell an address with a password
            retried_request()
            time.sleep(FIRST_SECONDS * 4 ** (tries - 1))
        raise AssertionError("unreachable")
