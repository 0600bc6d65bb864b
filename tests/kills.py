"""Processes that are killed while they replace a dataset, in a folder and in object stores; and the table of them.

`python -m tests.kills PAGE N` kills whole jobs, at each step and at N moments, and puts the table into docs/faults.md.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io import manifest
from beam_etl.io.commit import PUBLISHED
from beam_etl.io.stores import objects, store_of
from tests.appends import ended
from tests.attempts import OTHER, RUN
from tests.faults import put
from tests.places import PLACES, attempt

assert objects  # is imported before a process forks, and unused before


class Step(NamedTuple):
    """Before or after a call of a store's method, for a file whose path ends so."""

    method: str
    ends: str = ""
    is_after: bool = False
    once: str = ""
    """Only behind a call of this method."""


STEPS = {
    "before its first file": Step("open_new"),
    "while a file is written": Step("open_new", is_after=True),
    "before it is decided": Step("create", "outcome.json"),
    "after it was decided": Step("create", "outcome.json", is_after=True),
    "before the manifest": Step("publish"),
    "after the manifest": Step("publish", is_after=True),
    "before what it replaced is removed": Step("remove", once="publish"),
    "after something was removed": Step("remove", is_after=True, once="publish"),
}
"""Of a run that replaces a version, in their order."""

PUBLISHED_FROM = list(STEPS).index("after the manifest")


def forked(work: Callable[[], object]) -> int:
    """A process of its own, which has failed where `work` gives something that is true. Only of one without threads."""
    process = os.fork()
    if not process:
        failed = True
        try:
            failed = bool(work())
        finally:
            os._exit(failed)
    return process


def dying(dataset: str, step: Step) -> None:
    """This process is killed at a step of what follows."""
    kind: Any = type(store_of(dataset))
    called = {name: getattr(kind, name) for name in {step.method, step.once} if name}
    seen: list[str] = []

    def watching(name: str) -> Callable[..., Any]:
        def call(self: Any, *arguments: Any) -> Any:
            is_it = (
                name == step.method
                and str(arguments[-1 if name == "publish" else 0]).endswith(step.ends)
                and (not step.once or step.once in seen)
            )
            if is_it and not step.is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            found = called[name](self, *arguments)
            seen.append(name)
            if is_it:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return call

    for name in called:
        setattr(kind, name, watching(name))


def killed_attempts(datasets: Sequence[str]) -> None:
    """In each dataset a version of RUN, and OTHER that replaces it and is killed at a step: in processes that fork."""
    for dataset, step in zip(datasets, STEPS.values(), strict=True):
        assert ended(forked(lambda dataset=dataset: attempt(dataset, RUN) != PUBLISHED)) == 0  # type: ignore[misc]

        def replacing(dataset: str = dataset, step: Step = step) -> None:
            base = manifest.latest(dataset)
            dying(dataset, step)
            attempt(dataset, OTHER, base)

        assert ended(forked(replacing)) == -signal.SIGKILL


_COUNT = ("--by=domain", "--overwrite=true")


def _job(source: str, output: str) -> int:
    from beam_etl.pipelines import token_count

    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return token_count.run([f"--input={source}", f"--output={output}", *_COUNT])


def _digest(output: str) -> str:
    """Of the rows of a dataset, in any order."""
    found, rows = manifest.latest(output), []
    for file in found.files if found else ():
        table = pq.read_table(pa.BufferReader(store_of(output).read(f"{output}/{file.path}")))
        rows += [f"{file.table} {json.dumps(row, default=str)}" for row in table.to_pylist()]
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:12] if rows else "nothing"


def _told(work: Callable[[], str]) -> str:
    """What a process of its own finds out: this one must not use a store, since it forks."""
    reading, writing = os.pipe()

    def telling() -> None:
        os.write(writing, work().encode())

    assert ended(forked(telling)) == 0
    os.close(writing)
    with open(reading, encoding="utf-8") as told:
        return told.read()


def _input(folder: str, seed: int) -> None:
    choice = random.Random(seed)
    words = ["grid", "lamp", "stone", "river", "cloud", "paper", "glass", "north"]
    rows = [
        {
            "id": str(number),
            "url": f"https://a{number % 9}.example/",
            "text": " ".join(choice.choices(words, k=50)),
        }
        for number in range(300)
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    store_of(folder).make_folder(folder)
    store_of(folder).write(f"{folder}/a.parquet", sink.getvalue().to_pybytes())


def _row(root: str, name: str, kill: Callable[[str], None], names: dict[str, str]) -> tuple[str, ...]:
    """The moment, what a reader saw, the re-run's digest, and whether anything was left."""
    from beam_etl.pipelines import clean, verify

    output = os.path.join(root, re.sub(r"\W+", "-", name))
    assert ended(forked(partial(_job, f"{root}/old", output))) == 0
    kill(output)
    saw = names[_told(lambda: _digest(output))]
    assert ended(forked(partial(_job, f"{root}/new", output))) == 0
    again = _told(lambda: _digest(output))

    def checked() -> str:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = clean.run([output, "--idle_hours=0"]) or verify.run([output])
        listed = {f"{output}/{file.path}" for file in manifest.latest(output).files}  # type: ignore[union-attr]
        tables = {found.path for found in store_of(output).files(output)} - {
            found.path for found in store_of(output).files(f"{output}/_manifests")
        }
        return "nothing" if not code and listed == tables else f"{sorted(tables ^ listed)} {said.getvalue()}"

    return (
        name,
        saw,
        f"{again}, {'equal' if names.get(again) == 'the new one' else 'DIFFERENT'}",
        _told(checked),
    )


def _rows_of_table(root: str, moments: int) -> Iterator[tuple[str, ...]]:
    for name, seed in (("old", 1), ("new", 2)):
        assert ended(forked(partial(_input, f"{root}/{name}", seed))) == 0
    names = {"nothing": "nothing"}
    for name in ("old", "new"):
        start = time.monotonic()
        assert ended(forked(partial(_job, f"{root}/{name}", f"{root}/whole-{name}"))) == 0
        whole = time.monotonic() - start
        names[_told(lambda name=name: _digest(f"{root}/whole-{name}"))] = f"the {name} one"  # type: ignore[misc]

    def at_step(output: str, step: Step) -> None:
        def work() -> None:
            dying(output, step)
            _job(f"{root}/new", output)

        assert ended(forked(work)) == -signal.SIGKILL

    def at_moment(output: str, seconds: float) -> None:
        process = forked(partial(_job, f"{root}/new", output))
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        ended(process)

    for name, step in STEPS.items():
        yield _row(root, name, partial(at_step, step=step), names)
    choice = random.Random(9)
    for number in range(moments):
        part = choice.random()
        kill = partial(at_moment, seconds=part * whole)
        yield _row(root, f"moment {number + 1}, at {part:.0%}", kill, names)


@contextlib.contextmanager
def _root(kind: str) -> Iterator[str]:
    """Where datasets of a kind are; object stores are served by a process of their own."""
    if kind == "local":
        with tempfile.TemporaryDirectory() as folder:
            yield folder
        return
    command = [sys.executable, "-m", "tests.cloud", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        os.environ.update(json.loads(server.stdout.readline()))
        try:
            yield f"{kind}://bucket"
        finally:
            server.stdin.close()


def table(moments: int) -> Iterator[str]:
    """The lines of the table, in Markdown: whole jobs in all three places."""
    yield "| where | killed | a reader saw | digest of the re-run | left after `clean` |"
    yield "|---|---|---|---|---|"
    for kind in PLACES:
        with _root(kind) as root:
            for row in _rows_of_table(root, moments):
                yield f"| {' | '.join((kind, *row))} |"


if __name__ == "__main__":
    from beam_etl.pipelines import clean, token_count, verify

    assert all((clean, token_count, verify))  # are imported before a process forks
    put(Path(sys.argv[1]), "stores", "\n".join(table(int(sys.argv[2]))))
