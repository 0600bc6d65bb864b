"""templates/metadata: the files are what the flags say, and the flags take what the files say."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from beam_etl.pipelines import flags
from beam_etl.templates.__main__ import METADATA, main
from beam_etl.templates.launch import PIPELINE
from beam_etl.templates.metadata import OF_BATCH, OF_LAUNCHER, Template, templates
from tests.templates.image import REPOSITORY
from tests.templates.parameters import REQUIRED

TEMPLATES = {template.name: template for template in templates()}
FILES = {path.stem: json.loads(path.read_text()) for path in (REPOSITORY / METADATA).glob("*.json")}

READ = {"curate": {"config": str(REPOSITORY / "examples/texts.toml")}}
"""Instead of files in a store that a Config reads."""

VALUES = {
    "BOOLEAN": ["true", "false"],
    "NUMBER": ["3"],
    "GCS_READ_FILE": ["gs://bucket/in/*.parquet", "gs://bucket/a.jsonl,gs://bucket/b.jsonl"],
    "GCS_READ_FOLDER": ["gs://bucket/folder"],
    "GCS_WRITE_FOLDER": ["gs://bucket/folder"],
    "PUBSUB_SUBSCRIPTION": ["projects/p/subscriptions/s", "pubsub://projects/p/subscriptions/s"],
    "TEXT": ["a", "64MiB", "kafka://broker:9092/topic", "fixed:10m", "3", "true", "ms", "parquet"],
}
"""Some that users write, by paramType."""


def test_files_are_what_the_flags_say(tmp_path: Path) -> None:
    main([f"--output={tmp_path}"])
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in (REPOSITORY / METADATA).iterdir()}
    assert made == committed, "write them anew: python -m beam_etl.templates"


def test_a_template_is_the_image_and_the_metadata(tmp_path: Path) -> None:
    main([f"--output={tmp_path}", "--image=a.example/image:1"])
    told = json.loads((tmp_path / "dedup.json").read_text())
    assert told == {
        "image": "a.example/image:1",
        "sdkInfo": {"language": "PYTHON"},
        "metadata": FILES["dedup"],
    }


def accepted(parameter: dict[str, Any]) -> list[str]:
    """Values that the service would take."""
    values = [option["value"] for option in parameter.get("enumOptions", ())] or VALUES[
        parameter["paramType"]
    ]
    return [
        value for value in values if all(re.search(regex, value) for regex in parameter.get("regexes", ()))
    ]


@pytest.mark.parametrize("name", FILES)
def test_every_parameter_is_a_flag_that_takes_what_the_service_takes(name: str) -> None:
    template = TEMPLATES[name]
    parser = flags.parser(template.job.config, name, "")
    needed = [f"--{parameter}={value}" for parameter, value in REQUIRED[name].items()]
    for parameter in FILES[name]["parameters"][1:]:
        values = (
            accepted(parameter) if parameter.get("regexes") or parameter["paramType"] != "TEXT" else ["a"]
        )
        assert values, parameter
        for value in values:
            _, rest = parser.parse_known_args([*needed, f"--{parameter['name']}={value}"])
            assert not rest


@pytest.mark.parametrize("name", FILES)
def test_the_console_fills_in_nothing_that_is_not_a_default(name: str) -> None:
    for parameter in FILES[name]["parameters"]:
        filled_in = parameter["paramType"] in ("BOOLEAN", "ENUM", "NUMBER")
        assert not (filled_in and parameter["isOptional"]) or "defaultValue" in parameter, parameter


def config(template: Template, parameters: dict[str, str]) -> Any:
    made, rest = flags.parse(
        template.job.config, [f"--{name}={value}" for name, value in parameters.items()], template.name, ""
    )
    assert not rest
    return dataclasses.replace(made)


@pytest.mark.parametrize("name", FILES)
def test_defaults_are_those_of_the_flags(name: str) -> None:
    parameters = FILES[name]["parameters"][1:]
    needed = {**REQUIRED[name], **READ.get(name, {})}
    assert {parameter["name"] for parameter in parameters if not parameter["isOptional"]} == set(needed)
    told = {
        parameter["name"]: parameter["defaultValue"]
        for parameter in parameters
        if "defaultValue" in parameter
    }
    assert told
    assert config(TEMPLATES[name], {**told, **needed}) == config(TEMPLATES[name], needed)


@pytest.mark.parametrize("name", FILES)
def test_the_service_takes_the_values_that_are_needed(name: str) -> None:
    regexes = {parameter["name"]: parameter.get("regexes", []) for parameter in FILES[name]["parameters"]}
    for parameter, value in REQUIRED[name].items():
        assert all(re.search(regex, value) for regex in regexes[parameter]), (parameter, value)


@pytest.mark.parametrize("name", FILES)
def test_values_that_can_only_be_wrong_are_refused_by_the_service(name: str) -> None:
    for parameter in FILES[name]["parameters"]:
        wrong = {"BOOLEAN": "yes", "NUMBER": "many", "ENUM": "no such", "TEXT": None}.get(
            parameter["paramType"], "/home/folder"
        )
        if wrong is not None:
            assert not all(re.search(regex, wrong) for regex in parameter["regexes"]), parameter


def test_every_stream_and_every_batch_job_has_one() -> None:
    assert set(FILES) == set(TEMPLATES) == set(REQUIRED)
    streams = {name for name, told in FILES.items() if told["streaming"]}
    assert streams == {name for name in FILES if name.endswith(("_pubsub", "_kafka"))}
    assert {name.rpartition("_")[0] for name in streams} == {
        "dedup",
        "domain_score",
        "inverted_index",
        "token_count",
    }
    for name in streams:
        assert FILES[name]["supportsExactlyOnce"]
        assert not FILES[name]["supportsAtLeastOnce"]
    for name, told in FILES.items():
        assert told["parameters"][0]["name"] == PIPELINE
        assert told["parameters"][0]["defaultValue"] == TEMPLATES[name].job.name


def test_what_is_left_out_are_flags() -> None:
    names = {
        field.name for template in TEMPLATES.values() for field in dataclasses.fields(template.job.config)
    }
    assert {*OF_LAUNCHER, *OF_BATCH} <= names
    about_plans = {
        field.name
        for template in TEMPLATES.values()
        for field in dataclasses.fields(template.job.config)
        if field.init and field.metadata["help"].startswith("with --plan")
    }
    assert about_plans <= set(OF_LAUNCHER)
