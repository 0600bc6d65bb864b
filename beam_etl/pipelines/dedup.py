"""`python -m beam_etl.pipelines.dedup`: documents without their near-duplicates or exact duplicates."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.columns import Columns
from beam_etl.io.read import FileSource
from beam_etl.io.rewrite import RewriteDocuments
from beam_etl.io.write import FAILURES
from beam_etl.kernels.banding import Banding, choose_banding
from beam_etl.kernels.candidates import PERMUTATIONS, NearRule
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.keeping import Keep, check_orderable
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import UsageError, flag
from beam_etl.pipelines.job import Job
from beam_etl.transforms.components import ConnectedComponents
from beam_etl.transforms.duplicates import DUPLICATE_SHARE, FindExactDuplicates, FindNearDuplicates
from beam_etl.transforms.removals import DescribeRemovals

SAMPLE_BYTES = 4 << 20
"""Read by the launcher, to expect how many documents there will be."""

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
        self.near, self.exact  # noqa: B018 - each checks its flags

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
    def rule(self) -> NearRule | ExactRule:
        """The rule of the method."""
        return self.near if self.method == "near" else self.exact

    @property
    def columns(self) -> Columns:
        keep = Keep.parse(self.keep).column
        needed = (*self.rule.columns, schema.TEXT, schema.ID, *([keep] if keep else []))
        return self.read_as(needed, optional=(schema.DOMAIN,))

    def has_domain(self, stored: pa.Schema) -> bool:
        """Whether the input tells a domain, or a URL to derive it from."""
        names = {schema.DOMAIN, schema.URL, self.domain_column, self.url_column}
        return bool(names & set(stored.names))


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """The kept documents, the removal table, the cluster report and the rejects. Four shuffles or more."""
    keep = _check_keep(source, config)
    sample = source.sample(SAMPLE_BYTES)
    expected = round(sum(batch.num_rows for batch in sample.batches) * sample.scale)
    documents, rejects, *_ = source.documents()
    find: FindNearDuplicates | FindExactDuplicates
    if config.method == "near":
        components = ConnectedComponents(
            memory=config.components_memory,
            rounds=config.component_rounds,
            way=config.components,
            expected_links=round(expected * DUPLICATE_SHARE * config.near.banding.bands),
            folder=staging.staging_folder(config.output, config.run),
        )
        find = FindNearDuplicates(
            rule=config.near, keep=keep, components=components, expected_documents=expected
        )
    else:
        find = FindExactDuplicates(rule=config.exact, keep=keep, expected_documents=expected)
    decisions, failures = documents | "Find duplicates" >> find
    rewritten = decisions | "Second read" >> RewriteDocuments(
        source=source,
        columns=config.columns,
        output=config.output,
        run=config.run,
        expected_bytes=round(expected * DUPLICATE_SHARE * 46),
    )
    domains = config.has_domain(source.stored_schema)
    told = rewritten.found | "Describe removals" >> DescribeRemovals(
        exact=config.exact if config.method == "exact" else None,
        domains=domains,
        expected_bytes=round(expected * DUPLICATE_SHARE * REMOVAL_BYTES),
    )
    tables = told._asdict()
    if not domains:
        del tables["domains"]
    return {
        **tables,
        "documents": rewritten.files,
        "rejects": (rejects, rewritten.rejects) | "Rejects" >> beam.Flatten(),
        FAILURES: failures,
    }


def _check_keep(source: FileSource, config: Config) -> Keep:
    """The rule, with a column that the input has and that has an order."""
    keep = Keep.parse(config.keep)
    if keep.column is not None and keep.column in source.stored_schema.names and keep.column != schema.TEXT:
        try:
            check_orderable(keep.column, source.stored_schema.field(keep.column).type)
        except TypeError as error:
            raise UsageError(f"--keep={config.keep}: {error}") from error
    return keep


JOB = Job("dedup", "Documents without their near-duplicates or exact duplicates.", Config, build)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
