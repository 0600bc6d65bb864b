"""The jars of Flink and of Beam's job server: downloaded once, by Maven, into the user's cache."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

JAVA_VERSIONS = (11, 17)
"""Which Flink 1.19 supports; with later ones parts of it fail."""

_SOURCES = Path(__file__).parent / "java"
_OURS = "beam-etl.jar"
_UNFINISHED = "unfinished-"
_HOW = (
    "Debian and Ubuntu: sudo apt-get install openjdk-17-jdk-headless maven; macOS: brew install openjdk@17 maven. "
    "JAVA_HOME=PATH names a JDK."
)
_PROGRESS_SECONDS = 5

Say = Callable[[str], None]
Complete = Callable[["Java", Path, Path], None]
"""Java, a folder to work in, and the folder of jars."""


class SetupError(RuntimeError):
    """Something that the person at the terminal can mend; the message says how."""


@dataclass(frozen=True)
class Java:
    """A JDK."""

    home: Path
    version: int

    def tool(self, name: str) -> str:
        return str(self.home / "bin" / name)


@dataclass(frozen=True)
class Jars:
    """What a Java process of the cluster needs."""

    java: str
    """Path of the command."""
    class_path: str


def cache_folder() -> Path:
    """Where the user's caches of Flink are: $XDG_CACHE_HOME or ~/.cache, beam_etl/flink.

    Raises:
      SetupError: neither is set, and the system knows no home of this user, as in many containers.
    """
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise SetupError("this user has no home directory: set XDG_CACHE_HOME=PATH") from error
    return Path(cache).absolute() / "beam_etl" / "flink"


def install(say: Say) -> Jars:
    """The jars, downloaded first where the cache lacks them.

    Raises:
      SetupError: no suitable Java, no Maven, or a download that failed. The cache then is as it was.
    """
    java = find_java()
    folder = fetch(java, _SOURCES / "pom.xml", "Flink", say, _compile)
    jars = sorted(path for path in folder.glob("*.jar") if path.name != _OURS)
    return Jars(java.tool("java"), os.pathsep.join(map(str, [folder / _OURS, *jars])))


def fetch(java: Java, pom: Path, what: str, say: Say, complete: Complete | None = None) -> Path:
    """The folder of the cache with the jars that a pom names, downloaded first where the cache lacks them.

    Args:
      java: for Maven.
      pom: has the jars as runtime dependencies, and as properties the version of `what`, and that of Beam if it has it.
      what: they are, for people.
      say: told of progress.
      complete: adds to the jars before they count as there.

    Raises:
      SetupError: no Maven, or a download that failed. The cache then is as it was.
    """
    folder = cache_folder() / f"jars-{_versions(pom, what)}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / "jars.lock", say):
            if not folder.is_dir():
                _build(java, pom, what, folder, say, complete)
    return folder


def find_java() -> Java:
    """The first suitable JDK of $JAVA_HOME, the PATH and the places where systems install them.

    Raises:
      SetupError: there is none. The message says what was found instead.
    """
    found = []
    for home in _homes():
        version = _java_version(home)
        if version in JAVA_VERSIONS and (home / "bin/javac").exists():
            return Java(home, version)
        if version:
            found.append(
                f"{version} at {home}{'' if (home / 'bin/javac').exists() else ' (no JDK: no javac)'}"
            )
    wanted = " or ".join(map(str, JAVA_VERSIONS))
    raise SetupError(f"Flink needs a JDK {wanted}; found: {', '.join(found) or 'no Java'}. {_HOW}")


def _homes() -> Iterator[Path]:
    if named := os.environ.get("JAVA_HOME"):
        yield Path(named)
    for command in ("javac", "java"):
        if on_path := shutil.which(command):
            yield Path(on_path).resolve().parents[1]
    for pattern in (
        "/usr/lib/jvm/*",
        "/opt/homebrew/opt/openjdk@*",
        "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    ):
        yield from sorted(Path("/").glob(pattern[1:]))


def _java_version(home: Path) -> int:
    """The feature version of a Java; 0 when there is none that runs."""
    try:
        ran = subprocess.run([home / "bin/java", "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', ran.stderr)
    return int(found[1]) if found else 0


def _versions(pom: Path, what: str) -> str:
    """Names what the folder holds; another pom, or another source beside it, is another folder."""
    tree, names = ElementTree.parse(pom), (what.lower(), "beam")
    told = {name: tree.findtext(f"properties/{name}.version") for name in names}
    versions = [f"{name}{version}" for name, version in told.items() if version]
    digest = hashlib.sha256()
    for path in sorted(pom.parent.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return "-".join([*versions, digest.hexdigest()[:8]])


@contextlib.contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that downloads jars")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(java: Java, pom: Path, what: str, folder: Path, say: Say, complete: Complete | None) -> None:
    for killed in folder.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(killed, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_UNFINISHED) as unfinished:
        jars = Path(unfinished) / "jars"
        _download(java, pom, what, Path(unfinished), say)
        if complete is not None:
            complete(java, Path(unfinished) / "classes", jars)
        jars.rename(folder)


def _download(java: Java, pom: Path, what: str, work: Path, say: Say) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(f"{what}'s jars are downloaded by Maven, and there is no mvn. {_HOW}")
    say(f"downloading {what} and what it needs with Maven, once: up to 300 MB")
    shutil.copy(pom, work)
    command = [
        maven,
        "-B",
        "-f",
        str(work / "pom.xml"),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={work / 'jars'}",
    ]
    with (work / "maven.log").open("w+") as log:
        environment = {**os.environ, "JAVA_HOME": str(java.home)}
        with subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=work
        ) as running:
            _tell(running, work / "maven.log", say)
        if running.returncode:
            log.seek(0)
            raise SetupError(f"Maven could not download {what}:\n{_errors(log.read())}")


def _tell(running: "subprocess.Popen[bytes]", log: Path, say: Say) -> None:
    """Says from time to time how many jars there are, until Maven ends; ends it when interrupted."""
    told, count = time.monotonic(), 0
    try:
        while running.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told, before = time.monotonic(), count
                count = len(re.findall(r"Downloaded from .*\.jar ", log.read_text(errors="replace")))
                if count > before:
                    say(f"downloading: {count} jars so far")
    except BaseException:
        running.terminate()
        running.wait()
        raise


def _errors(output: str) -> str:
    """Maven's own words for what went wrong, without its advice on how to run it."""
    lines = [
        line.removeprefix("[ERROR]").strip() for line in output.splitlines() if line.startswith("[ERROR]")
    ]
    useful = [
        line
        for line in lines
        if line and "[Help " not in line[:7] and not line.startswith(("To see", "Re-run", "For more"))
    ]
    return "\n".join(dict.fromkeys(useful)) or output[-2000:]


def _compile(java: Java, classes: Path, jars: Path) -> None:
    """Our own classes, and those of Beam that they change, as a jar beside the others."""
    libraries = os.path.join(jars, "*")
    sources = sorted(map(str, _SOURCES.glob("*.java")))
    _run(java.tool("javac"), "--release", "11", "-cp", libraries, "-d", str(classes), *sources)
    _run(java.tool("java"), "-cp", f"{classes}{os.pathsep}{libraries}", "beametl.RewriteBeam", str(classes))
    with zipfile.ZipFile(jars / _OURS, "w") as jar:
        for path in sorted(classes.rglob("*.class")):
            jar.write(path, path.relative_to(classes))


def _run(*command: str) -> None:
    ran: Sequence[str] = command
    done = subprocess.run(ran, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{Path(command[0]).name} failed:\n{done.stderr}")
