"""The folder of a cluster: what was started there, one command in it at a time, and its removal."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from beam_etl.engines.flink import jars, processes
from beam_etl.engines.flink.processes import Process
from beam_etl.engines.flink.settings import Plan

FILE = "cluster.json"
_UNFINISHED = f"{FILE}.new"
_MADE = ("artifacts", "conf", "log", "state", "tmp")
_SEPARATORS = ",:|"


class ClusterError(RuntimeError):
    """A cluster can't be started, or isn't in the state that a command needs. The message says what to do."""


@dataclass(frozen=True)
class Record:
    """What was started. Written after each process, so that a command that is killed leaves none unknown."""

    plan: Plan
    processes: tuple[Process, ...]
    ready: bool = False

    def dead(self) -> list[str]:
        """Names of the processes that ended."""
        return [process.name for process in self.processes if not process.alive()]


def place(folder: str | None) -> str:
    """The absolute path of a cluster's folder.

    Raises:
      ClusterError: Flink would take it for several paths, or it holds what no cluster made. A `log` may be anybody's:
        it takes a record, or processes that run there.
    """
    path = Path(folder).absolute() if folder else jars.cache_folder() / "cluster"
    if any(mark in str(path) for mark in _SEPARATORS):
        raise ClusterError(
            f"{path}: Flink would take it for several paths; use one without {' '.join(_SEPARATORS)}"
        )
    if path.exists() and not (path.is_dir() and _is_ours(path)):
        raise ClusterError(f"{path} holds other files: name a new or an empty folder with --folder=PATH")
    return str(path)


def _is_ours(path: Path) -> bool:
    names = set(os.listdir(path))
    if FILE in names or processes.marked(str(path)):
        return names <= {FILE, _UNFINISHED, *_MADE}
    return names <= {_UNFINISHED}


def read(folder: str) -> Record | None:
    """What was started in a folder; None when nothing was.

    Raises:
      ClusterError: the record is damaged, or of another version of beam_etl.
    """
    path = Path(folder, FILE)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        started = tuple(Process(**process) for process in stored["processes"])
        return Record(Plan(**stored["plan"]), started, stored["ready"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(
            f"{path} is damaged, or was written by another version of beam_etl, which can stop what it started "
            f"({type(error).__name__}: {error}). If nothing of it runs any more, remove the folder."
        ) from error


def write(record: Record) -> None:
    """Replaces the record of a folder in one step."""
    path = record.plan.path(FILE)
    unfinished = record.plan.path(_UNFINISHED)
    unfinished.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    unfinished.replace(path)


def remove(folder: str) -> None:
    """Removes what a cluster made, the record last. The lock that is held removes the folder."""
    for name in _MADE:
        shutil.rmtree(Path(folder, name), ignore_errors=True)
    for name in (_UNFINISHED, FILE):
        Path(folder, name).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: str, say: jars.Say) -> Iterator[None]:
    """While inside, no other command starts or stops a cluster in this folder, which is there while it isn't empty."""
    descriptor = _lock(folder, say)
    try:
        yield
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def _lock(folder: str, say: jars.Say) -> int:
    while True:
        # Shuffles and staged files are nobody else's business.
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another command that starts or stops the cluster in {folder}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Whoever held it may have removed the folder: the lock of what is gone keeps nobody out.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
        os.close(descriptor)
