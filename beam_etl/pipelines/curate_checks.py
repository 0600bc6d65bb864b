"""What steps of curate lack, told before anything runs."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.columns import resolve
from beam_etl.io.read import FileSource
from beam_etl.kernels.domain_join import DOMAIN_SCORE
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.html import LINKS, TITLE
from beam_etl.kernels.keeping import Keep, check_orderable
from beam_etl.kernels.languages import LANG, LANG_SCORE, NoDetectorError, check_detector
from beam_etl.kernels.masking import MASKED
from beam_etl.pipelines.curate_config import Config
from beam_etl.pipelines.curate_steps import is_pages
from beam_etl.pipelines.flags import UsageError


def check_steps(source: FileSource, config: Config) -> None:
    """Whether each step has what it needs of this input.

    Raises:
      UsageError: one hasn't. The message says where it stands in the file, and what to do.
    """
    for section, key, wrong in _wrong(source, config):
        raise UsageError(f"{config.file.at(section, key)}: {wrong}")


def _wrong(source: FileSource, config: Config) -> Iterator[tuple[str, str | None, str]]:
    stored = source.stored_schema
    if config.has("extract") and not is_pages(source) and schema.TEXT not in _read(source, config):
        yield "extract", None, f"the input has neither pages nor a text; it has {', '.join(stored.names)}"
    of_domains = {
        "domain_score": config.has("domain_score"),
        "lines": config.lines_of_domains,
        "funnel": schema.DOMAIN in config.funnel_by,
    }
    needed = {"urls": (schema.URL, config.has("urls"))}
    needed |= {section: (schema.DOMAIN, asked) for section, asked in of_domains.items()}
    for section, (name, asked) in needed.items():
        if asked and name not in _read(source, config):
            why = " (and no url to derive it from)" if name == schema.DOMAIN else ""
            yield (
                section,
                None,
                (
                    f"needs a column {name!r}{why}; the input has {', '.join(stored.names)}. Use "
                    f"--{name}_column=NAME, or leave the step out"
                ),
            )
    if config.has("language"):
        try:
            check_detector()
        except NoDetectorError as error:
            yield "language", None, f"{error}, or leave the step out"
    yield from _absent(config, known_columns(source, config))


def _read(source: FileSource, config: Config) -> set[str]:
    """The shared columns that aren't null for want of something to read."""
    found = resolve(config.columns, source.stored_schema, source.files[0].path)
    return {each.column for each in found.sources if each.stored is not None}


def known_columns(source: FileSource, config: Config) -> pa.Schema:
    """The columns that documents have when they are compared and counted."""
    resolved = resolve(config.columns, source.stored_schema, source.files[0].path)
    found = {each.column: schema.DOCUMENT.field(each.column).type for each in resolved.sources}
    found |= {each.column: each.type for each in resolved.carried}
    if config.has("extract"):
        found |= {schema.TEXT: pa.large_string(), TITLE: pa.string(), LINKS: pa.list_(pa.string())}
        found.pop(schema.PAYLOAD, None)
    if config.has("language"):
        found |= {LANG: pa.string(), LANG_SCORE: pa.float32()}
    if LANG in found:
        found.setdefault(schema.LANGUAGE, pa.string())
    return pa.schema(list(found.items()))


def _absent(config: Config, known: pa.Schema) -> Iterator[tuple[str, str | None, str]]:
    """Columns that the file names and documents don't have, or whose values can't be compared."""
    later = pa.schema([*known, (DOMAIN_SCORE, pa.float64()), (MASKED, pa.int32())])
    named: list[tuple[str, str, str, Callable[[pa.Array], Any]]] = []
    for section, how in (("exact", config.exact), ("near", config.near)):
        if how is not None:
            named += [(section, "key", name, hash_values) for name in (how.key if section == "exact" else ())]
            named += [(section, "within", how.within, hash_values)] if how.within else []
            if (column := Keep.parse(how.keep).column) is not None and column != schema.TEXT:
                named.append((section, "keep", column, _orderable))
    if config.tokens is not None:
        named += [("tokens", "by", name, hash_values) for name in config.tokens.by]
    for section, key, name, check in named:
        there = later if section == "tokens" else known
        if name not in there.names:
            yield section, key, f"no column {name!r}; documents have {', '.join(there.names)} by then"
            continue
        try:
            check(pa.nulls(0, there.field(name).type))
        except TypeError as error:
            yield section, key, str(error)


def _orderable(values: pa.Array) -> None:
    check_orderable("keep", values.type)
