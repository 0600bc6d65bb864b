"""What the service and its console know of a template: `TemplateMetadata` of Dataflow's REST interface (v1b3).

It is made of the pipeline's own flags: names, help, defaults and choices stand there only.
"""

import dataclasses
import importlib
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from beam_etl.pipelines import PIPELINES
from beam_etl.pipelines.flags import FILE, FOLDER, plain_type
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.stream_config import SCHEMES, STREAM_FLAGS, SUBSCRIPTION, StreamConfig
from beam_etl.pipelines.window_config import WINDOW_FLAGS, WindowConfig
from beam_etl.templates.launch import PIPELINE

OF_LAUNCHER = ("runner", "plan", "cluster", "prices", "force", "report")
"""Flags about the machine that launches, or for plans, which a template doesn't make."""

OF_BATCH = ("overwrite", "keep_versions", "strict", "format", "stream_splits")
"""Flags of input that ends, and of streams that are made of files."""

WINDOWS_OF_BATCH = ("window", "window_offset")

TOPIC = r"kafka://[^/\s]+/[A-Za-z0-9._-]{1,249}"

_OBJECT = r"gs://[^,\s][^,]*"
_LISTED = rf"([0-9]+:|@)?{_OBJECT}"
"""A file, a list of files, or a schema with its number."""


@dataclass(frozen=True)
class Template:
    """A pipeline that can be started from the console.

    Attributes:
      job: the pipeline.
      source: `pubsub` or `kafka` for a stream; empty for files.
    """

    job: Job[Any]
    source: str = ""

    @property
    def name(self) -> str:
        """Of its files."""
        return "_".join(filter(None, (self.job.name, self.source)))

    def fields(self) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
        """The flags that are its parameters, each with its type."""
        hints = typing.get_type_hints(self.job.config)
        for field in dataclasses.fields(self.job.config):
            if field.init and field.name not in self._left_out():
                yield field, plain_type(hints[field.name])

    def _left_out(self) -> set[str]:
        of_streams = set(StreamConfig.__annotations__)
        if not self.source:
            return {*OF_LAUNCHER, *of_streams, *(set(WINDOW_FLAGS) - set(WINDOWS_OF_BATCH))}
        others = {
            name
            for name in of_streams - set(STREAM_FLAGS)
            if name != "avro_schema" and not name.startswith(self.source)
        }
        return {*OF_LAUNCHER, *OF_BATCH, *others, *self.job.config.WITHOUT_WINDOWS}


_SOURCES = {"pubsub": "Pub/Sub", "kafka": "Kafka"}


def templates() -> list[Template]:
    """Each pipeline that is a Beam job, and once more for each source of those that take streams."""
    found = []
    for name in sorted(PIPELINES):
        job = getattr(importlib.import_module(f"beam_etl.pipelines.{name}"), "JOB", None)
        if job is None:
            continue
        found.append(Template(job))
        if issubclass(job.config, WindowConfig):
            found += [Template(job, source) for source in _SOURCES]
    return found


def metadata(template: Template) -> dict[str, Any]:
    """What the service and its console know of a template, as JSON."""
    job, source = template.job, _SOURCES.get(template.source)
    told: dict[str, Any] = {
        "name": f"beam_etl {job.name}" + (f" from {source}" if source else ""),
        "description": job.summary + (f" Of a stream from {source}, window by window." if source else ""),
        "streaming": source is not None,
    }
    if source:  # what is counted twice would be wrong
        told |= {"supportsExactlyOnce": True, "supportsAtLeastOnce": False}
    return told | {
        "parameters": [_which(job.name), *(_parameter(template, *each) for each in template.fields())]
    }


def _which(name: str) -> dict[str, Any]:
    return {
        "name": PIPELINE,
        "label": "Pipeline",
        "helpText": "What the template starts; it stays as it is.",
        "isOptional": False,
        **_choice((name,)),
        "defaultValue": name,
    }


def _parameter(template: Template, field: dataclasses.Field[Any], kind: Any) -> dict[str, Any]:
    name = field.metadata["name"] or field.name
    told: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": _help(field),
        "isOptional": field.default is not dataclasses.MISSING,
        **_kind(field, kind),
    }
    if template.source and field.name == "input":
        told |= _stream_input(template.source)
    if template.source and field.name == "window":
        told |= {"isOptional": False, "regexes": ["^(fixed|sliding):.+$"]}
    if default := _default(field.default):
        told["defaultValue"] = default
    elif told["isOptional"] and told["paramType"] in ("BOOLEAN", "ENUM", "NUMBER"):
        told["paramType"] = "TEXT"  # the console would fill in false, the first one or 0
        if options := told.pop("enumOptions", None):
            told["helpText"] += f": {', '.join(option['value'] for option in options)}"
    return told


def _stream_input(source: str) -> dict[str, Any]:
    if source == "pubsub":
        return {
            "helpText": "The Pub/Sub subscription to read, projects/PROJECT/subscriptions/NAME",
            "paramType": "PUBSUB_SUBSCRIPTION",
            "regexes": [f"^({SCHEMES[source]})?{SUBSCRIPTION.pattern}$"],
        }
    return {
        "helpText": "The Kafka topic to read, kafka://HOST:PORT[,HOST:PORT]/TOPIC",
        "paramType": "TEXT",
        "regexes": [f"^{TOPIC}$"],
    }


def _help(field: dataclasses.Field[Any]) -> str:
    text: str = field.metadata["help"]
    unit = field.metadata["unit"]
    return text[0].upper() + text[1:] + (f" ({unit})" if unit not in ("", FILE, FOLDER) else "")


def _kind(field: dataclasses.Field[Any], kind: Any) -> Mapping[str, Any]:
    """ParamType and regexes, and the options of a choice."""
    many, unit = typing.get_origin(kind) is tuple, field.metadata["unit"]
    if choices := field.metadata["choices"]:
        return _choice(choices)
    if unit == FOLDER:
        writes = field.name == "output" or field.name.startswith("write_")
        pattern = rf"{_OBJECT}(,{_OBJECT})*" if many else _OBJECT
        return {"paramType": "GCS_WRITE_FOLDER" if writes else "GCS_READ_FOLDER", "regexes": [f"^{pattern}$"]}
    if unit == FILE:
        pattern = rf"{_LISTED}(,{_LISTED})*" if many else _OBJECT
        return {"paramType": "GCS_READ_FILE", "regexes": [f"^{pattern}$"]}
    if unit == "bytes":
        return {"paramType": "TEXT", "regexes": [r"^[0-9.]+ *([kKmMgG][iI]?[bB]|[tT][bB])?$"]}
    if kind is bool:
        return {"paramType": "BOOLEAN", "regexes": ["^(true|false)$"]}
    if kind is int:
        return {"paramType": "NUMBER", "regexes": ["^-?[0-9]+$"]}
    if kind is float:
        return {"paramType": "NUMBER", "regexes": [r"^-?[0-9]*[.]?[0-9]+([eE]-?[0-9]+)?$"]}
    return {"paramType": "TEXT"}


def _choice(values: tuple[str, ...]) -> dict[str, Any]:
    return {
        "paramType": "ENUM",
        "enumOptions": [{"value": value, "label": value} for value in values],
        "regexes": [f"^({'|'.join(map(re.escape, values))})$"],
    }


def _default(value: Any) -> str:
    """A default as a user would write it; empty where there is none."""
    if value is dataclasses.MISSING or value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
