"""The file tree of the image that templates/Dockerfile makes, built from its own lines without a container engine.

Each stage has a folder in place of its root. COPY and ENV are carried out, RUN lines are run with the image's paths led
into that folder. What comes out of other images, Beam's boot and Google's launcher, isn't there: tests stand in for it,
and the Python that runs the tests for the base image's.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "templates" / "Dockerfile"

SKIPPED = "compileall"
"""In a RUN line that makes starts faster and changes nothing else; here it takes half a minute."""

_ABSOLUTE = re.compile(r"(?:(?<=[\s=:])|^)/(?=\w)")


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile, continued ones joined."""

    word: str
    rest: str


@dataclass
class Stage:
    """What a stage holds."""

    base: str
    root: Path
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    """Paths that come from other images -> those."""
    entrypoint: str = ""

    def path(self, inside: str) -> Path:
        """Where a path of the image is, which may be relative to its working folder."""
        return self.root / os.path.join(self.folder, inside).lstrip("/")


@dataclass(frozen=True)
class Image:
    """The last stage, as containers of it would be started."""

    root: Path
    environment: Mapping[str, str]
    """What its ENV lines set, with paths led into the tree."""
    foreign: Mapping[str, str]
    entrypoint: str

    @property
    def python(self) -> Path:
        """What `python` means in it."""
        found = shutil.which("python", path=self.environment["PATH"])
        assert found is not None
        return Path(found)

    @property
    def launched(self) -> Path:
        """What the launcher runs."""
        return Path(self.environment["FLEX_TEMPLATE_PYTHON_PY_FILE"])


def instructions(text: str) -> list[Instruction]:
    """The lines of a Dockerfile."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in joined]


def build(folder: Path, arguments: Mapping[str, str], text: str | None = None) -> Image:
    """Builds the tree.

    Args:
      folder: for the stages.
      arguments: build arguments.
      text: of another Dockerfile than the project's.
    """
    stages: dict[str, Stage] = {}
    given = dict(arguments)
    stage = Stage("", folder)
    for line in instructions(DOCKERFILE.read_text() if text is None else text):
        if line.word == "FROM":
            base, _, name = line.rest.partition(" AS ")
            stage = Stage(base, folder / f"stage-{len(stages)}", environment={"PATH": os.defpath})
            stage.root.mkdir(parents=True)
            stages[name or "last"] = stage
        elif line.word == "ARG":
            given.setdefault(line.rest, "")
        elif line.word == "WORKDIR":
            stage.folder = line.rest
            stage.path("").mkdir(parents=True, exist_ok=True)
        elif line.word == "ENV":
            name, value = line.rest.split("=", maxsplit=1)
            stage.environment[name] = _expanded(_led(value, stage.root), {**given, **stage.environment})
        elif line.word == "COPY":
            _copy(line.rest.split(), stage, stages)
        elif line.word == "RUN":
            _run(line.rest, stage)
        else:
            assert line.word == "ENTRYPOINT", line
            (stage.entrypoint,) = re.findall(r'^\["([^"]+)"\]$', line.rest)
    return Image(stage.root, stage.environment, stage.foreign, stage.entrypoint)


def _led(text: str, root: Path) -> str:
    """Absolute paths of the image as those of its folder."""
    return _ABSOLUTE.sub(f"{root}/", text)


def _expanded(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], text)


def _copy(words: list[str], stage: Stage, stages: Mapping[str, Stage]) -> None:
    origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
    *sources, target = words
    if origin is not None and origin not in stages:
        stage.foreign[target] = origin
        return
    for source in sources:
        found = REPOSITORY / source if origin is None else stages[origin].path(source)
        if origin is None:
            assert is_sent(source), f"{source} is kept from the build by .dockerignore"
        into = stage.path(target)
        if found.is_dir():
            ignored = shutil.ignore_patterns("__pycache__") if origin is None else None
            linked = os.link if origin else shutil.copy2  # a stage's files are nobody else's
            shutil.copytree(found, into, ignore=ignored, copy_function=linked, symlinks=True)
        else:
            at = into / found.name if target.endswith("/") or len(sources) > 1 else into
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, at)


def is_sent(source: str) -> bool:
    """Whether .dockerignore, which lists what is kept, leaves a file or folder to the build."""
    kept = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    return any(source == path or source.startswith(f"{path}/") for path in kept)


def _run(command: str, stage: Stage) -> None:
    if SKIPPED in command:
        return
    words = shlex.split(_led(command, stage.root))
    if words[0] == "python":
        words[0] = getattr(sys, "_base_executable", sys.executable)
    ran = subprocess.run(
        words,
        cwd=stage.path(""),
        env=dict(_environment()),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"RUN {command}\n{ran.stdout}"


PATIENCE = {
    "PIP_RETRIES": "10",
    "PIP_DEFAULT_TIMEOUT": "60",
    "UV_HTTP_RETRIES": "10",
    "UV_HTTP_TIMEOUT": "60",
}
"""Of pip and uv with an index that doesn't answer: times, and seconds."""


def _environment() -> Iterator[tuple[str, str]]:
    """Of this machine, where packages come from, and nothing of the environment that the tests run in."""
    for name, value in (PATIENCE | os.environ).items():
        if not name.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV", "FLEX_", "BEAM_")):
            yield name, value
