"""templates/Dockerfile: what it stands on, and the tree that its own lines make."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from beam_etl.templates.__main__ import main
from beam_etl.templates.launch import IMAGE
from tests.templates.conftest import NAME
from tests.templates.image import DOCKERFILE, REPOSITORY, Image, instructions

TEXT = DOCKERFILE.read_text()
LINES = instructions(TEXT)


def test_every_image_that_it_stands_on_has_a_version() -> None:
    stages = {line.rest.partition(" AS ")[2] for line in LINES if line.word == "FROM"}
    used = [line.rest.partition(" AS ")[0] for line in LINES if line.word == "FROM"]
    used += [
        found for line in LINES if line.word == "COPY" for found in re.findall(r"--from=(\S+)", line.rest)
    ]
    foreign = [name for name in used if name not in stages]
    assert len(foreign) == 4
    assert all(re.search(r":.*\d", name) for name in foreign)


def test_boot_and_packages_are_of_one_version_of_beam_and_of_python() -> None:
    locked = (REPOSITORY / "requirements/dataflow.txt").read_text()
    beam = re.search(r"^apache-beam==(\S+)", locked, re.MULTILINE)
    assert beam
    python = {tuple(found) for found in re.findall(r"python:?(\d)\.?(\d\d)[._\-t]", TEXT)}
    assert f"apache/beam_python3.11_sdk:{beam[1]} " in TEXT
    assert python == {("3", "11")}


def test_packages_are_installed_with_hashes_and_none_when_a_worker_starts() -> None:
    installs = [line.rest for line in LINES if line.word == "RUN" and " install " in line.rest]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or line.endswith("--no-deps .")
    assert "ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in TEXT
    assert not re.search(r"FLEX_TEMPLATE_PYTHON_(REQUIREMENTS|SETUP)_FILE", TEXT)


@pytest.mark.slow
def test_launcher_and_workers_find_what_they_start_with(image: Image) -> None:
    assert image.foreign[image.entrypoint.removesuffix("/boot")].startswith("apache/beam_python3.11_sdk:")
    assert "/opt/google/dataflow/python_template_launcher" in image.foreign
    assert image.launched.is_file()
    assert image.python.is_relative_to(image.root)
    assert image.environment[IMAGE] == NAME


@pytest.mark.slow
def test_the_tree_has_the_versions_of_the_lock_and_nothing_else(image: Image) -> None:
    told = subprocess.run(
        [
            str(image.python),
            "-c",
            "import importlib.metadata as m\nfor d in m.distributions(): print(d.name, d.version)",
        ],
        env={},
        cwd=image.root,
        capture_output=True,
        text=True,
        check=True,
    )
    installed = {tuple(line.split()) for line in told.stdout.splitlines()}
    lock = (REPOSITORY / "requirements/dataflow.txt").read_text()
    locked = set(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE))
    names = {re.sub(r"[-_.]+", "-", name).lower() for name, _ in installed} - {"beam-etl"}
    assert {(re.sub(r"[-_.]+", "-", n).lower(), v) for n, v in installed if n != "beam-etl"} <= locked
    assert {
        "apache-beam",
        "google-cloud-storage",
        "obstore",
        "confluent-kafka",
        "tiktoken",
        "fastwarc",
    } <= names


READ = """
import json, pathlib, sys
from google.cloud.dataflow_v1beta3 import ContainerSpec
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    spec = ContainerSpec.from_json(path.read_text(), ignore_unknown_fields=False)
    told = [path.stem, spec.image, spec.sdk_info.language.name, spec.metadata.streaming]
    parameters = spec.metadata.parameters
    told.append([[each.name, each.param_type.name, len(each.enum_options)] for each in parameters])
    print(json.dumps(told))
"""


@pytest.mark.slow
def test_googles_own_client_reads_every_template(image: Image, tmp_path: Path) -> None:
    main([f"--output={tmp_path}", f"--image={NAME}"])
    read = subprocess.run(
        [str(image.python), "-c", READ, str(tmp_path)],
        env={},
        cwd=image.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert read.returncode == 0, read.stderr
    told = {name: rest for name, *rest in map(json.loads, read.stdout.splitlines())}
    for path in tmp_path.iterdir():
        metadata = json.loads(path.read_text())["metadata"]
        parameters = [
            [each["name"], each["paramType"], len(each.get("enumOptions", ()))]
            for each in metadata["parameters"]
        ]
        assert told[path.stem] == [NAME, "PYTHON", metadata["streaming"], parameters]
