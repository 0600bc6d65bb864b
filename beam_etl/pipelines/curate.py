"""`python -m beam_etl.pipelines.curate`: from a crawl to a corpus in one job, and what each step left of it."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.apply_decisions import Applied, ApplyDecisions
from beam_etl.io.columns import resolve
from beam_etl.io.commit import PUBLISHED
from beam_etl.io.dataset_rows import TableRows
from beam_etl.io.errors import InputError
from beam_etl.io.read import FileSource
from beam_etl.io.spill import SPILL_BYTES, ReadSpilled, Spilled, SpillTables, find_spilled, hand_out_spilled
from beam_etl.io.write import FAILURES
from beam_etl.kernels.funnel import FUNNEL as FUNNEL_ROWS
from beam_etl.kernels.funnel import GROUPS, STEP_NUMBER, TEXT_TOKENS, funnel_lines, group_lines, sum_funnel
from beam_etl.kernels.removals import removals_of_step
from beam_etl.pipelines.curate_checks import check_steps
from beam_etl.pipelines.curate_config import Config
from beam_etl.pipelines.curate_file import with_file
from beam_etl.pipelines.curate_steps import (
    Compared,
    DocumentSteps,
    compare,
    count_step,
    first_steps,
    last_steps,
)
from beam_etl.pipelines.dedup import DECISION_BYTES, SAMPLE_BYTES, describing
from beam_etl.pipelines.domain_score import SCORE_BYTES
from beam_etl.pipelines.flags import UsageError
from beam_etl.pipelines.job import AFTER, Job, read_documents
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.decontaminate import MATCHES
from beam_etl.transforms.domain_join import AUTO, BROADCAST

DOCUMENTS, REMOVALS, REJECTS, FUNNEL = "documents", "removals", "rejects", "funnel"

COMPARED = ("exact", "near", "domain_score")
"""Steps that know all documents before they decide about any."""


class Expected(NamedTuple):
    """The input as it is read, estimated."""

    documents: int
    bytes: int


FUNNEL_BYTES = 64 << 10
"""Of a funnel without groups: some rows a bundle."""


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Documents, removals, rejects, the funnel, and the tables of the steps that are asked for.

    Text is read once, or where steps compare documents twice: then it is put down in between, as the steps before have
    made it. It crosses a shuffle to the scores of domains alone, and only where these are too many to be broadcast.
    """
    check_steps(source, config)
    if not config.has(*COMPARED):
        first = first_steps(source, config)
        return _finished(source, config, first, {})
    folder = config.spill_folder(source)
    documents, spilled = _taken_over(source, config, folder) or _first_part(source, config, folder)
    expected = Expected(*source.sample(SAMPLE_BYTES).expected(source.told_documents()))
    compared = compare(documents, config, source, expected.documents)
    steps = DocumentSteps(documents, _again(spilled, REJECTS), config, has_tokens=True)
    steps.removals.append(_again(spilled, REMOVALS))
    steps.counts.append(_again(spilled, FUNNEL))
    if config.decontaminating is not None:
        steps.tables[MATCHES] = _again(spilled, MATCHES)
    tables = _second_part(source, config, steps, spilled, compared, expected)
    return {**_finished(source, config, steps, tables), AFTER: partial(_forget, folder=folder)}


def _first_part(source: FileSource, config: Config, folder: str) -> tuple[Batches, beam.PCollection[Spilled]]:
    first = first_steps(source, config)
    tables = {
        DOCUMENTS: first.documents,
        REMOVALS: first.removals | "First removals" >> beam.Flatten(pipeline=source.pipeline),
        REJECTS: first.rejects | "First rejects" >> beam.Flatten(),
        FUNNEL: first.funnel("First counts"),
        **first.tables,
    }
    return first.documents, {
        name: table for name, table in tables.items() if name != REMOVALS or first.removals
    } | "Put down" >> SpillTables(folder=folder, run=config.run)


def _taken_over(
    source: FileSource, config: Config, folder: str
) -> tuple[Batches, beam.PCollection[Spilled]] | None:
    """What an earlier run put down, where that is asked for and there."""
    if not config.resume:
        return None
    found = find_spilled(folder, check=not config.plan)
    if not found.files:
        print(f"{JOB.name}: starting from the beginning: {found.why}", file=sys.stderr)
        return None
    if not config.plan:
        staging.mark_owner(folder, config.run)
    rows, size = (sum(getattr(file, name) for file in found.files) for name in ("rows", "bytes"))
    print(
        f"{JOB.name}: taken over from an earlier run: all steps that look at documents one by one; {rows:,} rows in "
        f"{len(found.files):,} files of {size:,} bytes{'' if config.plan else ', whose checksums are right'}",
        file=sys.stderr,
    )
    spilled = hand_out_spilled(source.pipeline, found.files)
    return spilled | "Documents taken over" >> ReadSpilled(table=DOCUMENTS), spilled


def _again(spilled: beam.PCollection[Spilled], table: str) -> Batches:
    batches: Batches = spilled | f"Read {table} again" >> ReadSpilled(table=table)
    return batches


def _second_part(
    source: FileSource,
    config: Config,
    steps: DocumentSteps,
    spilled: beam.PCollection[Spilled],
    compared: Compared,
    expected: Expected,
) -> dict[str, Any]:
    """Removes what was decided; tables of the steps."""
    failures, tables = list(compared.failures), dict[str, Any]()
    if compared.decisions:
        applied = _apply(source, config, spilled, compared, expected.documents)
        steps.documents = applied.documents
        steps.counts.append(applied.counts)
        steps.note(*compared.decisions)
        failures.append(applied.failures)
        for step, how in (("exact", config.exact), ("near", config.near)):
            if how is not None:
                told = applied.found[step] | f"Describe {step} removals" >> describing(
                    source, how, expected.documents
                )
                steps.removals.append(
                    told.removals | f"Removed: {step}" >> MapBatches(partial(removals_of_step, step=step))
                )
                if step == "near":
                    tables |= {"clusters": told.clusters, "cluster_sizes": told.cluster_sizes}
    else:
        steps.documents = _again(spilled, DOCUMENTS)
    if compared.scored is not None:
        tables |= _join(config, steps, compared.scored, expected)
        failures.append(tables.pop(FAILURES))
    return {**tables, FAILURES: failures | "Failures" >> beam.Flatten()}


def _apply(
    source: FileSource,
    config: Config,
    spilled: beam.PCollection[Spilled],
    compared: Compared,
    expected: int,
) -> Applied:
    keys = {name for how in (config.exact, config.near) if how is not None for name in how.compared}
    applied: Applied = {
        "spilled": spilled,
        "decisions": compared.decisions,
    } | "Second read" >> ApplyDecisions(
        table=DOCUMENTS,
        wanted=(
            schema.ID,
            schema.DOMAIN,
            schema.TEXT,
            *sorted(keys - {schema.ID, schema.DOMAIN, schema.TEXT}),
        ),
        count=partial(count_step, by=config.funnel_by),
        files=len(source.files) + source.input_bytes // SPILL_BYTES,
        expected_bytes=expected * DECISION_BYTES,
    )
    return applied


def _join(config: Config, steps: DocumentSteps, scored: Any, expected: Expected) -> dict[str, Any]:
    how = config.domain_score
    assert how is not None
    few = how.join == AUTO and expected.documents * SCORE_BYTES <= how.broadcast_bytes
    joined = {"documents": steps.documents, "scores": scored.scores} | "Join scores" >> how.joining(
        schema.columns(schema.ID), way=BROADCAST if few else how.join, expected_bytes=expected.bytes
    )
    steps.documents = joined.documents
    steps.removals.append(
        joined.removals
        | "Removed: domain_score" >> MapBatches(partial(removals_of_step, step="domain_score"))
    )
    steps.count("domain_score")
    return {"domains": scored.domains, "score_parts": scored.parts, FAILURES: joined.failures}


def _finished(
    source: FileSource, config: Config, steps: DocumentSteps, tables: dict[str, Any]
) -> dict[str, Any]:
    """All tables, when the last steps are done."""
    counted = last_steps(steps, config)
    told = {REMOVALS: steps.removals | "Removals" >> beam.Flatten()} if steps.removals else {}
    by_groups = bool(config.funnel_by)
    return {
        **tables,
        **counted,
        **steps.tables,
        **told,
        DOCUMENTS: steps.documents | "As stored" >> MapBatches(partial(_without, names=_own(source, config))),
        REJECTS: steps.rejects | "Rejects" >> beam.Flatten(),
        FUNNEL: steps.funnel("Counts")
        | "Funnel"
        >> Aggregate(
            by=(STEP_NUMBER, *GROUPS), merge=sum_funnel, expected_bytes=None if by_groups else FUNNEL_BYTES
        ),
    }


def _own(source: FileSource, config: Config) -> tuple[str, ...]:
    """Columns that documents have inside the job only."""
    found = resolve(config.columns, source.stored_schema, source.files[0].path).sources
    scored = config.has("domain_score")
    made = [each.column for each in found if each.stored is None or (each.derived and not scored)]
    told = [] if schema.LANGUAGE in source.stored_schema.names else [schema.LANGUAGE]
    kept = (schema.ID, schema.TEXT)
    return (TEXT_TOKENS, *told, *(name for name in made if name not in kept))


def _without(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    return batch.drop_columns([name for name in names if name in batch.schema.names])


def _forget(verdict: beam.PCollection[str], folder: str) -> None:
    """What was put down isn't needed any more when the dataset is published."""
    verdict | "Forget what was put down" >> beam.Map(_remove, folder=folder)  # type: ignore[unused-ignore]


def _remove(verdict: str, folder: str) -> None:
    if verdict == PUBLISHED:
        staging.remove_folder(folder)
        staging.remove_empty([os.path.dirname(folder)])


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """The funnel."""
    del counters
    return list(_told(config))


def _told(config: Config) -> Iterator[str]:
    columns = [name for name in FUNNEL_ROWS.names if name not in GROUPS or name in config.funnel_by]
    batches = (batch.select(columns) for batch in TableRows(config.output, FUNNEL).batches())
    table = pa.Table.from_batches(batches)
    yield from funnel_lines(table)
    for by in config.funnel_by:
        yield from group_lines(table, by)


def read(pipeline: beam.Pipeline, config: Config) -> FileSource:
    """The input."""
    try:
        source: FileSource = read_documents(pipeline, config)
    except InputError as error:
        if config.has("extract") or repr(schema.PAYLOAD) not in str(error):
            raise
        pages = "the input has pages, of which a text is to be made: write [extract] in the file"
        raise UsageError(f"{config.config}: {pages}") from error
    return source


JOB = Job(
    "curate",
    "From a crawl to a corpus: all steps in one job, and a funnel.",
    Config,
    build,
    notes,
    source=read,
    spelled=partial(with_file, config=Config),
)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags, and those of its file; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
