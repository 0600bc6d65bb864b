"""The parts of curate that put down what they leave: steps that look at documents one by one, and repeated lines."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam

from beam_etl.io.file_source import FileSource, Sample
from beam_etl.io.spill import After, Found, ReadSpilled, SpillTables
from beam_etl.pipelines import lines
from beam_etl.pipelines.chosen_records import is_pages
from beam_etl.pipelines.curate_config import Config
from beam_etl.pipelines.curate_steps import FUNNEL, PIECES, DocumentSteps, first_steps
from beam_etl.pipelines.put_down import Made, PutDown, look, put_documents_down, take_over
from beam_etl.pipelines.steps import DOCUMENTS
from beam_etl.transforms.repeated_lines import RemoveRepeatedLines

LINE_SHARE = 0.3
"""Bytes of counts in a byte of text, where no text can be sampled: those of lines of 58 bytes."""

LINES = "lines"


def first_part(source: FileSource, config: Config) -> PutDown:
    """The steps that look at documents one by one; or what an earlier run has left of them."""
    return put_documents_down(source, config, partial(_first, source, config))


def _first(source: FileSource, config: Config, **reading: Any) -> Made:
    first = first_steps(source, config, **reading)
    return Made(first.by_table(), {FUNNEL: first.asked_for("First counts")})


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
    whole = look(config, folder, first.digest) if first.digest else Found(())
    if whole.files:
        return take_over(source, config, folder, whole, LINES, "the removal of repeated lines")
    steps, failures = cut_lines(source, config, how, first, sample)
    spilled = steps.by_table() | "Put edited ones down" >> SpillTables(
        folder=folder,
        run=config.run,
        beside={FUNNEL: steps.asked_for("Counts of lines")},
        failures=failures,
        after=After(first.folder, first.digest),
    )
    return PutDown(LINES, spilled, folder, steps.documents, (failures,))
