"""From patterns to the numbered list of files of a run."""

import os
import re
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from apache_beam.io.filesystem import BeamIOError, FileSystem
from apache_beam.io.filesystems import FileSystems

from beam_etl import schema
from beam_etl.io import stores
from beam_etl.io.access import open_file
from beam_etl.io.errors import InputError
from beam_etl.io.formats import FileEntry, Format, format_named, format_of, known_suffixes
from beam_etl.io.manifest import manifest_number
from beam_etl.io.stores import is_local, is_object, store_of
from beam_etl.io.stores.urls import UrlError, refuse_credentials, split_url

Found = tuple[str, int, int, str]
"""A file's path, its bytes, when it was modified, in nanoseconds, and its ETag; 0 and "" where that isn't known."""

DatasetFiles = Callable[[str], Iterable[tuple[str, int]] | None]
"""Path and bytes of the documents of the dataset in a folder, or of the version that a manifest tells of; None where it
is neither."""

GLOB = re.compile(r"[*?\[]")
"""What makes a pattern a glob."""


def match_files(
    patterns: str | Sequence[str],
    format: str | None = None,
    dataset_files: DatasetFiles = lambda folder: None,
) -> list[FileEntry]:
    """The files that patterns match, sorted by path and numbered; each once.

    Local paths are absolute, whatever the pattern: a worker may run elsewhere.

    Args:
      patterns: comma-separated, or a sequence of: a file; a folder, which stands for the data files in it at
        any depth, or for the documents of a dataset; a manifest, which stands for those of its version; a glob,
        where `*` and `?` stay inside a folder and `**` doesn't; `@LIST`, a file with one of these a line. Any
        filesystem that Beam knows. Names that begin with `_` or `.` are not matched by a folder or a glob,
        unless the glob has such a name itself.
      format: reads all files, whatever their suffix; None to tell it from the suffix.
      dataset_files: looks into a folder first.

    Raises:
      NothingFoundError: a pattern matches nothing.
      InputError: there are more than 2^20 files.
    """
    found = find_files(patterns, format, dataset_files)
    if len(found) > schema.MAX_FILES:
        raise InputError(
            f"{len(found):,} files match; a run reads at most {schema.MAX_FILES:,}. "
            f"Compact them into fewer, larger files."
        )
    _check_names(found)
    return [FileEntry(number, path, *found[path]) for number, path in enumerate(sorted(found))]


class NothingFoundError(InputError):
    """A pattern matches no file, as yet."""


def find_files(
    patterns: str | Sequence[str],
    format: str | None = None,
    dataset_files: DatasetFiles = lambda folder: None,
) -> dict[str, tuple[int, int, str]]:
    """The files that patterns match, as `match_files` does, in no order: bytes, time and ETag of each path.

    Raises:
      NothingFoundError: a pattern matches nothing.
    """
    wanted = None if format is None else format_named(format)
    found: dict[str, tuple[int, int, str]] = {}
    for pattern in single_patterns(patterns):
        for path, size, modified, etag in _match(pattern, wanted, dataset_files):
            found[os.path.abspath(path) if is_local(path) else path] = size, modified, etag
    return found


def _check_names(paths: Iterable[str]) -> None:
    """Names of files are bytes to Linux; those that are no text can't stand in a table."""
    for path in paths:
        if shown(path) != path:
            raise InputError(f"{shown(path)}: {NOT_UTF8}")


NOT_UTF8 = "the file's name is not UTF-8. Rename it."


def shown(path: str) -> str:
    """A path as text: what is none in it is escaped."""
    return path.encode("utf-8", "backslashreplace").decode()


def input_format(files: Sequence[FileEntry], format: str | None = None) -> Format:
    """The one format of the files: the one named, or what their suffixes say.

    Raises:
      InputError: several formats, or none that is known. The message names a file of each.
    """
    if format is not None:
        return format_named(format)
    first: dict[str, str] = {}
    for file in files:
        known = format_of(file.path)
        if known is None:
            raise InputError(f"{file.path}: no known suffix ({known_suffixes()}). Use --format=NAME.")
        first.setdefault(known.name, file.path)
    if len(first) > 1:
        examples = ", ".join(f"{name} ({path})" for name, path in first.items())
        raise InputError(
            f"the input has several formats: {examples}. Use a narrower pattern, or --format=NAME."
        )
    return format_named(next(iter(first)))


def single_patterns(patterns: str | Sequence[str]) -> Iterator[str]:
    """Single patterns, with lists read and local paths in one form."""
    given = patterns.split(",") if isinstance(patterns, str) else patterns
    single = [pattern for item in given for pattern in _listed(item.strip())]
    if not single:
        raise InputError(f"no input pattern in {patterns!r}")
    for pattern in single:
        try:
            refuse_credentials(pattern)
        except UrlError as error:
            raise InputError(str(error)) from None
        yield _normal(pattern) if is_local(pattern) else pattern


def _listed(item: str) -> list[str]:
    item = item.removeprefix("file://")
    if not item.startswith("@"):
        return [os.path.expanduser(item)] if item else []
    try:
        with open_file(os.path.expanduser(item[1:])) as file:
            lines = file.read().decode().splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{item[1:]}: no such list of files") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{item[1:]}: a list of files is text, one path a line ({error})") from error
    return [pattern for line in lines if (pattern := line.strip().removeprefix("file://"))]


def _normal(pattern: str) -> str:
    """So that one file has one path, however it was written."""
    folder = "/" if pattern.endswith("/") else ""
    return os.path.normpath(pattern).rstrip("/") + folder


def _match(pattern: str, wanted: Format | None, dataset_files: DatasetFiles) -> Iterable[Found]:
    whole = pattern.rstrip("/") or "/"
    file = None if pattern.endswith("/") else _file(pattern)
    if file is not None:
        version = dataset_files(pattern) if manifest_number(pattern) else None
        return [file] if version is None else _undated(version)
    if not GLOB.search(pattern) or (is_local(whole) and os.path.isdir(whole)):
        found = dataset_files(whole)
        return _in_folder(whole, wanted) if found is None else _undated(found)
    matched = _glob(pattern)
    if not matched:
        raise NothingFoundError(f"no file matches {pattern!r}; {_nearest(pattern)}")
    return matched


def _undated(found: Iterable[tuple[str, int]]) -> list[Found]:
    """Files of a dataset, which tells their bytes, and when they were written only as a whole."""
    return [(path, size, 0, "") for path, size in found]


def _file(path: str) -> Found | None:
    """The file that has exactly this path."""
    if is_local(path):
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return None
        return (path, found.st_size, found.st_mtime_ns, "") if stat.S_ISREG(found.st_mode) else None
    if GLOB.search(path):
        return None
    if is_object(path):
        return _object(path)
    return next((found for found in _beam_match(path) if found[0] == path), None)


def _object(path: str) -> Found | None:
    """The object of this name, where there is one. A bucket is none."""
    if not split_url(path).key:
        return None
    try:
        found = store_of(path).look(path)
    except FileNotFoundError:
        return None
    return _as_found(found)


def _in_folder(folder: str, wanted: Format | None) -> list[Found]:
    if is_local(folder):
        everything = list(_walk(folder, None, hidden=False)) if os.path.isdir(folder) else []
    else:
        everything = [found for found in _below(folder) if not is_hidden(found[0][len(folder) + 1 :])]
    data = everything if wanted else [found for found in everything if format_of(found[0])]
    if data:
        return data
    if everything:
        raise NothingFoundError(
            f"{folder}: no file with a known suffix ({known_suffixes()}) among {len(everything)}, "
            f"for example {everything[0][0]}. Use --format=NAME."
        )
    raise NothingFoundError(f"no file in {folder!r}; {_nearest(folder)}")


def _glob(pattern: str) -> list[Found]:
    """What a glob matches, with Beam's meaning of its characters."""
    fixed = GLOB.split(pattern, maxsplit=1)[0]
    folder, rest = pattern[: fixed.rfind("/") + 1], pattern[fixed.rfind("/") + 1 :]
    hidden = is_hidden(rest)
    if is_object(pattern):
        matches = re.compile(FileSystem.translate_pattern(pattern)).match
        return [
            found
            for found in _below(folder.rstrip("/"))
            if matches(found[0]) and (hidden or not is_hidden(found[0][len(folder) :]))
        ]
    if not is_local(pattern):
        return [found for found in _beam_match(pattern) if hidden or not is_hidden(found[0][len(folder) :])]
    matches = re.compile(FileSystem.translate_pattern(pattern)).match
    depth = None if "**" in rest else rest.count("/")
    named = rest.split("**")[0].count("/")
    return [found for found in _walk(folder or ".", depth, hidden, named) if matches(found[0])]


def _walk(folder: str, depth: int | None, hidden: bool, linked: int = 0) -> Iterator[Found]:
    """The files below a local folder, at most `depth` folders down.

    Links to folders are followed in the first `linked` steps down, which a pattern names: below these they may
    lead back up.
    """
    base = "" if folder == "." else folder.rstrip("/") + "/"
    below = []
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if not hidden and is_hidden(entry.name):
                continue
            if entry.is_dir(follow_symlinks=linked > 0):
                below.append(base + entry.name)
            elif entry.is_file():
                try:
                    status = entry.stat()
                except FileNotFoundError:  # somebody removed it meanwhile
                    continue
                yield base + entry.name, status.st_size, status.st_mtime_ns, ""
    if depth != 0:
        for path in below:
            yield from _walk(path, None if depth is None else depth - 1, hidden, linked - 1)


def _below(folder: str) -> list[Found]:
    """All files in a folder that isn't local. An object that stands for a folder is none."""
    if not is_object(folder):
        return _beam_match(f"{folder}/**")
    found = sorted(_as_found(found) for found in store_of(folder).files(folder))
    paths = [path for path, *_ in found]
    return [each for each in found if each[1] or not _is_above(each[0], paths)]


def _is_above(path: str, paths: Sequence[str]) -> bool:
    """Whether a folder of this name has files. What makes folders in a store's own pages leaves such objects.

    Args:
      path: of an object.
      paths: of all, sorted.
    """
    at = bisect_left(paths, f"{path}/")
    return at < len(paths) and paths[at].startswith(f"{path}/")


def _as_found(found: stores.Found) -> Found:
    return found.path, found.bytes, int(found.modified * 1e9), found.etag


def _beam_match(pattern: str) -> list[Found]:
    try:
        found = FileSystems.match([pattern])[0].metadata_list
    except (BeamIOError, ValueError) as error:
        raise InputError(f"{pattern}: {error}") from error
    return [(data.path, data.size_in_bytes, 0, "") for data in found if not data.path.endswith("/")]


def is_hidden(path: str) -> bool:
    """Whether a folder or a glob doesn't match a path below it."""
    return path.startswith(("_", ".")) or "/_" in path or "/." in path


def _is_there(folder: str) -> bool:
    if is_local(folder):
        return os.path.isdir(folder)
    return bool(store_of(folder).names(folder) if is_object(folder) else _beam_match(f"{folder}/*"))


def _nearest(pattern: str) -> str:
    """The deepest folder above a pattern that is there."""
    folder = pattern.rstrip("/")
    while "/" in folder and not folder.endswith(":/"):
        folder = folder.rsplit("/", 1)[0]
        if _is_there(folder):
            return f"the nearest folder that exists is {folder!r}"
    return (
        f"the nearest folder that exists is {os.getcwd()!r}"
        if is_local(pattern)
        else "nor does a folder above it exist"
    )
