"""What steps of curate lack, told before anything runs."""

from collections.abc import Iterator

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.columns import resolve
from beam_etl.io.file_source import FileSource
from beam_etl.kernels.c4_lines import DROPPED_LINES
from beam_etl.kernels.domain_join import DOMAIN_SCORE
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.html import LINKS, TITLE
from beam_etl.kernels.keeping import check_orderable
from beam_etl.kernels.languages import LANG, LANG_SCORE, NoDetectorError, check_detector
from beam_etl.kernels.masking import MASKED
from beam_etl.pipelines.chosen_records import is_pages
from beam_etl.pipelines.curate_config import Config, Named
from beam_etl.pipelines.flags import UsageError


def check_steps(source: FileSource, config: Config) -> None:
    """Whether each step has what it needs of this input.

    Raises:
      UsageError: one hasn't. The message says where it stands in the file, and what to do.
    """
    _check_what_is_named(config)
    for section, key, wrong in _wrong(source, config):
        raise UsageError(f"{config.file.at(section, key)}: {wrong}")


def _wrong(source: FileSource, config: Config) -> Iterator[tuple[str, str | None, str]]:
    stored, known = source.stored_schema, known_columns(source, config)
    if config.has("extract") and not is_pages(source) and schema.TEXT not in _read(source):
        yield "extract", None, f"the input has neither pages nor a text; it has {', '.join(stored.names)}"
    of_domains = {
        "domain_score": config.has("domain_score"),
        "lines": config.lines_of_domains,
        "funnel": schema.DOMAIN in config.funnel_by,
    }
    needed = {"urls": (schema.URL, config.has("urls"))}
    needed |= {section: (schema.DOMAIN, asked) for section, asked in of_domains.items()}
    for section, (name, asked) in needed.items():
        if asked and name not in _read(source):
            why = " (and no url to derive it from)" if name == schema.DOMAIN else ""
            yield (
                section,
                None,
                (
                    f"needs a column {name!r}{why}; the input has {', '.join(stored.names)}. Use "
                    f"--{name}_column=NAME, or leave the step out"
                ),
            )
    if schema.LANGUAGE in config.funnel_by and schema.LANGUAGE not in known.names:
        yield "funnel", "by", "the documents have no language: add [language], or leave this out"
    if config.has("language"):
        try:
            check_detector()
        except NoDetectorError as error:
            yield "language", None, f"{error}, or leave the step out"
    yield from _absent(config, known)


def _check_what_is_named(config: Config) -> None:
    """Raises a UsageError where a list, an evaluation set or a vocabulary can't be read."""
    pages, telling = config.extracting, config.file.telling
    with telling("urls", "blocklist"):
        pages.blocked  # noqa: B018 - told at once
    with telling("words", "required_words"):
        pages.required  # noqa: B018 - told at once
    with telling("words", "forbidden_words"):
        pages.forbidden  # noqa: B018 - told at once
    with telling("decontaminate", "evaluations"):
        if (clean := config.decontaminating) is not None:
            clean.sets.get()
    config.vocabulary  # noqa: B018 - told at once


def _read(source: FileSource) -> set[str]:
    """The shared columns that aren't null for want of something to read."""
    found = resolve(source.read.columns, source.stored_schema, source.files[0].path)
    return {each.column for each in found.sources if each.stored is not None}


def known_columns(source: FileSource, config: Config) -> pa.Schema:
    """The columns that documents have when they are compared and counted."""
    resolved = resolve(source.read.columns, source.stored_schema, source.files[0].path)
    read = [each.column for each in resolved.sources if each.stored is not None]
    found = {name: schema.DOCUMENT.field(name).type for name in (schema.ID, *read)}
    found |= {each.column: each.type for each in resolved.carried}
    if is_pages(source):
        found |= {schema.TEXT: pa.large_string(), TITLE: pa.string()}
        found |= {LINKS: pa.list_(pa.string())} if config.extracting.links else {}
        found.pop(schema.PAYLOAD, None)
    if config.has("language"):
        found |= {LANG: pa.string(), LANG_SCORE: pa.float32()}
    if LANG in found:
        found.setdefault(schema.LANGUAGE, pa.string())
    if config.has("c4_lines"):
        found[DROPPED_LINES] = pa.int32()
    return pa.schema(list(found.items()))


def _absent(config: Config, known: pa.Schema) -> Iterator[tuple[str, str | None, str]]:
    """Columns that the file names and documents don't have, or whose values can't be compared."""
    made = {
        pa.field(DOMAIN_SCORE, pa.float64()): config.has("domain_score"),
        pa.field(MASKED, pa.int32()): config.has("mask"),
        pa.field(schema.FILE, pa.string()): config.by_file and schema.FILE not in known.names,
    }
    later = pa.schema([*known, *(field for field, asked in made.items() if asked)])
    for section, key, name in config.named:
        there = later if section == "tokens" else known
        if name not in there.names:
            yield _told_absent(config, Named(section, key, name), there)
            continue
        check = _orderable if key == "keep" else hash_values
        try:
            check(pa.nulls(0, there.field(name).type))
        except TypeError as error:
            yield section, key, str(error)


def _told_absent(config: Config, named: Named, there: pa.Schema) -> tuple[str, str | None, str]:
    if named.key not in config.file.sections[named.section]:
        what = f"goes by {named.column}, and documents have none by then"
        return named.section, None, f"{what}: write {named.key} = [...], or add [language]"
    why = ", and no url to derive it from" if named.column == schema.DOMAIN else ""
    have = f"documents have {', '.join(there.names)} by then"
    if named.column in (schema.DATE, schema.TIME):
        why = f". Use --{named.column}_column=NAME"
    return named.section, named.key, f"no column {named.column!r}; {have}{why}"


def _orderable(values: pa.Array) -> None:
    check_orderable("keep", values.type)
