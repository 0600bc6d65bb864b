"""Reads all of a dataset again, every byte and every row, and tells what differs from its manifests."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from beam_etl.io import manifest
from beam_etl.io.access import open_file
from beam_etl.io.errors import CONTENT_ERRORS, InputError, one_line
from beam_etl.io.formats import FileEntry, format_of
from beam_etl.io.formats.base import SPLIT_BYTES
from beam_etl.io.manifest import DataFile, Manifest
from beam_etl.io.rejects import Reject
from beam_etl.io.report import Report
from beam_etl.io.staging import SYSTEM_FOLDERS
from beam_etl.io.stores import store_of
from beam_etl.io.token_files import token_rows
from beam_etl.kernels.findings import one

_READ_BYTES = 1 << 20

_TOLD_LEFTOVERS = 10


class Unreadable(Exception):  # noqa: N818 - it is told as a finding
    """A file can't be looked into. The report has it already."""


def verify_dataset(folder: str, report: Report, threads: int) -> None:
    """Compares all versions that there are of a dataset with their files.

    A file is read twice: for its SHA-256, and for its rows, which checks pages and blocks against checksums of theirs.

    Args:
      folder: of the dataset.
      report: gets what is found.
      threads: how many files are read at the same time.

    Raises:
      InputError: there is no dataset.
    """
    numbers = manifest.numbers(folder)
    if not numbers:
        raise InputError(f"{folder}: no dataset. Give a folder that a job wrote as --output.")
    read = [read_exactly(folder, number, report) for number in numbers]
    versions = [version for version in read if version is not None]
    if len(versions) < len(numbers):
        report.unchecked.append("files that only a damaged manifest lists")
    else:
        report.notes += leftovers(folder, versions)
    files: dict[str, DataFile] = {}
    for version in versions:
        for file in version.files:
            if files.setdefault(file.path, file) != file:
                report.add(
                    file.path, one("versions of a file", "two versions of the dataset say different things")
                )
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        try:
            for done in [pool.submit(_verify_file, folder, file, report) for file in files.values()]:
                done.result()
        except BaseException:  # Ctrl-C
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def manifest_place(number: int) -> str:
    """Where a manifest is, below the dataset."""
    return os.path.relpath(manifest.manifest_path("", number), "")


def read_exactly(folder: str, number: int, report: Report) -> Manifest | None:
    """A manifest that is byte for byte as it was written; None where it can't be read, which is told."""
    path, place = manifest.manifest_path(folder, number), manifest_place(number)
    try:
        encoded = store_of(path).read(path)
        report.count(bytes=len(encoded), files=1)
        current = Manifest.read(path)
        body = json.loads(encoded)
        forms = (json.dumps(body, indent=indent, ensure_ascii=False).encode() for indent in (1, None))
        if encoded not in forms:  # that of few files, and that of many
            report.add(place, one("manifest", "it isn't written as it was: the same content, other bytes"))
    except (*CONTENT_ERRORS, AttributeError) as error:
        report.add(place, one("manifest", one_line(error).removeprefix(f"{path}: ")))
        return None
    if current.number != number:
        report.add(place, one("manifest", f"it says that it is number {current.number}"))
    if current.list_name:
        listed = os.path.join(os.path.dirname(path), current.list_name)
        report.count(bytes=store_of(listed).look(listed).bytes, files=1)
    return current


def verify(folder: str, file: DataFile, report: Report) -> None:
    """Compares size and SHA-256 of a file with the manifest.

    Raises:
      Unreadable: they differ, or it can't be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with open_file(os.path.join(folder, file.path)) as stored:
            while piece := stored.read(_READ_BYTES):
                digest.update(piece)
                size += len(piece)
                report.count(bytes=len(piece))
    except FileNotFoundError as error:
        report.add(file.path, one("absent file", "the manifest lists it, it isn't there"))
        raise Unreadable from error
    except OSError as error:
        report.add(file.path, one("unreadable file", one_line(error)))
        raise Unreadable from error
    report.count(files=1)
    if size != file.bytes:
        report.add(file.path, one("size of a file", f"{size:,} bytes, {file.bytes:,} in the manifest"))
        raise Unreadable
    if digest.hexdigest() != file.sha256:
        what = f"its SHA-256 is {digest.hexdigest()}, {file.sha256} in the manifest"
        report.add(file.path, one("checksum of a file", what))
        raise Unreadable


def _verify_file(folder: str, file: DataFile, report: Report) -> None:
    try:
        verify(folder, file, report)
        rows = _rows(folder, file, report)
    except Unreadable:
        return
    report.count(rows=rows)
    if rows != file.rows:
        report.add(file.path, one("rows of a file", f"{rows:,} rows, {file.rows:,} in the manifest"))


def _rows(folder: str, file: DataFile, report: Report) -> int:
    """How many rows a file has, all of which are read."""
    entry, known = FileEntry(0, os.path.join(folder, file.path), file.bytes), format_of(file.path)
    try:
        documents = token_rows(entry.path)
    except CONTENT_ERRORS as error:
        report.add(file.path, one("damaged file", one_line(error)))
        raise Unreadable from error
    if documents is not None:
        return documents
    if known is None:
        report.unchecked.append(f"rows of {file.path}: no format has this suffix")
        raise Unreadable
    rows = 0
    try:
        for split in known.splits(entry, SPLIT_BYTES):
            reader = None if split.problem else known.open(split, None)
            problem = split.problem
            for found in reader.rows(reader.schema.names, False) if reader else ():
                if isinstance(found, Reject):
                    problem = found.reason
                    break
                rows += found.batch.num_rows
            if problem:
                report.add(file.path, one("damaged file", problem))
                raise Unreadable
    except CONTENT_ERRORS as error:
        report.add(file.path, one("damaged file", one_line(error)))
        raise Unreadable from error
    return rows


def leftovers(folder: str, versions: Sequence[Manifest]) -> list[str]:
    """Files in the dataset's folder that no manifest lists, in words."""
    listed = {file.path for version in versions for file in version.files}
    inside = (
        os.path.relpath(found.path, folder).replace(os.sep, "/") for found in store_of(folder).files(folder)
    )
    left = [path for path in inside if path not in listed and path.partition("/")[0] not in SYSTEM_FOLDERS]
    told = sorted(left)[:_TOLD_LEFTOVERS]
    more = [f"and {len(left) - len(told):,} more files that it doesn't list"] if len(left) > len(told) else []
    return [*(f"{path} is in the folder, the manifest doesn't list it" for path in told), *more]
