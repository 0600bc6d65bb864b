"""`python -m beam_etl.pipelines.curate`: from a crawl to a corpus in one job, and what each step left of it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.apply_decisions import Applied, ApplyDecisions
from beam_etl.io.columns import resolve
from beam_etl.io.dataset_rows import TableRows
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import FileSource
from beam_etl.io.spill_files import SPILL_BYTES, Spilled
from beam_etl.io.write import FAILURES
from beam_etl.kernels.funnel import FUNNEL as FUNNEL_ROWS
from beam_etl.kernels.funnel import GROUPS, STEP_NUMBER, TEXT_TOKENS, funnel_lines, group_lines, sum_funnel
from beam_etl.kernels.languages import LANG
from beam_etl.kernels.removals import removals_of_step
from beam_etl.pipelines.chosen_records import read_crawl
from beam_etl.pipelines.curate_checks import check_steps
from beam_etl.pipelines.curate_config import Config
from beam_etl.pipelines.curate_file import with_file
from beam_etl.pipelines.curate_parts import cut_lines, first_part, lines_part
from beam_etl.pipelines.curate_steps import (
    FUNNEL,
    PIECES,
    Compared,
    DocumentSteps,
    compare,
    count_step,
    first_steps,
    last_steps,
    with_language,
)
from beam_etl.pipelines.dedup import DECISION_BYTES, SAMPLE_BYTES, describing
from beam_etl.pipelines.domain_score import SCORE_BYTES
from beam_etl.pipelines.flags import UsageError
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.put_down import PutDown, needing
from beam_etl.pipelines.steps import DOCUMENTS, REJECTS, REMOVALS
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import MapBatches
from beam_etl.transforms.decontaminate import MATCHES
from beam_etl.transforms.domain_join import AUTO, BROADCAST
from beam_etl.transforms.repeated_lines import EDITS

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
    made it. Repeated lines take one reading more. Text crosses a shuffle to the scores of domains alone, and only where
    these are too many to be broadcast.
    """
    check_steps(source, config)
    compares, how = config.has(*COMPARED), config.repeated_lines
    if not (compares or how or config.resume):
        return _finished(source, config, first_steps(source, config), {})
    sample = cache(partial(source.sample, SAMPLE_BYTES))
    last = first_part(source, config)
    parts = [last]
    if how is not None and compares:
        last = lines_part(source, config, how, last, sample)
        parts.append(last)
    steps = _put_down(config, parts)
    failures = [failure for part in parts for failure in part.failures]
    tables: dict[str, Any] = {}
    if how is not None and not compares:
        cut = cut_lines(source, config, how, last, sample)
        steps.follow(cut.steps)
        tables = {FAILURES: cut.failures}
    elif compares:
        expected = Expected(*sample().expected(source.told_documents()))
        compared = compare(last.documents, config, source, expected.documents)
        compared = compared._replace(failures=[*compared.failures, *failures])
        tables = _second_part(source, config, steps, last, compared, expected)
    return {**_finished(source, config, steps, tables), **needing(parts)}


def _put_down(config: Config, parts: Sequence[PutDown]) -> DocumentSteps:
    """The steps of the parts, as they were put down. What documents these have left isn't said yet."""
    rejects = [part.again(REJECTS) for part in parts]
    steps = DocumentSteps(parts[-1].documents, rejects[0], config, has_tokens=True)
    steps.rejects += rejects[1:]
    steps.removals += [part.again(REMOVALS) for part in parts]
    steps.counts += [part.again(FUNNEL) for part in parts]
    if config.decontaminating is not None:
        steps.tables[MATCHES] = parts[0].again(MATCHES)
    for part in parts[1:]:
        steps.tables[EDITS] = part.again(EDITS)
    return steps


def _second_part(
    source: FileSource,
    config: Config,
    steps: DocumentSteps,
    last: PutDown,
    compared: Compared,
    expected: Expected,
) -> dict[str, Any]:
    """Removes what was decided; tables of the steps."""
    failures, tables = list(compared.failures), dict[str, Any]()
    if compared.decisions:
        applied = _apply(source, config, last.spilled, compared, expected.documents)
        steps.documents = applied.documents
        steps.counts.append(applied.counts)
        steps.note(*compared.decisions)
        failures.append(applied.failures)
        for step, how in (("exact", config.exact), ("near", config.near)):
            if how is not None:
                found = with_language(applied.found[step], config, f"Languages of {step} duplicates")
                told = found | f"Describe {step} removals" >> describing(source, how, expected.documents)
                steps.removals.append(
                    told.removals | f"Removed: {step}" >> MapBatches(partial(removals_of_step, step=step))
                )
                if step == "near":
                    tables |= {"clusters": told.clusters, "cluster_sizes": told.cluster_sizes}
    else:
        steps.documents = last.again(DOCUMENTS)
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
    keys |= {LANG} if schema.LANGUAGE in keys else set()
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
    found = resolve(source.read.columns, source.stored_schema, source.files[0].path).sources
    told = config.has("domain_score") or config.lines_of_domains
    made = [each.column for each in found if each.stored is None or (each.derived and not told)]
    stored = {*source.stored_schema.names, *(each.column for each in found)}
    language = [] if schema.LANGUAGE in stored else [schema.LANGUAGE]
    kept = (schema.ID, schema.TEXT)
    return (TEXT_TOKENS, PIECES, *language, *(name for name in made if name not in kept))


def _without(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    return batch.drop_columns([name for name in names if name in batch.schema.names])


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
    """The input, or what indexes choose of it."""
    config.look_at_contents()
    try:
        source = read_crawl(pipeline, config)
    except InputError as error:
        if not config.has("extract") and repr(schema.PAYLOAD) in str(error):
            pages = "the input has pages, of which a text is to be made: write [extract] in the file"
            raise UsageError(f"{config.config}: {pages}") from error
        for each in config.named:
            if f"no column {each.column!r}" in str(error):
                raise UsageError(f"{config.file.at(each.section, each.key)}: {error}") from error
        raise
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
