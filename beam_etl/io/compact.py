"""Small files of a folder as one: rows stay as they are, and the dataset gets a version that lists the larger file."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io import staging
from beam_etl.io.append import LostError, publish_on_top
from beam_etl.io.data_files import OpenFile
from beam_etl.io.errors import InputError
from beam_etl.io.formats import format_of
from beam_etl.io.manifest import DataFile, Manifest, Pane
from beam_etl.io.pane_expiry import tell_done
from beam_etl.io.panes import ALL_PARTITIONS
from beam_etl.io.place import place

COMPACTED = "compacted"
"""The timing of a file that has rows of several panes."""

_SUFFIX = ".parquet"


@dataclass(frozen=True)
class Group:
    """Files of one folder that become one."""

    table: str
    folder: str
    """Below the dataset."""
    files: tuple[DataFile, ...]

    def pane(self) -> Pane | None:
        """What the manifest tells of the file that they become; None where they are of no stream."""
        panes = [file.pane for file in self.files if file.pane]
        if not panes:
            return None
        first = panes[0]
        accumulates = any(pane.partition is not None for pane in panes)
        return Pane(
            first.stream,
            first.start,
            first.end,
            max(pane.index for pane in panes),
            COMPACTED,
            ALL_PARTITIONS if accumulates else None,
            first=min(pane.index if pane.first is None else pane.first for pane in panes),
        )


@dataclass(frozen=True)
class Compacted:
    """What became of groups."""

    version: Manifest | None
    """What was published; None where nothing was."""
    done: tuple[Group, ...]
    overtaken: tuple[Group, ...]
    """Somebody else has replaced files of these meanwhile."""


def find_groups(
    dataset: str, head: Manifest, file_bytes: int, idle_seconds: float, now: float
) -> list[Group]:
    """The files that can become fewer.

    A window of a stream that still runs is left alone until its watermark has passed the allowed lateness, and for
    `idle_seconds` after it was published to: until then a pane may come, or a restore take one back.

    Args:
      dataset: folder.
      head: its version.
      file_bytes: files are merged while they are smaller than this together.
      idle_seconds: see there.
      now: seconds since 1970.

    Returns:
      Groups of two files at least, of Parquet files whose rows are in no order.
    """
    places: dict[tuple[Any, ...], list[DataFile]] = {}
    for file in head.files:
        if file.path.endswith(_SUFFIX) and _is_free(dataset, head, file, now - idle_seconds):
            pane = file.pane  # what accumulates is replaced apart from what doesn't
            window = (pane.stream, pane.start, pane.end, pane.partition is None) if pane else ()
            places.setdefault((file.table, os.path.dirname(file.path), window), []).append(file)
    return [
        Group(table, folder, some)
        for (table, folder, _), files in sorted(places.items())
        for some in _filled(files, file_bytes)
        if len(some) > 1
    ]


def _is_free(dataset: str, head: Manifest, file: DataFile, before: float) -> bool:
    partitioning = head.partitioned(file.table)
    if partitioning is not None and (partitioning.order or "=" not in file.path):
        return False
    if file.pane is None or not os.path.isdir(staging.staging_folder(dataset, file.pane.stream)):
        return True
    told = head.streams.get(file.pane.stream, {})
    is_final = file.pane.end + told.get("lateness", 0) <= told.get("on_time", 0)
    return is_final and os.stat(os.path.join(dataset, file.path)).st_mtime < before


def _filled(files: Sequence[DataFile], file_bytes: int) -> Iterator[tuple[DataFile, ...]]:
    """Files in runs of at most `file_bytes`, small ones first."""
    some: list[DataFile] = []
    for file in sorted(files, key=lambda file: (file.bytes, file.path)):
        if some and sum(each.bytes for each in some) + file.bytes > file_bytes:
            yield tuple(some)
            some = []
        some.append(file)
    yield tuple(some)


def compact(dataset: str, groups: Sequence[Group], about: dict[str, Any], threads: int) -> Compacted:
    """Makes a file of each group and publishes them on top of whatever the dataset is by then.

    A group of which a file isn't listed any more is overtaken: its rows have been replaced meanwhile. The files that
    went into the others stay until `clean` removes the versions that list them.

    Raises:
      InputError: the columns of files of a group differ.
      LostError: files that this run wrote are gone.
    """
    run = staging.new_run()
    staging.mark_appending(dataset, run)
    try:
        with ThreadPoolExecutor(threads) as pool:
            made = list(pool.map(partial(_merge, dataset, run), groups))
        done: list[int] = []

        def merged(head: Manifest | None) -> Manifest | None:
            listed = {file.path for file in head.files} if head else set()
            done[:] = [
                number
                for number, group in enumerate(groups)
                if all(file.path in listed for file in group.files)
            ]
            if head is None or not done:
                return None
            return _replaced(dataset, head, run, [(groups[number], made[number]) for number in done], about)

        folder = staging.staging_folder(dataset, run)
        version = publish_on_top(
            dataset, merged, lambda made: os.path.join(folder, f"{made.number:06d}.json")
        )
        if version is not None:
            _tell_streams(dataset, run, [groups[number] for number in done])
        overtaken = tuple(group for number, group in enumerate(groups) if number not in done)
        return Compacted(version, tuple(groups[number] for number in done), overtaken)
    finally:
        staging.remove_staging(dataset, run)


def _tell_streams(dataset: str, run: str, done: Sequence[Group]) -> None:
    """Streams that run remove old versions, and then these files."""
    files = [file for group in done for file in group.files]
    for stream in {file.pane.stream for file in files if file.pane}:
        if os.path.isdir(staging.staging_folder(dataset, stream)):
            mine = [file.path for file in files if file.pane and file.pane.stream == stream]
            tell_done(dataset, stream, run, (), mine)


def _replaced(
    dataset: str, head: Manifest, run: str, done: Sequence[tuple[Group, DataFile]], about: dict[str, Any]
) -> Manifest:
    gone = {file.path for group, _ in done for file in group.files}
    own = tuple(file for _, file in done)
    kept = (file for file in head.files if file.path not in gone)
    made = Manifest(
        number=head.number + 1,
        run=run,
        files=tuple(sorted((*kept, *own), key=lambda file: file.path)),
        schemas=head.schemas,
        about=about,
        partitioning=head.partitioning,
        appended=head.lineage,
        streams=head.streams,
    )
    if lost := place(dataset, replace(made, files=own)):
        raise LostError(lost)
    return made


def _merge(dataset: str, run: str, group: Group) -> DataFile:
    first = pq.ParquetFile(os.path.join(dataset, group.files[0].path)).schema_arrow
    known = format_of(group.files[0].path)
    assert known is not None
    name = staging.file_name(0, run, staging.new_attempt(), _SUFFIX)
    opened = OpenFile(
        dataset, run, f"{group.folder}/{name}", first, partial(known.writer, columns=first), append=True
    )
    rows = 0
    try:
        for file in group.files:
            for batch in _rows(os.path.join(dataset, file.path), first):
                opened.writer.write(batch)
                rows += batch.num_rows
    except BaseException:
        opened.discard()
        raise
    if rows != sum(file.rows for file in group.files):
        raise InputError(f"{group.folder}: {rows:,} rows were read, the manifest tells of others; see verify")
    return replace(opened.close(rows)[0], pane=group.pane())


def _rows(path: str, columns: pa.Schema) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    if not file.schema_arrow.equals(columns):
        raise InputError(f"{path}: other columns than files beside it; nothing was compacted")
    yield from file.iter_batches()
