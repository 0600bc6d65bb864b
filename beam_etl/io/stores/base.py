"""What a store of files can do, as datasets need it: a filesystem, or an object store."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol


class Found(NamedTuple):
    """A file that a store has."""

    path: str
    """The whole of it."""
    bytes: int
    modified: float
    """When, in seconds since 1970, by the store's clock."""
    modified_ns: int = 0
    """The same in nanoseconds, exact, on a filesystem."""
    etag: str = ""
    """What changes with the content; nothing on a filesystem."""
    identity: tuple[int, int] | None = None
    """Equal for names of one file, on a filesystem."""


class Upload(NamedTuple):
    """A multi-part upload that wasn't ended: it takes space, and nobody sees it."""

    path: str
    id: str
    began: float
    """When, in seconds since 1970."""


class Sink(Protocol):
    """A file that is being written. Nobody sees an object before it is closed."""

    @property
    def closed(self) -> bool:
        """Whether it was ended, or left."""

    def write(self, data: Any, /) -> int:
        """Adds bytes, or a buffer of them."""

    def flush(self) -> None:
        """Nothing: close does."""

    def close(self) -> None:
        """Ends the file, which survives a power cut then."""

    def abort(self) -> None:
        """Leaves it unfinished."""


class Store(Protocol):
    """Files by their whole paths. What is absent is a FileNotFoundError, what can't be reached another OSError."""

    has_folders: bool
    """Whether files are renamed and linked, and folders made. Where not, files are written where they stay."""
    lists_late: bool
    """Whether `names` and `files` may miss what was created a moment ago."""

    def read(self, path: str) -> bytes:
        """All of a file."""

    def create(self, path: str, content: bytes) -> bool:
        """Creates a file with all of its content, or not at all; False when it exists already."""

    def write(self, path: str, content: bytes) -> None:
        """Creates a file, or replaces its content, in one step. A filesystem must have its folder."""

    def publish(self, prepared: str, path: str) -> None:
        """Gives the content of a prepared file a second name, for good.

        Raises:
          FileExistsError: the name is taken.
          FileNotFoundError: nothing is prepared.
        """

    def open_new(self, path: str) -> Sink:
        """A new file, whose name nobody else uses; and its folder."""

    def make_folder(self, path: str) -> None:
        """Makes a folder, and those above it, where a store has such."""

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted; nothing where there is none."""

    def files(self, folder: str) -> Iterator[Found]:
        """The files in a folder, at any depth."""

    def look(self, path: str) -> Found:
        """One file, without its content."""

    def look_at(self, paths: Iterable[str]) -> list[Found | None]:
        """Each of many files; None for one that isn't there."""

    def exists(self, path: str) -> bool:
        """Whether there is a file of this name."""

    def remove(self, paths: Iterable[str]) -> None:
        """Deletes files. What can't be deleted is left."""

    def remove_folder(self, path: str) -> None:
        """Deletes a file, or a folder with all that is in it."""

    def open_file(self, path: str) -> Any:
        """A file to be read anywhere in it: what pyarrow takes for one, to be used as a context manager."""

    def copy(self, source: str, target: str) -> None:
        """Copies a file, whose copy may be there already. Not on a filesystem."""

    def uploads(self, folder: str) -> list[Upload]:
        """Uploads to a folder that weren't ended.

        Raises:
          OSError: they can't be listed. The message says why.
        """

    def abort(self, uploads: Iterable[Upload]) -> None:
        """Ends uploads without a file."""

    def refusal(self, folder: str) -> str | None:
        """Why a dataset can't be published in a folder, found out by trying; None where it can."""

    def refresh(self, folders: Iterable[str]) -> None:
        """Makes what others have put into folders visible, where this machine remembers what it saw."""
