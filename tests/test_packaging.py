"""What is installed: the command, the package's files, the locks and the installer."""

import ast
import importlib
import importlib.metadata
import importlib.util
import json
import pkgutil
import re
import shutil
import stat
import subprocess
import sys
import types
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from beam_etl import __main__ as command
from beam_etl import pipelines
from beam_etl.pipelines import PIPELINES

REPOSITORY = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def python(*arguments: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_lists_every_pipeline_without_loading_beam() -> None:
    listed = python("-X", "importtime", "-m", "beam_etl")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()[2:]] == sorted(PIPELINES)
    assert "apache_beam" not in listed.stderr
    assert "pyarrow" not in listed.stderr


def test_the_list_names_every_pipeline_there_is() -> None:
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.iter_modules(pipelines.__path__, "beam_etl.pipelines.")
    ]
    assert sorted(PIPELINES) == [
        module.__name__.rpartition(".")[2] for module in modules if hasattr(module, "run")
    ]


def test_an_unknown_pipeline_is_a_usage_error_that_lists_those_there_are() -> None:
    asked = python("-m", "beam_etl", "tokencount", "--input=x")
    assert asked.returncode == 2
    assert "'tokencount'" in asked.stderr
    assert all(name in asked.stderr for name in PIPELINES)


def test_the_command_passes_the_flags_on_and_returns_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    pipeline = types.SimpleNamespace(run=lambda flags: given.append(flags) or 3)
    monkeypatch.setitem(sys.modules, "beam_etl.pipelines.sample", pipeline)
    monkeypatch.setattr(command, "PIPELINES", {"sample": "for this test"})
    assert command.main(["sample", "--input=a b", "--plan"]) == 3
    assert given == [["--input=a b", "--plan"]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as an installation would hold it, in lib/, and its metadata beside it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("setup.py", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(
        REPOSITORY / "beam_etl", source / "beam_etl", ignore=shutil.ignore_patterns("__pycache__")
    )
    build = python(
        "setup.py", "-q", "build", f"--build-base={target}", "egg_info", f"--egg-base={target}", folder=source
    )
    assert build.returncode == 0, build.stderr
    return target


def test_the_installed_package_holds_every_file_of_the_source(built: Path) -> None:
    def files(folder: Path) -> set[str]:
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if "__pycache__" not in path.parts}

    assert files(built / "lib" / "beam_etl") == files(REPOSITORY / "beam_etl")


def locked(name: str) -> list[Requirement]:
    """The lines of a lock that name a version."""
    lines = (REPOSITORY / "requirements" / name).read_text().splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]


def pins(requirements: list[Requirement], version: str) -> dict[str, Version]:
    """Package -> version that a lock installs on a Python of Linux."""
    target = {
        "python_version": version,
        "python_full_version": version + ".9",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    here = [found for found in requirements if found.marker is None or found.marker.evaluate(target)]
    return {found.name: Version(str(found.specifier).removeprefix("==")) for found in here}


def asked_for(built: Path, *extras: str) -> list[Requirement]:
    """What the package needs to run, and for some of its extras."""
    runtime, *others = (built / "beam_etl.egg-info" / "requires.txt").read_text().split("\n\n")
    lines = runtime.split()
    for extra in others:
        name, *more = extra.split()
        lines += more if name.strip("[]") in extras else []
    return [Requirement(line) for line in lines]


def imported_distributions(*folders: str) -> set[str]:
    """Names of the distributions that the modules below some folders import, wherever they do."""
    providers = importlib.metadata.packages_distributions()
    files = [file for folder in folders for file in (REPOSITORY / folder).rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    found = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"beam_etl", "tests"}
    return {providers[name][0].lower().replace("_", "-") for name in found & providers.keys()}


knows_distributions = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Python 3.10 finds few of the distributions that modules come from"
)
IMPORTS = {
    "the package": (("beam_etl",), ("tokens", "kafka", "warc", "aws")),
    "its tests": (("beam_etl", "tests"), ("dev",)),
}


@knows_distributions
@pytest.mark.parametrize(("folders", "extras"), IMPORTS.values(), ids=IMPORTS)
def test_every_library_that_is_imported_is_asked_for(
    built: Path, folders: tuple[str, ...], extras: tuple[str, ...]
) -> None:
    imported = imported_distributions(*folders)
    assert {"apache-beam", "tiktoken"} <= imported
    assert imported <= {requirement.name for requirement in asked_for(built, *extras)}


@knows_distributions
def test_every_library_that_is_asked_for_is_imported(built: Path) -> None:
    assert {requirement.name for requirement in asked_for(built)} <= imported_distributions("beam_etl")


@pytest.mark.parametrize("version", PYTHONS)
def test_the_locks_satisfy_what_the_package_asks_for(built: Path, version: str) -> None:
    image = asked_for(built, "tokens", "kafka", "warc", "gcp")
    for lock, wanted in (
        ("demo.txt", asked_for(built)),
        ("dev.txt", asked_for(built, "dev")),
        ("dataflow.txt", image),
    ):
        found = pins(locked(lock), version)
        for requirement in wanted:
            assert requirement.specifier.contains(found[requirement.name]), (lock, requirement)


@pytest.mark.parametrize("version", PYTHONS)
def test_the_demo_installs_versions_that_the_tests_run_with(version: str) -> None:
    demo, dev = (pins(locked(lock), version) for lock in ("demo.txt", "dev.txt"))
    assert demo.items() < dev.items()


@pytest.mark.parametrize("version", PYTHONS)
def test_the_image_has_the_versions_that_the_tests_run_with(version: str) -> None:
    image, dev = (pins(locked(lock), version) for lock in ("dataflow.txt", "dev.txt"))
    shared = image.keys() & dev.keys()
    assert {"apache-beam", "pyarrow", "numba", "tiktoken"} <= shared
    assert {name: image[name] for name in shared} == {name: dev[name] for name in shared}


@pytest.mark.parametrize("lock", ["demo.txt", "dev.txt", "dataflow.txt", "tools.txt"])
def test_every_line_of_a_lock_has_a_hash_and_none_an_address(lock: str) -> None:
    text = (REPOSITORY / "requirements" / lock).read_text()
    packages = re.findall(r"^\w.*(?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+$", text, flags=re.MULTILINE)
    assert len(packages) == len(locked(lock))
    assert "://" not in text
    assert "index-url" not in text


SUPPORTED = {"version": [3, 12, 1], "path": "/opt/python", "venv": True, "cpython": True, "bits": 64}
REFUSED = {
    "too old": ({"version": [3, 9, 18]}, "needs 64-bit CPython 3.10 to 3.13; found 3.9.18 (/opt/python)"),
    "too new": ({"version": [3, 99, 0]}, "needs 64-bit CPython 3.10 to 3.13; found 3.99.0 (/opt/python)"),
    "not CPython": ({"cpython": False}, "found 3.12.1 (/opt/python, not CPython)"),
    "32 bits": ({"bits": 32}, "found 3.12.1 (/opt/python, 32 bits)"),
    "no venv": ({"venv": False}, "sudo apt-get install python3.12-venv"),
}


def interpreter(folder: Path, says: dict[str, object]) -> Path:
    """A program that answers the installer's question as another Python would."""
    program = folder / "python3"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(says)}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.mark.parametrize(("differs", "sentence"), REFUSED.values(), ids=REFUSED)
def test_an_unfit_python_ends_in_a_sentence(
    tmp_path: Path, differs: dict[str, object], sentence: str
) -> None:
    shutil.copytree(REPOSITORY / "requirements", tmp_path / "requirements")
    shutil.copy(REPOSITORY / "setup.py", tmp_path)
    unfit = interpreter(tmp_path, {**SUPPORTED, **differs})
    asked = python("requirements/install.py", "demo", f"--python={unfit}", folder=tmp_path)
    assert asked.returncode == 1
    assert sentence in asked.stderr
    assert "Traceback" not in asked.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.fixture
def installer() -> types.ModuleType:
    """requirements/install.py as a module."""
    spec = importlib.util.spec_from_file_location("install", REPOSITORY / "requirements" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_full_disk_ends_in_a_sentence(installer: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=100 << 20))
    with pytest.raises(installer.SetupError, match=r"100 MB are free, \d+ MB are needed"):
        installer.check_disk("demo")


def test_an_environment_without_pip_is_made_anew_without_a_word(
    installer: types.ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    venv.create(tmp_path / ".venv", with_pip=False)
    monkeypatch.setattr(installer, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(installer, "VENV_PYTHON", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setattr(installer, "STAMP", str(tmp_path / ".venv" / "installed.json"))
    installer.make_venv(installer.probe(sys.executable), "demo")
    assert installer.has_pip()
    assert capfd.readouterr() == ("", "")


def test_the_installer_can_be_read_by_the_pythons_that_it_refuses() -> None:
    ast.parse((REPOSITORY / "requirements" / "install.py").read_text(), feature_version=(3, 6))
