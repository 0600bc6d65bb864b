"""Local and mounted filesystems: hard links publish, renames move."""

import contextlib
import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from beam_etl.io import durable
from beam_etl.io.stores.base import Found, Sink, Upload
from beam_etl.io.transient import patiently

PROBE = "_beam_etl_"
"""Names that begin so stand in a dataset for a moment: somebody asks the filesystem something."""


class LocalStore:
    """See Store."""

    has_folders = True
    lists_late = False

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def create(self, path: str, content: bytes) -> bool:
        return durable.create_if_absent(path, content)

    def write(self, path: str, content: bytes) -> None:
        with open(f"{path}.{secrets.token_hex(6)}", "wb") as file:
            file.write(content)
        os.replace(file.name, path)

    def publish(self, prepared: str, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(prepared, path)
        durable.sync_folder(os.path.dirname(path))

    def open_new(self, path: str) -> Sink:
        # The folder may be removed in between by another attempt's end, once.
        with contextlib.suppress(FileNotFoundError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return SyncedFile(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return SyncedFile(path)

    def make_folder(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self, folder: str) -> Iterator[Found]:
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                with contextlib.suppress(FileNotFoundError):
                    yield _found(os.path.join(parent, name), follow=False)

    def look(self, path: str) -> Found:
        return _found(path, follow=True)

    def look_at(self, paths: Iterable[str]) -> list[Found | None]:
        return [_found_or_none(path) for path in paths]

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def remove_folder(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)
        self.remove([path])

    def open_file(self, path: str) -> Any:
        return pa.OSFile(path)

    def copy(self, source: str, target: str) -> None:
        raise NotImplementedError("files are moved")

    def uploads(self, folder: str) -> list[Upload]:
        return []

    def abort(self, uploads: Iterable[Upload]) -> None:
        """There are none."""

    def refusal(self, folder: str) -> str | None:
        """A filesystem without links is found out before the work, not after it."""
        above = os.path.abspath(folder)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        try:
            with tempfile.NamedTemporaryFile(dir=above, prefix=PROBE) as probe:
                os.link(probe.name, f"{probe.name}.link")
                os.unlink(f"{probe.name}.link")
        except OSError as error:
            return (
                f"creating a file and a hard link to it in {above} fails ({error}). "
                f"Use an --output that is writable, on a filesystem with hard links."
            )
        return None

    def refresh(self, folders: Iterable[str]) -> None:
        """A client of a network may go by what it knew of a folder a minute ago, until it changes something in it."""
        for folder in folders:
            path = os.path.join(folder, f"{PROBE}{secrets.token_hex(6)}")
            with contextlib.suppress(OSError):
                open(path, "xb").close()
                os.unlink(path)


def _found(path: str, follow: bool) -> Found:
    status = os.stat(path, follow_symlinks=follow)
    return Found(
        path,
        status.st_size,
        status.st_mtime,
        status.st_mtime_ns,
        identity=(status.st_dev, status.st_ino),
    )


def _found_or_none(path: str) -> Found | None:
    try:
        return _found(path, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        return None


class SyncedFile:
    """A Sink that is synced when it is closed."""

    def __init__(self, path: str) -> None:
        self._file = io.BufferedWriter(_PatientFile(path, "xb"))

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, data: Any, /) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        """Nothing: close syncs."""

    def close(self) -> None:
        if not self.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def abort(self) -> None:
        self._file.close()


class _PatientFile(io.FileIO):
    """A file whose writes are tried again where an error passes. A sync isn't: what it lost is gone then."""

    def write(self, data: Any) -> int:
        return patiently(lambda: write_some(self, data))


def write_some(file: io.FileIO, data: Any) -> int:
    """One call of the system: it writes some bytes, or fails and writes none."""
    return io.FileIO.write(file, data)
