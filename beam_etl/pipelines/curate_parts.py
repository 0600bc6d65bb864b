"""The parts of curate that put down what they leave: steps that look at documents one by one, and repeated lines."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import apache_beam as beam

from beam_etl.io import staging
from beam_etl.io.file_source import FileSource, Sample
from beam_etl.io.spill import (
    Found,
    HandOutSpilled,
    ReadSpilled,
    SpillTables,
    find_spilled,
)
from beam_etl.io.spill_files import Spilled, SplitFile, find_splits
from beam_etl.io.taken_splits import TakenSplits, list_taken
from beam_etl.io.whole_splits import WholeSplits
from beam_etl.pipelines import lines
from beam_etl.pipelines.chosen_records import is_pages
from beam_etl.pipelines.curate_config import Config
from beam_etl.pipelines.curate_steps import DOCUMENTS, FUNNEL, PIECES, DocumentSteps, first_steps
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.repeated_lines import RemoveRepeatedLines

LINE_SHARE = 0.3
"""Bytes of counts in a byte of text, where no text can be sampled: those of lines of 58 bytes."""

LINES = "lines"


class PutDown(NamedTuple):
    """What a part of the run has left."""

    part: str
    """DOCUMENTS or LINES."""
    documents: Batches
    spilled: beam.PCollection[Spilled]
    folder: str
    failures: tuple[beam.PCollection[str], ...] = ()
    is_whole: bool = False
    """Taken over as it is: what was made of it may be, too."""

    def again(self, table: str) -> Batches:
        """A table as it was put down."""
        label = f"Read {table} again" if self.part == DOCUMENTS else f"Read {table} of {self.part} again"
        batches: Batches = self.spilled | label >> ReadSpilled(table=table)
        return batches


def first_part(source: FileSource, config: Config) -> PutDown:
    """The steps that look at documents one by one; or what an earlier run has left of them."""
    folder = config.spill_folder(source)
    whole = _look(config, folder)
    if whole.files:
        return _taken_over(source, config, folder, whole, DOCUMENTS)
    found = _finished_splits(config, folder, whole.why)
    taken = TakenSplits() if config.plan or not found else list_taken(folder, config.run, found)
    first = first_steps(source, config, around=WholeSplits(folder), skip=taken)
    spilled = first.spilled_tables() | "Put down" >> SpillTables(
        folder=folder,
        run=config.run,
        beside={FUNNEL: first.asked_for("First counts")},
        taken=taken,
    )
    if found:  # the documents of these splits weren't read now
        documents = spilled | "Documents of all splits" >> ReadSpilled(table=DOCUMENTS)
        return PutDown(DOCUMENTS, documents, spilled, folder)
    return PutDown(DOCUMENTS, first.documents, spilled, folder)


class Cut(NamedTuple):
    """What the removal of repeated lines gives."""

    steps: DocumentSteps
    failures: beam.PCollection[str]


def cut_lines(
    source: FileSource, config: Config, how: lines.Config, first: PutDown, sample: Callable[[], Sample]
) -> Cut:
    """Repeated lines cut out of what was put down, which is read once more for that. One shuffle, of hashes.

    Args:
      source, config, how: the input, and the steps.
      first: what was put down.
      sample: makes one of the input, or gives the one that was made.
    """
    expected = (
        round(source.input_bytes * LINE_SHARE)
        if is_pages(source)
        else lines.expected_crossing(sample(), how.line_rule)
    )
    again = first.spilled | "Documents for lines" >> ReadSpilled(table=DOCUMENTS, tell_splits=True)
    edited = first.documents | "Remove repeated lines" >> RemoveRepeatedLines(
        find=how.finding(expected), again=again, told=PIECES
    )
    steps = DocumentSteps(edited.documents, edited.rejects, config, has_tokens=True)
    steps.without_lines(edited)
    return Cut(steps, edited.failures)


def lines_part(
    source: FileSource, config: Config, how: lines.Config, first: PutDown, sample: Callable[[], Sample]
) -> PutDown:
    """As `cut_lines`, and put down for the steps that compare documents; or what an earlier run has left of it."""
    folder = config.spill_folder(source, LINES)
    whole = _look(config, folder, first.folder) if first.is_whole else Found(())
    if whole.files:
        return _taken_over(source, config, folder, whole, LINES)
    steps, failures = cut_lines(source, config, how, first, sample)
    spilled = steps.spilled_tables() | "Put edited ones down" >> SpillTables(
        folder=folder,
        run=config.run,
        beside={FUNNEL: steps.asked_for("Counts of lines")},
        failures=failures,
        after=first.folder,
    )
    return PutDown(LINES, steps.documents, spilled, folder, (failures,))


def _look(config: Config, folder: str, after: str | None = None) -> Found:
    """What there is of an earlier run, where that is asked for."""
    return find_spilled(folder, check=not config.plan, after=after) if config.resume else Found(())


_PARTS = {
    DOCUMENTS: "all steps that look at documents one by one",
    LINES: "the removal of repeated lines",
}
"""For people."""


def _taken_over(source: FileSource, config: Config, folder: str, found: Found, part: str) -> PutDown:
    """What an earlier run put down when it had finished a part."""
    rows, size = (sum(getattr(stream, name) for stream in found.files) for name in ("rows", "bytes"))
    files = len({stream.path for stream in found.files})
    _say_taken(config, folder, f"{_PARTS[part]}; {rows:,} rows in {files:,} files of {size:,} bytes")
    spilled = source.pipeline | f"Take over {part}" >> HandOutSpilled(folder=folder)
    documents = spilled | f"Documents taken over: {part}" >> ReadSpilled(table=DOCUMENTS)
    return PutDown(part, documents, spilled, folder, is_whole=True)


def _finished_splits(config: Config, folder: str, why: str) -> tuple[SplitFile, ...]:
    """The splits that an earlier run had finished, where that is asked for."""
    if not config.resume:
        return ()
    found = find_splits(folder, check=not config.plan)
    for damage in found.damaged:
        _say(f"{damage}: its part of the input is read again")
    if not found.files:
        _say(f"starting from the beginning: {why}")
        return ()
    documents, size = (sum(getattr(file, name) for file in found.files) for name in ("documents", "bytes"))
    _say_taken(
        config,
        folder,
        f"{len(found.files):,} splits of the input; {documents:,} documents in {size:,} bytes aren't read again",
    )
    return found.files


def tell_that_none_is_put_down(config: Config) -> None:
    """Where that is what a run should go on with."""
    if config.resume:
        why = "steps put documents down only where [lines], [exact], [near] or [domain_score] follow"
        _say(f"--resume=true finds nothing to take over, starting from the beginning: {why}")


def _say_taken(config: Config, folder: str, what: str) -> None:
    """Tells it, and that this run needs the folder."""
    checked = "" if config.plan else ", and what was made of them has the right checksums"
    if not config.plan:
        staging.mark_owner(folder, config.run)
    _say(f"taken over from an earlier run: {what}{checked}")


def _say(told: str) -> None:
    print(f"curate: {told}", file=sys.stderr)
