"""`python -m beam_etl.pipelines.dedup`: documents without their near-duplicates or exact duplicates."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.columns import Columns
from beam_etl.io.dedup_files import DeduplicateFiles
from beam_etl.io.read import FileSource
from beam_etl.io.rewrite import RewriteDocuments
from beam_etl.io.write import FAILURES
from beam_etl.kernels.banding import Banding, choose_banding
from beam_etl.kernels.candidates import PERMUTATIONS, NearRule
from beam_etl.kernels.cluster_report import REPORT_TABLES, report_table
from beam_etl.kernels.earlier import own_decisions
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.in_place import exact_decisions, near_decisions
from beam_etl.kernels.keeping import Keep, check_orderable
from beam_etl.kernels.removals import describe, removal_table
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import UsageError, flag
from beam_etl.pipelines.incremental import open_earlier, write_signatures
from beam_etl.pipelines.job import AFTER, Job
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.component_rounds import ROUNDS_NEEDED
from beam_etl.transforms.components import ConnectedComponents
from beam_etl.transforms.duplicates import (
    DUPLICATE_SHARE,
    EMPTY_DOCUMENTS,
    FindExactDuplicates,
    FindNearDuplicates,
)
from beam_etl.transforms.earlier import DescribeEarlier, Earlier
from beam_etl.transforms.oversized import ACTIONS, KEEP, OVERSIZED_CLUSTERS, SPLIT, Guard
from beam_etl.transforms.removals import DescribeRemovals

SAMPLE_BYTES = 4 << 20
"""Read by the launcher, to expect how many documents there will be."""

DECISION_BYTES = 54
"""Of a document with a decision, on its way to its split."""

REMOVAL_BYTES = 150
"""Of a removed document or a survivor, on its way to the removal table."""


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    """What can be asked of the job."""

    method: str = flag("what duplicates are", default="near", choices=("near", "exact"))
    ngram: int = flag("near: words of a shingle", default=5, unit="words")
    bands: int | None = flag("near: bands of a signature (default: 16, or by --threshold)", default=None)
    band_rows: int | None = flag("near: rows of a band (default: 8, or by --threshold)", default=None)
    threshold: float | None = flag(
        "near: estimated Jaccard similarity that duplicates have, such as 0.8; chooses the bands, and verifies",
        default=None,
    )
    seed: int = flag("near: of the permutations", default=1)
    key: tuple[str, ...] = flag("exact: columns that are equal", default=(schema.TEXT,))
    normalised: bool = flag("exact: compare the lower-cased words of the text, not its bytes", default=False)
    within: str | None = flag("a column; documents that differ in it are never duplicates", default=None)
    keep: str = flag(
        "which document of a cluster stays: first, longest, shortest, newest, oldest, max:COLUMN or min:COLUMN",
        default="first",
    )
    partitioned: bool = flag(
        "with --within: each input file has all documents of its values of that column, so nothing is shuffled",
        default=False,
    )
    against: tuple[str, ...] = flag(
        "near: folders that --write_signatures wrote; what matches a document of theirs is removed as well",
        default=(),
    )
    write_signatures: str | None = flag(
        "near: folder to keep this run's signatures in, for --against of later runs", default=None
    )
    max_cluster_size: int = flag(
        "near: clusters of more are counted, and dealt with by --oversized", default=10_000, unit="documents"
    )
    oversized: str = flag(
        "near: keep such clusters as they are, split them by pairs of bands, or fail",
        default=KEEP,
        choices=ACTIONS,
    )
    components: str = flag(
        "near: how clusters are made: in one process, in rounds of shuffles, or as their size asks for",
        default="auto",
        choices=("auto", "one", "rounds"),
    )
    components_memory: int = flag("near: memory of the one process", default=2 << 30, unit="bytes")
    component_rounds: int = flag("near: rounds at most", default=20)

    def __post_init__(self) -> None:
        super().__post_init__()
        Keep.parse(self.keep)
        if self.method == "exact" and (self.against or self.write_signatures):
            raise ValueError("--against and --write_signatures need --method=near")
        if self.against and self.oversized == SPLIT:
            raise ValueError("--oversized=split can't be combined with --against")
        if self.write_signatures and self.write_signatures in (self.output, *self.against):
            raise ValueError(f"--write_signatures={self.write_signatures} needs a folder of its own")
        if self.partitioned and not self.within:
            raise ValueError("--partitioned needs --within=COLUMN: what the files are partitioned by")
        if self.partitioned and (self.against or self.write_signatures or self.oversized != KEEP):
            raise ValueError(
                "--partitioned can't be combined with --against, --write_signatures or --oversized"
            )
        self.near, self.exact, self.guard  # noqa: B018 - each checks its flags

    @cached_property
    def near(self) -> NearRule:
        """The rule of --method=near."""
        if self.threshold is not None and self.bands is None and self.band_rows is None:
            banding = choose_banding(self.threshold, PERMUTATIONS)
        else:
            banding = Banding(bands=self.bands or 16, rows=self.band_rows or 8)
        return NearRule(
            ngram=self.ngram, banding=banding, threshold=self.threshold, seed=self.seed, within=self.within
        )

    @property
    def exact(self) -> ExactRule:
        """The rule of --method=exact."""
        return ExactRule(key=self.key, normalised=self.normalised, within=self.within)

    @property
    def guard(self) -> Guard:
        """What becomes of large clusters."""
        return Guard(limit=self.max_cluster_size, action=self.oversized)

    @property
    def rule(self) -> NearRule | ExactRule:
        """The rule of the method."""
        return self.near if self.method == "near" else self.exact

    @property
    def columns(self) -> Columns:
        keep = Keep.parse(self.keep).column
        needed = (*self.rule.columns, schema.TEXT, schema.ID, *([keep] if keep else []))
        return self.read_as(needed, optional=(schema.DOMAIN,))

    @property
    def folders(self) -> tuple[str, ...]:
        return (self.output, self.write_signatures) if self.write_signatures else (self.output,)

    def has_domain(self, stored: pa.Schema) -> bool:
        """Whether the input tells a domain, or a URL to derive it from."""
        names = {schema.DOMAIN, schema.URL, self.domain_column, self.url_column}
        return bool(names & set(stored.names))


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """The kept documents, the removal table, the cluster report and the rejects."""
    keep = _check_keep(source, config)
    tables = _by_file(source, config, keep) if config.partitioned else _by_shuffles(source, config, keep)
    if not config.has_domain(source.stored_schema):
        del tables["domains"]
    return tables


def _by_shuffles(source: FileSource, config: Config, keep: Keep) -> dict[str, Any]:
    """Four shuffles or more, none of text."""
    expected = source.expected_documents(SAMPLE_BYTES)
    earlier = open_earlier(config.against, config.near, source, expected)
    documents, rejects, *_ = source.documents()
    found = documents | "Find duplicates" >> _finder(config, keep, expected, earlier)
    decisions = found.decisions
    rewritten = _own(decisions, earlier) | "Second read" >> RewriteDocuments(
        source=source,
        columns=config.columns,
        output=config.output,
        run=config.run,
        expected_bytes=round(expected * DUPLICATE_SHARE * DECISION_BYTES),
    )
    told = rewritten.found | "Describe removals" >> DescribeRemovals(
        exact=config.exact if config.method == "exact" else None,
        domains=True,
        expected_bytes=round(expected * DUPLICATE_SHARE * REMOVAL_BYTES),
        survivors=decisions | "Earlier documents" >> DescribeEarlier(earlier=earlier) if earlier else None,
    )
    tables = {
        **told._asdict(),
        "documents": rewritten.files,
        "rejects": (rejects, rewritten.rejects) | "Rejects" >> beam.Flatten(),
        FAILURES: found.failures,
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


def _finder(
    config: Config, keep: Keep, expected: int, earlier: Earlier | None
) -> FindNearDuplicates | FindExactDuplicates:
    if config.method == "exact":
        return FindExactDuplicates(rule=config.exact, keep=keep, expected_documents=expected)
    components = ConnectedComponents(
        memory=config.components_memory,
        rounds=config.component_rounds,
        way=config.components,
        expected_links=expected,
        folder=os.path.join(staging.staging_folder(config.output, config.run), "links"),
    )
    return FindNearDuplicates(
        rule=config.near,
        keep=keep,
        components=components,
        expected_documents=expected,
        guard=config.guard,
        earlier=earlier,
        remember=config.write_signatures is not None,
    )


def _own(decisions: Batches, earlier: Earlier | None) -> Batches:
    return decisions if earlier is None else decisions | "Of this run" >> MapBatches(own_decisions)


def _by_file(source: FileSource, config: Config, keep: Keep) -> dict[str, Any]:
    """No shuffle: each file is deduplicated by itself, and reports for itself."""
    exact = config.exact if config.method == "exact" else None
    decide: Any = (
        partial(near_decisions, rule=config.near, keep=keep)
        if exact is None
        else partial(exact_decisions, rule=exact, keep=keep)
    )
    done = source.pipeline | "Files" >> DeduplicateFiles(
        source=source,
        decide=decide,
        describe=partial(describe, exact=exact),
        output=config.output,
        run=config.run,
    )
    tables = {
        name: done.report | f"Table {name}" >> MapBatches(partial(report_table, kind=kind))
        for name, kind in REPORT_TABLES.items()
    }
    removals = done.removed | "Removals" >> MapBatches(removal_table)
    return {**tables, "removals": removals, "documents": done.files, "rejects": done.rejects}


def _check_keep(source: FileSource, config: Config) -> Keep:
    """The rule, with a column that the input has and that has an order."""
    keep = Keep.parse(config.keep)
    if keep.column is not None and keep.column in source.stored_schema.names and keep.column != schema.TEXT:
        try:
            check_orderable(keep.column, source.stored_schema.field(keep.column).type)
        except TypeError as error:
            raise UsageError(f"--keep={config.keep}: {error}") from error
    return keep


def explain(config: Config) -> list[str]:
    """What the bands find."""
    return [] if config.method == "exact" else [config.near.banding.curve()]


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """What wasn't compared, and what to look at."""
    lines = []
    if empty := counters.get(EMPTY_DOCUMENTS, 0):
        lines.append(f"{empty:,} empty documents: kept, and nobody's duplicates")
    if large := counters.get(OVERSIZED_CLUSTERS, 0):
        noun = "cluster" if large == 1 else "clusters"
        done = "split by pairs of bands" if config.oversized == SPLIT else "see the table clusters"
        lines.append(f"{large:,} {noun} of more than {config.max_cluster_size:,} documents: {done}")
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
