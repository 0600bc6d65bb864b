"""The file of a curate job: what may stand in it, and where in it something is wrong."""

import os
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from beam_etl.io.access import open_file
from beam_etl.kernels.funnel import GROUPS
from beam_etl.pipelines import (
    decontaminate,
    dedup_config,
    domain_score_config,
    extract_config,
    lines,
    token_count,
)
from beam_etl.pipelines.flags import UsageError, convert, plain_type

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]


class Section(NamedTuple):
    """A step as it is written in the file."""

    config: type | None
    """The Config whose flags its keys are; None for the funnel."""
    keys: tuple[str, ...]


PAGE_KEYS = ("extract", "links", "max_page_bytes", "page_seconds", "page_memory")
_LINES = ("unit", "scope", "more_than", "min_length", "match", "keep", "lines_memory")
_NEAR = ("ngram", "bands", "band_rows", "threshold", "seed", "max_cluster_size", "oversized")
_COMPONENTS = ("components", "components_memory", "component_rounds")
_SCORES = ("rules", "thresholds", "weights", "prior_documents", "confidence", "signals")
_LIMITS = ("min_domain_score", "max_documents_per_domain", "join", "broadcast_bytes")

SECTIONS: Mapping[str, Section] = {
    "extract": Section(extract_config.Config, PAGE_KEYS),
    "urls": Section(extract_config.Config, ("blocklist",)),
    "words": Section(extract_config.Config, ("required_words", "forbidden_words")),
    "language": Section(extract_config.Config, ("languages", "min_language_score")),
    "quality": Section(domain_score_config.Config, ("rules", "thresholds")),
    "c4_lines": Section(extract_config.Config, ()),
    "quality_again": Section(domain_score_config.Config, ("rules", "thresholds")),
    "decontaminate": Section(decontaminate.Config, ("evaluations", "evaluation_column", "ngram", "action")),
    "lines": Section(lines.Config, _LINES),
    "exact": Section(dedup_config.Config, ("key", "normalised", "within", "keep")),
    "near": Section(dedup_config.Config, (*_NEAR, "within", "keep", *_COMPONENTS)),
    "domain_score": Section(domain_score_config.Config, (*_SCORES, *_LIMITS)),
    "mask": Section(extract_config.Config, ()),
    "tokens": Section(token_count.Config, ("by", "tokenizer")),
    "funnel": Section(None, ("by",)),
}
"""What may stand in the file, below flags of the job. Each is a step, in this order; without it the step isn't done."""


class CurateFile:
    """A file as it was read.

    Args:
      path: on any filesystem that Beam knows.

    Attributes:
      flags: of the job, by name, as they are written on a command line.
      sections: of each step its keys, as its Config takes them.

    Raises:
      UsageError: it can't be read, or has what isn't known, or a value of a wrong type.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open_file(path) as file:
                self._text = bytes(file.read()).decode()
            told = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path} is no TOML: {error}") from error
        except (OSError, ValueError) as error:
            raise UsageError(f"--config={path}: {error}") from error
        self.flags = {
            key: _as_flag(value)
            for key, value in told.items()
            if key not in SECTIONS and self._is_flag(key, value)
        }
        self.sections = {name: self._section(name, told[name]) for name in SECTIONS if name in told}

    def at(self, section: str | None, key: str | None = None) -> str:
        """Where something stands, for messages: `corpus.toml, line 7, [near] bands`."""
        told = " ".join(filter(None, [f"[{section}]" if section else "", key or ""]))
        line = self._line(section, key)
        return ", ".join(filter(None, [self.path, f"line {line}" if line else "", told]))

    def _line(self, section: str | None, key: str | None) -> int | None:
        now = None
        for number, line in enumerate(self._text.splitlines(), 1):
            if header := re.match(r"\s*\[\s*\"?([\w-]+)\"?\s*\]", line):
                now = header[1]
                if key is None and now == section:
                    return number
            elif key is not None and now == section and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                return number
        return None

    def _is_flag(self, key: str, value: Any) -> bool:
        """True for anything that isn't a table: the job's own parser knows its flags."""
        if isinstance(value, dict):
            raise UsageError(
                f"{self.at(key)}: there is no such step; there are {', '.join(f'[{name}]' for name in SECTIONS)}"
            )
        return True

    def _section(self, name: str, told: Any) -> dict[str, Any]:
        known = SECTIONS[name]
        if not isinstance(told, dict):
            raise UsageError(
                f"{self.at(None, name)}: a step is a table: write [{name}], and its keys below it"
            )
        for key in told:
            if key not in known.keys:
                has = f"it has {', '.join(known.keys)}" if known.keys else "it has none"
                raise UsageError(f"{self.at(name, key)}: [{name}] has no such key; {has}")
        for field in fields(known.config) if known.config else ():
            if field.name in known.keys and field.default is MISSING and field.name not in told:
                raise UsageError(f"{self.at(name)}: [{name}] needs {field.name}: {field.metadata['help']}")
        return {key: self._value(name, key, value) for key, value in told.items()}

    def _value(self, section: str, key: str, value: Any) -> Any:
        config = SECTIONS[section].config
        try:
            if config is None:
                return _groups(value)
            hint = typing.get_type_hints(config)[key]
            field = next(field for field in fields(config) if field.name == key)
            return _converted(value, hint, field.metadata)
        except ValueError as error:
            raise UsageError(f"{self.at(section, key)}: {error}") from error


def _converted(value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    """A value of the file as a Config takes it."""
    kind = plain_type(hint)
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"a list of texts is needed, got {value!r}")
        return tuple(value)
    if metadata["unit"] == "bytes" and isinstance(value, str):
        return convert(value, hint, "bytes")
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool) == isinstance(
        value, bool
    )
    if not fits:
        raise ValueError(f"{wanted[kind]} is needed, got {value!r}")
    if metadata["choices"] and value not in metadata["choices"]:
        raise ValueError(f"one of {', '.join(metadata['choices'])} is needed, got {value!r}")
    return kind(value)


def _groups(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not set(map(str, value)) <= set(GROUPS):
        raise ValueError(f"a list out of {', '.join(GROUPS)} is needed, got {value!r}")
    return tuple(value)


def _as_flag(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_flag, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def with_file(argv: Sequence[str], config: type) -> list[str]:
    """A command line with the flags that its file names before its own, which win.

    Raises:
      UsageError: as CurateFile; or one of the file's isn't a flag of `config`.
    """
    given = list(argv)
    path = next((_path(given, place) for place in range(len(given)) if _is_config(given[place])), None)
    if path is None:
        return given
    file = CurateFile(path)
    names = {field.name for field in fields(config) if field.init and field.name != "config"}
    for key in file.flags:
        if key not in names:
            raise UsageError(
                f"{file.at(None, key)}: no such key. Above the steps there may be {', '.join(sorted(names))}"
            )
    return [*(f"--{key}={value}" for key, value in file.flags.items()), *given]


def _is_config(argument: str) -> bool:
    return argument == "--config" or argument.startswith("--config=")


def _path(argv: list[str], place: int) -> str | None:
    if "=" in argv[place]:
        return os.path.expanduser(argv[place].partition("=")[2])
    return argv[place + 1] if place + 1 < len(argv) else None
