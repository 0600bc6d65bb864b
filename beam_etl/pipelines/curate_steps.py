"""The steps of curate: those that look at a document by itself, and those that compare all of them."""

from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from beam_etl import schema
from beam_etl.io.file_source import FileSource
from beam_etl.kernels.c4_lines import DROPPED_LINES
from beam_etl.kernels.funnel import count_text, funnel_rows, language_column, nothing_left
from beam_etl.kernels.masking import MASKED
from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.provenance import add_file
from beam_etl.kernels.removals import removals_of_step
from beam_etl.pipelines.curate_config import Config
from beam_etl.pipelines.dedup import finder
from beam_etl.pipelines.steps import Steps
from beam_etl.transforms.annotations import DetectLanguages, MaskAddresses
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.c4_lines import KeepC4Lines
from beam_etl.transforms.decontaminate import MATCHES, Decontaminate
from beam_etl.transforms.documents import FailForRejects, MapDocuments
from beam_etl.transforms.domain_score import STAGE, ScoreFacts
from beam_etl.transforms.leave_out import LeaveOut
from beam_etl.transforms.repeated_lines import EDITS, EditedDocuments
from beam_etl.transforms.score_table import ScoredDomains
from beam_etl.transforms.token_count import CountTokens

ORDER = (
    *("read", "pages", "urls", "extract", "empty", "words", "language"),
    *(
        "quality",
        "c4_lines",
        "quality_again",
        "decontaminate",
        "lines",
        "exact",
        "near",
        "domain_score",
        "mask",
        "tokens",
    ),
)
"""The places of the funnel's steps."""

FUNNEL = "funnel"
"""A table."""

PIECES = "beam_etl.pieces"
"""int32, only inside a run: the repeated lines that were cut out of a document."""

FACT_BYTES = 160
"""Of a document's facts for the score of its domain, on their way to what is left of the documents."""


STATISTIC_BYTES = 700
"""Of a document's part in the statistics of its domain, at most: where it is alone there."""


class DocumentSteps(Steps):
    """Documents after the steps so far, and what these left.

    Attributes:
      counts: kernels.funnel.FUNNEL of what each step left.
      tables: more of them, by name.
    """

    def __init__(
        self, documents: Batches, rejects: Batches, config: Config, has_tokens: bool = False
    ) -> None:
        super().__init__(documents, rejects)
        self._config = config
        self.counts: list[Batches] = []
        self._noted: list[tuple[int, str, bool]] = []
        self._has_tokens = has_tokens
        self.tables: dict[str, Batches] = {}

    def count(self, step: str) -> None:
        """Notes what is left."""
        self.note(step)
        counting = partial(count_step, step=step, by=self._config.funnel_by)
        self.counts.append(self.documents | f"Left after {step}" >> MapBatches(counting))

    def note(self, *steps: str) -> None:
        """These are told in the funnel, even where nothing is left."""
        self._noted += [(ORDER.index(step), step, self._has_tokens) for step in steps]

    def asked_for(self, label: str) -> Batches:
        """FUNNEL of the steps that are told in it, without documents."""
        batches: Batches = self.documents.pipeline | f"{label} asked for" >> beam.Create(
            [nothing_left(self._noted)] if self._noted else [], reshuffle=False
        ).with_output_types(pa.RecordBatch)
        return batches

    def funnel(self, label: str) -> Batches:
        """All counts."""
        return [*self.counts, self.asked_for(label)] | label >> beam.Flatten()

    def count_tokens(self, label: str, changed: str | None = None) -> None:
        """Counts the tokens of texts; of those only that a step changed, if a column tells."""
        self._has_tokens = True
        counting = once_per_process(count_text, self._config.vocabulary, changed)
        self.map(label, MapDocuments(counting, stage=label.lower()))

    def decontaminate(self, step: Decontaminate) -> None:
        """The step that has one more table: of matches."""
        done = self.documents | "decontaminate" >> step
        self.documents = done.documents
        self.rejects.append(done.rejects)
        self.removals.append(self._told("decontaminate", done.removals))
        self.tables[MATCHES] = done.matches

    def without_lines(self, edited: EditedDocuments) -> None:
        """The step that has one more table: of edits."""
        self.documents = edited.documents
        self.rejects.append(edited.rejects)
        self.removals.append(self._told("lines", edited.removals))
        self.tables[EDITS] = edited.edits
        self.count_tokens("Tokens without lines", PIECES)
        self.count("lines")

    def follow(self, steps: "DocumentSteps") -> None:
        """These are behind the steps so far."""
        self.documents = steps.documents
        self.rejects += steps.rejects
        self.removals += steps.removals
        self.counts += steps.counts
        self._noted += steps._noted
        self.tables |= steps.tables

    def by_table(self) -> dict[str, tuple[Batches, ...]]:
        """All that is put down."""
        tables = {name: (batches,) for name, batches in self.tables.items()}
        return {**super().by_table(), FUNNEL: tuple(self.counts), **tables}

    def _told(self, label: str, removals: Batches) -> Batches:
        return removals | f"Removed: {label}" >> MapBatches(partial(removals_of_step, step=label))


def count_step(batch: Any, step: str, by: tuple[str, ...]) -> Any:
    """kernels.funnel.FUNNEL of what a step left."""
    return funnel_rows(batch, ORDER.index(step), step, by)


def first_steps(source: FileSource, config: Config, **reading: Any) -> DocumentSteps:
    """What looks at each document by itself, from reading it to its quality. No shuffle.

    Args:
      source, config: the input and the steps.
      reading: more for `FileSource.documents`.
    """
    stored, how = source.stored_schema.names, config.extracting
    pages = is_pages(source)
    steps = _as_read(source, config, **reading)
    if not pages:
        steps.count_tokens("Tokens read")
    steps.count("read")
    first = how.first_rules(stored) if config.has("extract") else how.first_rules(())
    for step, wanted in (("pages", True), ("urls", False)):
        if rules := tuple(rule for rule in first if (rule.name == "page") == wanted):
            steps.filter(step, rules)
            steps.count(step)
    if pages:
        steps.map("extract", how.extracting)
        steps.count_tokens("Tokens extracted")
        steps.count("extract")
    for step in ("empty", "words"):
        asked = config.has("extract") if step == "empty" else config.has("words")
        if rules := tuple(rule for rule in how.text_rules if asked and rule.name == step):
            steps.filter(step, rules)
            steps.count(step)
    if config.has("language"):
        steps.map("Detect languages", DetectLanguages())
        steps.filter("language", how.language_rules)
        steps.count("language")
    _judge(steps, config)
    if (clean := config.decontaminating) is not None:
        steps.decontaminate(Decontaminate(find=clean.sets, action=clean.action))
        steps.count_tokens("Tokens without evaluations")
        steps.count("decontaminate")
    return steps


def _as_read(source: FileSource, config: Config, **reading: Any) -> DocumentSteps:
    documents, rejects, _ = source.documents(tell_splits=True, **reading)
    if config.by_file:
        documents = documents | "Add file" >> MapBatches(add_file)
    if is_pages(source):
        documents = documents | "Pages" >> MapBatches(_without_text)
    return DocumentSteps(documents, rejects, config)


def _judge(steps: DocumentSteps, config: Config) -> None:
    """The quality of documents, and of their lines."""
    if (quality := config.quality) is not None:
        steps.remove("quality", quality.filtering())
        steps.count("quality")
    if config.has("c4_lines"):
        steps.remove("c4_lines", KeepC4Lines())
        steps.count_tokens("Tokens of lines", DROPPED_LINES)
        steps.count("c4_lines")
    if (again := config.quality_again) is not None:
        steps.remove("quality_again", again.filtering())
        steps.count("quality_again")


def is_pages(source: FileSource) -> bool:
    """Whether the input has pages, of which a text is to be made."""
    stored = source.stored_schema.names
    return schema.PAYLOAD in stored and schema.TEXT not in stored


def _without_text(batch: Any) -> Any:
    return batch.drop_columns([schema.TEXT])


def last_steps(steps: DocumentSteps, config: Config) -> dict[str, Batches]:
    """What changes or describes the documents that stay: tables counts and totals. One shuffle, of token counts."""
    if config.has("mask"):
        steps.map("Mask addresses", MaskAddresses())
        steps.count_tokens("Tokens masked", MASKED)
        steps.count("mask")
    if (tokens := config.tokens) is None:
        return {}
    if schema.LANGUAGE in tokens.by:
        steps.documents = steps.documents | "Languages" >> MapBatches(language_column)
    counted = steps.documents | "Count tokens" >> CountTokens(by=tokens.by, vocabulary=config.vocabulary)
    steps.documents = counted.documents
    steps.rejects.append(counted.rejects)
    steps.count("tokens")
    return {"counts": counted.counts, "totals": counted.totals}


class Compared(NamedTuple):
    """What comparing all documents gives."""

    decisions: dict[str, Batches]
    """schema.DECISION by step, in the order of steps: each is about what the steps before it left."""
    scored: ScoredDomains | None
    failures: list[Any]


def with_language(documents: Batches, config: Config, label: str) -> Batches:
    """Documents as duplicates are looked for among them: with `language` where that is compared."""
    if not any(each.column == schema.LANGUAGE and each.section != "tokens" for each in config.named):
        return documents
    batches: Batches = documents | label >> MapBatches(language_column)
    return batches


def compare(documents: Batches, config: Config, source: FileSource, expected: int) -> Compared:
    """Decisions about duplicates, and scores of domains. The shuffles of each, and one of what each step leaves out."""
    decisions: dict[str, Batches] = {}
    failures = []
    compared = with_language(documents, config, "Languages compared")
    for step, how in (("exact", config.exact), ("near", config.near)):
        if how is not None:
            without = {"without": decisions["exact"]} if step == "near" and decisions else {}
            found = compared | f"Find {step} duplicates" >> finder(how, expected, **without)
            decisions[step] = found.decisions
            failures.append(found.failures)
    scored = None
    if (scores := config.domain_score) is not None:
        scoring = scores.scoring(schema.columns(schema.ID), expected_bytes=expected * STATISTIC_BYTES)
        facts, rejects = (
            documents
            | "Languages of facts" >> MapBatches(language_column)
            | "Facts for scores" >> MapDocuments(scoring.count.facts, stage=STAGE)
        )
        failures.append(rejects | "Without facts" >> FailForRejects())
        if decisions:
            removing = list(decisions.values()) | "Removed so far" >> beam.Flatten()
            facts = {"rows": facts, "decisions": removing} | "Facts of what is left" >> LeaveOut(
                expected_bytes=expected * FACT_BYTES
            )
        scored = facts | "Score domains" >> ScoreFacts(scoring=scoring)
        failures.append(scored.failures)
    return Compared(decisions, scored, failures)
