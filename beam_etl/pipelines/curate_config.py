"""The flags of curate, and the steps that its file asks for."""

import re
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.vocabularies import load_vocabulary
from beam_etl.kernels.c4_lines import DROPPED_LINES
from beam_etl.kernels.domain_join import DOMAIN_SCORE
from beam_etl.kernels.html import LINKS, TITLE
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.languages import LANG, LANG_SCORE
from beam_etl.kernels.masking import MASKED
from beam_etl.kernels.vocabularies import HUGGING_FACE, WORDS, Vocabulary
from beam_etl.pipelines import (
    decontaminate,
    dedup_config,
    domain_score_config,
    extract_config,
    lines,
    token_count,
)
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.curate_file import PAGE_KEYS, CurateFile
from beam_etl.pipelines.flags import UsageError, flag
from beam_etl.pipelines.resume_config import ResumeConfig

_Step = TypeVar("_Step", bound=JobConfig)


class Named(NamedTuple):
    """A column that the file names."""

    section: str
    key: str
    column: str


@dataclass(frozen=True, kw_only=True)
class Config(ResumeConfig):
    """What can be asked of the job."""

    config: str = flag(
        "a TOML file: the steps, and flags above them; those of the command line win", unit="file"
    )
    job = "curate"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "extracting",
            "quality",
            "quality_again",
            "decontaminating",
            "repeated_lines",
            "exact",
            "near",
            "domain_score",
            "tokens",
        ):
            getattr(self, name)  # what a step can't be is told at once

    @cached_property
    def file(self) -> CurateFile:
        """The steps as they are written."""
        return CurateFile(self.config)

    def has(self, *names: str) -> bool:
        """Whether any of these steps is asked for."""
        return any(name in self.file.sections for name in names)

    @cached_property
    def extracting(self) -> extract_config.Config:
        """Text of pages, filters by URL, words and language, and masking."""
        names = ("extract", "urls", "words", "language", "mask")
        return self._made(extract_config.Config, names, detect_language=self.has("language"))

    @cached_property
    def quality(self) -> domain_score_config.Config | None:
        """The quality filter."""
        return self._step(domain_score_config.Config, "quality")

    @cached_property
    def quality_again(self) -> domain_score_config.Config | None:
        """The quality filter over what dropping lines has left."""
        return self._step(domain_score_config.Config, "quality_again")

    @cached_property
    def decontaminating(self) -> decontaminate.Config | None:
        """Removal of what evaluation sets have."""
        return self._step(decontaminate.Config, "decontaminate")

    @cached_property
    def repeated_lines(self) -> lines.Config | None:
        """Removal of lines that repeat."""
        return self._step(lines.Config, "lines")

    @cached_property
    def exact(self) -> dedup_config.Config | None:
        """Removal of exact duplicates."""
        return self._step(dedup_config.Config, "exact", method="exact")

    @cached_property
    def near(self) -> dedup_config.Config | None:
        """Removal of near-duplicates."""
        return self._step(dedup_config.Config, "near")

    @cached_property
    def domain_score(self) -> domain_score_config.Config | None:
        """Scores of domains."""
        return self._step(domain_score_config.Config, "domain_score")

    @cached_property
    def tokens(self) -> token_count.Config | None:
        """Token counts."""
        return self._step(token_count.Config, "tokens", documents=True)

    @property
    def funnel_by(self) -> tuple[str, ...]:
        """What the funnel is told by."""
        return tuple(self.file.sections.get("funnel", {}).get("by", ()))

    def _step(self, config: type[_Step], section: str, **how: Any) -> _Step | None:
        """The Config that the pipeline of a step would have; None where the step isn't asked for."""
        return self._made(config, (section,), **how) if self.has(section) else None

    def _made(self, config: type[_Step], sections: tuple[str, ...], **how: Any) -> _Step:
        """The Config that the pipeline of these sections would have."""
        shared = {
            field.name: getattr(self, field.name)
            for field in fields(JobConfig)
            if field.init and field.name not in ("plan", "report", "cluster")
        }
        told = {name: self.file.sections.get(name, {}) for name in sections}
        for name, keys in told.items():
            try:
                config(**shared, **how, **keys)
            except ValueError as error:
                why = str(error).replace("--", "")
                where = next((key for key in keys if re.search(rf"\b{key}\b", why)), None)
                raise UsageError(f"{self.file.at(name, where)}: {why.removeprefix(f'{where}: ')}") from error
        made = config(
            **shared, **how, **{key: value for keys in told.values() for key, value in keys.items()}
        )
        object.__setattr__(made, "run", self.run)  # what a step writes on its way is this run's
        return made

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """By which tokens are counted.

        Raises:
          UsageError: there is no such vocabulary.
        """
        if (tokens := self.tokens) is None:
            return WORDS
        with self.file.telling("tokens", "tokenizer"):
            return load_vocabulary(tokens.tokenizer)

    @cached_property
    def named(self) -> tuple[Named, ...]:
        """The columns that steps compare and count by, as their own pipelines read them."""
        named = []
        for section, how in (("exact", self.exact), ("near", self.near)):
            if how is not None:
                named += [Named(section, "key", name) for name in (how.key if section == "exact" else ())]
                named += [Named(section, "within", how.within)] if how.within else []
                if (column := Keep.parse(how.keep).column) is not None and column != schema.TEXT:
                    named.append(Named(section, "keep", column))
        if self.tokens is not None:
            named += [Named("tokens", "by", name) for name in self.tokens.by]
        return tuple(named)

    @property
    def by_domain(self) -> bool:
        """Whether documents need a domain."""
        named = schema.DOMAIN in (*self.funnel_by, *(each.column for each in self.named))
        return named or self.has("domain_score") or self.lines_of_domains

    @property
    def by_file(self) -> bool:
        """Whether tokens are counted by the file of a document."""
        return self.tokens is not None and schema.FILE in self.tokens.by

    @property
    def lines_of_domains(self) -> bool:
        """Whether lines are counted by domain."""
        return (how := self.repeated_lines) is not None and how.scope == schema.DOMAIN

    @property
    def columns(self) -> Columns:
        """All columns. Pages have no text yet, and where text is extracted, a null one is removed by that step.

        Others that steps name are needed, as by the pipelines of these; `extract` makes what can't be read null.
        """
        named = {each.column for each in self.named}
        needed = (schema.TEXT, *(name for name in (schema.URL, schema.DATE, schema.TIME) if name in named))
        by_language = schema.LANGUAGE in (*self.funnel_by, *named)
        wanted = {
            schema.TEXT: self.has("extract"),
            schema.URL: self.has("extract", "urls"),
            schema.DOMAIN: self.by_domain,
            schema.LANGUAGE: by_language and self.language_column is not None,
            schema.DATE: self.has("extract", "domain_score"),
            schema.TIME: self.has("extract"),
        }
        made = {
            TITLE: self.has("extract"),
            LINKS: bool(self.file.sections.get("extract", {}).get("links")),
            LANG: self.has("language"),
            LANG_SCORE: self.has("language"),
            DROPPED_LINES: self.has("c4_lines"),
            MASKED: self.has("mask"),
            DOMAIN_SCORE: self.has("domain_score"),
        }
        optional = tuple(name for name, asked in wanted.items() if asked)
        reserved = tuple(name for name, asked in made.items() if asked)
        always = (schema.ID, *(() if self.has("extract") else needed))
        return replace(self.read_as(always, carry=ALL, optional=optional), reserved=reserved)

    @property
    def others(self) -> tuple[str, ...]:
        evaluations = clean.others if (clean := self.decontaminating) is not None else ()
        return (self.config, *self.cdx, *evaluations, *self.extracting.others)

    @property
    def contents(self) -> tuple[str, ...]:
        kind, _, path = (self.tokens.tokenizer if self.tokens else "").partition(":")
        return (*self.extracting.contents, *self.cdx, *((path,) if kind == HUGGING_FACE else ()))

    def depends_on(self) -> dict[str, Any]:
        clean = self.decontaminating
        return {"evaluations": None if clean is None else repr(clean.sets.args)}

    def to_json(self) -> dict[str, Any]:
        """The configuration for the manifest, with the steps as they are in the file, and how pages became texts."""
        pages = {name: getattr(self.extracting, name) for name in PAGE_KEYS} if self.has("extract") else {}
        return {**super().to_json(), **pages, "steps": self.file.sections}
