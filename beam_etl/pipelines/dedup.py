"""`python -m beam_etl.pipelines.dedup`: documents without their near-duplicates or exact duplicates."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.access import StoreFiles
from beam_etl.io.dataset_input import DOCUMENTS_TABLE, InputPartitions
from beam_etl.io.dedup_files import DeduplicateFiles
from beam_etl.io.file_source import FileSource
from beam_etl.io.map_files import Groups
from beam_etl.io.rewrite import RewriteDocuments
from beam_etl.io.stores import is_object
from beam_etl.io.together import together
from beam_etl.io.write import FAILURES
from beam_etl.kernels.content import byte_lengths
from beam_etl.kernels.earlier import own_decisions
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.in_place import exact_decisions, near_decisions
from beam_etl.kernels.keeping import Keep, check_orderable
from beam_etl.kernels.removals import describe
from beam_etl.pipelines.dedup_config import Config
from beam_etl.pipelines.dedup_windows import build_windows
from beam_etl.pipelines.flags import UsageError
from beam_etl.pipelines.incremental import open_earlier, write_signatures
from beam_etl.pipelines.job import AFTER, PARTITIONING, Job
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.component_rounds import ROUNDS_NEEDED
from beam_etl.transforms.components import ConnectedComponents
from beam_etl.transforms.decisions import CANDIDATE_SHARE, EMPTY_DOCUMENTS, EXACT_SHARE, VERIFIED_SHARE
from beam_etl.transforms.dedup import COPIES
from beam_etl.transforms.earlier import DescribeEarlier, Earlier
from beam_etl.transforms.exact_duplicates import FindExactDuplicates
from beam_etl.transforms.link_files import BeamFiles
from beam_etl.transforms.metrics import NAMESPACE
from beam_etl.transforms.near_duplicates import FindNearDuplicates
from beam_etl.transforms.oversized import OVERSIZED_CLUSTERS, SPLIT, count_oversized
from beam_etl.transforms.removals import SURVIVORS_LOST, DescribeRemovals, fold_reports, removal_tables

SAMPLE_BYTES = 4 << 20
"""Read by the launcher, to expect how many documents there will be."""

IN_PLACE_DOCUMENTS = 4_000_000
"""Of a partition that is deduplicated by one worker without being asked for: it holds some 300 bytes of each."""

DECISION_BYTES = 46
"""Of a document with a decision, on its way to its split: the columns of schema.DECISION, and the split."""

REMOVAL_BYTES = 112
"""Of a removed document or a survivor, on its way to the removal table, with an id like that of the benchmarks."""


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """The kept documents, the removal table, the cluster report and the rejects. With --window, of each window."""
    _check_columns(source, config)
    if config.window is not None:
        return build_windows(source, config)
    groups = _groups(source, config)
    tables = _by_shuffles(source, config) if groups is None else _in_place(source, config, groups)
    if not config.has_domain(source.stored_schema):
        del tables["domains"]
    if (partitions := source.read.partitions) and partitions.levels:
        tables[PARTITIONING] = {DOCUMENTS_TABLE: partitions.partitioning.to_json()}
    return tables


def _groups(source: FileSource, config: Config) -> Groups | None:
    """Files that are deduplicated by themselves, since no document has duplicates elsewhere; None to shuffle."""
    if (found := _partitions(source, config)) is not None:
        return found.files
    return [(file,) for file in source.files] if config.partitioned else None


def _partitions(source: FileSource, config: Config) -> InputPartitions | None:
    """Those of the input, where its manifest says that no document has duplicates in another one."""
    if not config.can_stay or config.within_read is None:
        return None
    found = together(source.read, config.columns, (config.within_read,))
    fits = found is not None and (config.partitioned or found.most_rows <= IN_PLACE_DOCUMENTS)
    return found if fits else None


def _by_shuffles(source: FileSource, config: Config) -> dict[str, Any]:
    """Four shuffles or more, none of text."""
    expected = source.expected_documents(SAMPLE_BYTES)
    earlier = open_earlier(config.against, config.near, source, expected)
    documents, rejects, *_ = source.documents()
    found = documents | "Find duplicates" >> finder(config, expected, earlier)
    decided = expected * decided_share(config)
    decisions = found.decisions
    rewritten = _own(decisions, earlier) | "Second read" >> RewriteDocuments(
        source=source,
        columns=config.columns,
        output=config.output,
        run=config.run,
        expected_bytes=round(decided * DECISION_BYTES),
    )
    failures, survivors = [found.failures, rewritten.failures], None
    if earlier is not None:
        survivors, gone = decisions | "Earlier documents" >> DescribeEarlier(earlier=earlier)
        failures.append(gone)
    told = rewritten.found | "Describe removals" >> describing(source, config, expected, survivors)
    tables = {
        **told._asdict(),
        "documents": rewritten.files,
        "rejects": (rejects, rewritten.rejects) | "Rejects" >> beam.Flatten(),
        FAILURES: failures | "All failures" >> beam.Flatten(),
    }
    if config.write_signatures:
        tables[AFTER] = partial(
            write_signatures,
            signatures=found.signatures,
            output=config.write_signatures,
            overwrite=config.overwrite,
            rule=config.near,
            run=config.run,
            expected_documents=expected,
        )
    return tables


def describing(
    source: FileSource, config: Config, expected: int, survivors: Batches | None = None
) -> DescribeRemovals:
    """The tables of what is removed of so many documents."""
    return DescribeRemovals(
        exact=config.exact if config.method == "exact" else None,
        domains=True,
        expected_bytes=round(expected * decided_share(config) * REMOVAL_BYTES),
        most_bytes=expected * REMOVAL_BYTES,
        bundles=config.bundles(source.files, source.pipeline.options),
        survivors=survivors,
    )


def decided_share(config: Config) -> float:
    """Documents with a decision, of all: without a threshold candidates are duplicates."""
    if config.method == "exact":
        return EXACT_SHARE
    return CANDIDATE_SHARE if config.near.threshold is None else VERIFIED_SHARE


def finder(
    config: Config, expected: int, earlier: Earlier | None = None, without: Batches | None = None
) -> FindNearDuplicates | FindExactDuplicates:
    """What finds the duplicates that a Config means; `without` as of FindNearDuplicates."""
    if config.method == "exact":
        return FindExactDuplicates(rule=config.exact, keep=config.keep_rule, expected_documents=expected)
    components = ConnectedComponents(
        memory=config.components_memory,
        rounds=config.component_rounds,
        way=config.components,
        expected_links=expected,
        folder=os.path.join(staging.staging_folder(config.output, config.run), "links"),
        files=StoreFiles() if is_object(config.output) else BeamFiles(),
    )
    return FindNearDuplicates(
        rule=config.near,
        keep=config.keep_rule,
        components=components,
        expected_documents=expected,
        guard=config.guard,
        earlier=earlier,
        remember=config.write_signatures is not None,
        without=without,
    )


def _own(decisions: Batches, earlier: Earlier | None) -> Batches:
    return decisions if earlier is None else decisions | "Of this run" >> MapBatches(own_decisions)


def _in_place(source: FileSource, config: Config, groups: Groups) -> dict[str, Any]:
    """No shuffle: each group of files is deduplicated by itself. Domains are told by group, which has all of theirs."""
    exact = config.exact if config.method == "exact" else None
    decide: Any = (
        partial(near_decisions, rule=config.near, keep=config.keep_rule)
        if exact is None
        else partial(exact_decisions, rule=exact, keep=config.keep_rule)
    )
    done = source.pipeline | "Files" >> DeduplicateFiles(
        source=source,
        decide=partial(_counted, decide=decide, limit=config.max_cluster_size if exact is None else None),
        describe=partial(describe, exact=exact),
        output=config.output,
        run=config.run,
        groups=groups,
    )
    told = removal_tables(done.removed, fold_reports(done.report))
    return {**told._asdict(), "documents": done.files, "rejects": done.rejects, FAILURES: done.failures}


def _counted(documents: Iterator[pa.RecordBatch], decide: Any, limit: int | None) -> Iterator[pa.RecordBatch]:
    """The decisions; empty documents and clusters above the limit are counted as where rows are shuffled."""

    def without_empty() -> Iterator[pa.RecordBatch]:
        for batch in documents:
            empty = pc.sum(pc.equal(byte_lengths(batch.column(schema.TEXT)), 0)).as_py()
            Metrics.counter(NAMESPACE, EMPTY_DOCUMENTS).inc(empty or 0)
            yield batch

    for decisions in decide(documents=without_empty()):
        yield decisions if limit is None else count_oversized(decisions, limit)


def _check_columns(source: FileSource, config: Config) -> None:
    """Columns that flags name have values that can be compared, or ordered."""
    keep = Keep.parse(config.keep).column
    checks: list[tuple[str, str, Any]] = [(name, flag, hash_values) for name, flag in config.compared.items()]
    if keep is not None and keep != schema.TEXT:
        checks.append((keep, f"--keep={config.keep}", lambda none: check_orderable(keep, none.type)))
    for name, flag_, check in checks:
        try:
            check(pa.nulls(0, _type_of(name, source.stored_schema)))
        except TypeError as error:
            raise UsageError(f"{flag_}: {error}") from error


def _type_of(column: str, stored: pa.Schema) -> pa.DataType:
    """Of a column as it is read; of one that no record tells, as text."""
    if column in schema.DOCUMENT.names and column != schema.ADDRESS:
        return schema.DOCUMENT.field(column).type
    return stored.field(column).type if column in stored.names else pa.string()


def explain(source: FileSource, config: Config) -> list[str]:
    """What the bands find, and why nothing is shuffled, where the input's manifest tells it."""
    found = _partitions(source, config)
    lines = [found.told(config.within or "")] if found is not None else []
    return lines if config.method == "exact" else [*lines, config.near.banding.curve()]


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """What wasn't compared, and what to look at."""
    lines = []
    if empty := counters.get(EMPTY_DOCUMENTS, 0):
        lines.append(f"{empty:,} empty documents: kept, and nobody's duplicates")
    if copies := counters.get(COPIES, 0):
        lines.append(f"{copies:,} documents came again with the id, time and text of another: kept once")
    if large := counters.get(OVERSIZED_CLUSTERS, 0):
        noun = "cluster" if large == 1 else "clusters"
        done = "split by pairs of bands" if config.oversized == SPLIT else "see the table clusters"
        lines.append(f"{large:,} {noun} of more than {config.max_cluster_size:,} documents: {done}")
    if lost := counters.get(SURVIVORS_LOST, 0):
        lines.append(
            f"{lost:,} documents were removed for one that couldn't be copied: see the table rejects, and those "
            f"removals whose survivor_file is null"
        )
    if rounds := counters.get(ROUNDS_NEEDED, 0):
        lines.append(f"clusters made in rounds of shuffles: {rounds}")
    return lines


JOB = Job(
    "dedup", "Documents without their near-duplicates or exact duplicates.", Config, build, notes, explain
)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
