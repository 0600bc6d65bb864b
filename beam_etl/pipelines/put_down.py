"""Parts of a run that are put down: it reads them again, and another run takes over what one that died had finished."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import apache_beam as beam

from beam_etl.io import staging
from beam_etl.io.commit import PUBLISHED
from beam_etl.io.file_source import FileSource
from beam_etl.io.spill import Found, HandOutSpilled, ReadSpilled, SpillTables, find_spilled
from beam_etl.io.spill_files import Spilled, SplitFile, find_splits
from beam_etl.io.stores import store_of
from beam_etl.io.taken_splits import TakenSplits, list_taken
from beam_etl.io.whole_splits import WholeSplits
from beam_etl.pipelines.job import AFTER, NEEDED
from beam_etl.pipelines.resume_config import ResumeConfig
from beam_etl.pipelines.steps import DOCUMENTS
from beam_etl.transforms.batches import Batches

_ONE_BY_ONE = "all steps that look at documents one by one"
"""For people."""


@dataclass(frozen=True, eq=False)
class PutDown:
    """What a part of the run has left."""

    part: str
    """DOCUMENTS, or the name of a later one."""
    spilled: beam.PCollection[Spilled]
    folder: str
    made: Batches | None = None
    """Its documents, where all were made by this run."""
    failures: tuple[beam.PCollection[str], ...] = ()
    digest: str = ""
    """Of its record, where it is taken over as it is: what was made of it may be, too."""

    @cached_property
    def documents(self) -> Batches:
        """As they were made, or else read again, where somebody asks for them."""
        if self.made is not None:
            return self.made
        batches: Batches = self.spilled | f"Documents put down: {self.part}" >> ReadSpilled(table=DOCUMENTS)
        return batches

    def again(self, table: str) -> Batches:
        """A table as it was put down."""
        label = f"Read {table} again" if self.part == DOCUMENTS else f"Read {table} of {self.part} again"
        batches: Batches = self.spilled | label >> ReadSpilled(table=table)
        return batches


class Made(NamedTuple):
    """What steps make of documents."""

    tables: dict[str, tuple[Batches, ...]]
    """As SpillTables takes them."""
    beside: Mapping[str, Batches] = MappingProxyType({})
    """As of SpillTables."""


def put_documents_down(source: FileSource, config: ResumeConfig, make: Callable[..., Made]) -> PutDown:
    """The steps that look at documents one by one; or what an earlier run has left of them.

    Args:
      source, config: the input, and what was asked.
      make: builds the steps. It takes more for `FileSource.documents`.
    """
    folder = config.spill_folder(source)
    whole = look(config, folder)
    if whole.files:
        return take_over(source, config, folder, whole, DOCUMENTS, _ONE_BY_ONE)
    found = _finished_splits(config, folder, whole.why)
    taken = TakenSplits() if config.plan or not found else list_taken(folder, config.run, found)
    made = make(around=WholeSplits(folder), skip=taken)
    if not config.plan:
        config.refuse_changed()
    spilled = made.tables | "Put down" >> SpillTables(
        folder=folder, run=config.run, beside=made.beside, taken=taken
    )
    (documents,) = made.tables[DOCUMENTS]  # without those of splits that are taken over
    return PutDown(DOCUMENTS, spilled, folder, None if found else documents)


def look(config: ResumeConfig, folder: str, after: str = "") -> Found:
    """What there is of an earlier run, where that is asked for. It stays while every byte is checked.

    Args:
      after: as of `find_spilled`.
    """
    if not config.resume:
        return Found(())
    if not config.plan and store_of(folder).names(folder):
        staging.mark_owner(folder, config.run)
    return find_spilled(folder, check=not config.plan, after=after)


def take_over(
    source: FileSource, config: ResumeConfig, folder: str, found: Found, part: str, what: str
) -> PutDown:
    """What an earlier run put down when it had finished a part, which is said in words."""
    rows, size = (sum(getattr(stream, name) for stream in found.files) for name in ("rows", "bytes"))
    files = len({stream.path for stream in found.files})
    _say_taken(config, f"{what}; {rows:,} rows in {files:,} files of {size:,} bytes")
    spilled = source.pipeline | f"Take over {part}" >> HandOutSpilled(folder=folder)
    return PutDown(part, spilled, folder, digest=found.digest)


def _finished_splits(config: ResumeConfig, folder: str, why: str) -> tuple[SplitFile, ...]:
    """The splits that an earlier run had finished, where that is asked for."""
    if not config.resume:
        return ()
    found = find_splits(folder, check=not config.plan)
    for damage in found.damaged:
        _say(config, f"{damage}: its part of the input is read again")
    if not found.files:
        _say(config, f"starting from the beginning: {why}")
        return ()
    documents, size = (sum(getattr(file, name) for file in found.files) for name in ("documents", "bytes"))
    _say_taken(
        config,
        f"{len(found.files):,} splits of the input; {documents:,} documents in {size:,} bytes aren't read again",
    )
    return found.files


def _say_taken(config: ResumeConfig, what: str) -> None:
    checked = "" if config.plan else ", and what was made of them has the right checksums"
    _say(config, f"taken over from an earlier run: {what}{checked}")


def _say(config: ResumeConfig, told: str) -> None:
    print(f"{config.job}: {told}", file=sys.stderr)


def needing(parts: Sequence[PutDown]) -> dict[str, Any]:
    """For a job, beside its tables: it needs what is put down, until the dataset is published."""
    folders = [part.folder for part in parts]
    return {NEEDED: folders, AFTER: partial(_forget, folders=folders)}


def _forget(verdict: beam.PCollection[str], folders: Sequence[str]) -> None:
    verdict | "Forget what was put down" >> beam.Map(_remove, folders=folders)  # type: ignore[unused-ignore]


def _remove(verdict: str, folders: Sequence[str]) -> None:
    if verdict == PUBLISHED:
        for folder in folders:
            staging.remove_folder(folder)
        staging.remove_empty({os.path.dirname(folder) for folder in folders})
