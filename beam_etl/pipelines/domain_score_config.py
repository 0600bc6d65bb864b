"""The flags of domain scores, and what they say together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.removal_marks import mark_removed
from beam_etl.kernels.domain_join import DOMAIN_SCORE
from beam_etl.kernels.filtering import SIGNALS_COLUMN
from beam_etl.kernels.judging import MAIN_SIGNALS
from beam_etl.kernels.quality import parse_thresholds
from beam_etl.pipelines.config import check_apart
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.window_config import WindowConfig
from beam_etl.transforms.domain_join import AUTO, BROADCAST_BYTES, WAYS, JoinDomainScores
from beam_etl.transforms.domain_score import ScoreDomains
from beam_etl.transforms.quality import DEFAULT_RULES, FilterQuality

NEEDED = (schema.ID, schema.DOMAIN, schema.TEXT)


@dataclass(frozen=True, kw_only=True)
class Config(WindowConfig):
    """What can be asked of the job."""

    WITHOUT_WINDOWS: ClassVar[tuple[str, ...]] = (
        "removals",
        "documents",
        "min_domain_score",
        "max_documents_per_domain",
        "filter",
        "annotate",
        "partitioned",
        "join",
        "broadcast_bytes",
    )

    rules: tuple[str, ...] = flag(
        "rule sets that documents pass or fail: gopher_quality, gopher_repetition, fineweb, c4",
        default=DEFAULT_RULES,
    )
    thresholds: tuple[str, ...] = flag(
        "others than those published, as rule:value, such as fineweb.max_new_lines:0.4; rule:none leaves it out",
        default=(),
    )
    weights: tuple[str, ...] = flag(
        "of the parts of a score, as part:weight: rule sets, and with --removals unique; those not named have 1",
        default=(),
    )
    prior_documents: float = flag(
        "documents like the whole corpus that each domain is given", default=10.0, unit="documents"
    )
    confidence: float = flag("standard deviations that a score stays below the pass rate", default=1.645)
    signals: tuple[str, ...] = flag("signals to tell sums and quantiles of", default=MAIN_SIGNALS)
    removals: str | None = flag(
        "folder of a dataset with a table `removals`, as dedup writes it of this input: its documents are counted as "
        "duplicates",
        default=None,
        unit=FOLDER,
    )
    documents: bool = flag("write the documents as well, with a column domain_score", default=False)
    min_domain_score: float | None = flag(
        "write the documents, without those of domains with a lower score", default=None
    )
    max_documents_per_domain: int | None = flag(
        "write the documents, at most so many of a domain, chosen by a hash", default=None
    )
    filter: bool = flag("write the documents, without those that fail a rule of --rules", default=False)
    annotate: bool = flag(
        "write the documents, each with the rules that it fails, their values, and its signals", default=False
    )
    partitioned: bool | None = flag(
        "each partition of the input dataset, or else each input file, has all documents of its domains, so nothing is "
        "shuffled (default: what the dataset's manifest tells)",
        default=None,
    )
    join: str = flag("how scores come to documents", default=AUTO, choices=WAYS)
    broadcast_bytes: int = flag(
        "scores of more are not broadcast to all workers", default=BROADCAST_BYTES, unit="bytes"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.removals:
            check_apart([("output", self.output), ("removals", self.removals)])
        if self.broadcast_bytes < 0:
            raise ValueError(f"--broadcast_bytes must be at least 0, got {self.broadcast_bytes}")
        if self.max_documents_per_domain is not None and self.max_documents_per_domain < 1:
            raise ValueError(
                f"--max_documents_per_domain must be at least 1, got {self.max_documents_per_domain}"
            )
        if self.filter and self.annotate:
            raise ValueError("--filter removes what --annotate only tells: ask for one of them")
        if self.window is not None and (self.joins or self.removals or self.partitioned):
            raise ValueError(
                "--window writes what each domain has in each window. Scores are made of that when it is read, and "
                "documents get them then (docs/streaming.md): leave out --removals, --partitioned, and what asks for "
                "documents"
            )
        self.scoring(pa.schema([]))
        self.joining(pa.schema([]))

    def scoring(self, stored: pa.Schema, **how: Any) -> ScoreDomains:
        """How the domains of an input with these columns are scored; further arguments as of ScoreDomains."""
        return ScoreDomains(
            rules=self.rules,
            thresholds=parse_thresholds(self.thresholds),
            weights=parse_weights(self.weights),
            prior=self.prior_documents,
            confidence=self.confidence,
            signals=self.signals,
            sample=self.max_documents_per_domain,
            sample_by=self._sample_by(stored),
            mark=mark_removed(self.removals) if self.removals else None,
            **how,
        )

    def joining(self, stored: pa.Schema, **how: Any) -> JoinDomainScores:
        """How scores come to the documents; further arguments as of JoinDomainScores."""
        return JoinDomainScores(
            min_score=self.min_domain_score,
            sample_by=self._sample_by(stored),
            broadcast_bytes=self.broadcast_bytes,
            **how,
        )

    def filtering(self) -> FilterQuality:
        """What each document is judged by."""
        return FilterQuality(
            rules=self.rules, thresholds=parse_thresholds(self.thresholds), annotate=self.annotate
        )

    @property
    def joins(self) -> bool:
        """Whether documents are written."""
        limits = (self.min_domain_score, self.max_documents_per_domain)
        asked = self.documents or self.filter or self.annotate
        return asked or any(limit is not None for limit in limits)

    @property
    def counted(self) -> Columns:
        """What is read to score domains."""
        return self.read_as(NEEDED, optional=(schema.LANGUAGE, schema.DATE))

    @property
    def columns(self) -> Columns:
        """What is written of documents, if they are; else the same as `counted`."""
        if not self.joins:
            return self.counted
        told = (*schema.QUALITY_FAILURES.names, SIGNALS_COLUMN) if self.annotate else ()
        return replace(self.read_as(NEEDED, carry=ALL), reserved=(DOMAIN_SCORE, *told))

    def _sample_by(self, stored: pa.Schema) -> tuple[str, ...]:
        """By ids that the input has; those made of paths would change with the files, so then by the text."""
        return (schema.ID,) if self.id_column or schema.ID in stored.names else (schema.TEXT,)


def parse_weights(given: Sequence[str]) -> dict[str, float]:
    """`part:weight` as part and weight.

    Raises:
      ValueError: one isn't.
    """
    weights: dict[str, float] = {}
    for item in given:
        part, _, number = item.partition(":")
        try:
            weights[part] = float(number)
        except ValueError:
            raise ValueError(f"a weight is PART:NUMBER, got {item!r}") from None
    return weights
