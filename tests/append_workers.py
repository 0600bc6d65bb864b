"""What processes of their own do that add to a dataset. It imports no Beam: they start many times."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from beam_etl.io import manifest
from beam_etl.io.commit import PUBLISHED, settle
from tests.appends import BASE, append_to, ended, forked, killing
from tests.attempts import RUN, stage


def make(dataset: Path) -> manifest.Manifest:
    """A dataset of one version."""
    assert settle(str(dataset), stage(dataset, BASE, 1), []) == PUBLISHED
    return manifest.version(str(dataset), 1)


STEPS = {
    "before it is decided": ("create_if_absent", 0),
    "before its first file is in place": ("link", 1),
    "between two files": ("link", 3),
    "before its version is prepared": ("create_if_absent", 1),
    "before the manifest": ("link", 7),
    "after the manifest": ("sync_folder", 4),
    "before its staging folder goes": ("rename", 0),
    "while its staging folder goes": ("unlink", 7),
    "while the folder is emptied": ("rmdir", 1),
}
BEFORE = 5
"""So many of these come before the manifest."""


def killed_at_each(root: str) -> None:
    for number, (name, call) in enumerate(STEPS.values()):
        dataset = Path(root) / str(number)
        base, prepare = make(dataset), killing(name, call)

        def dying(dataset: Path = dataset, base: Any = base, prepare: Any = prepare) -> str:
            prepare()
            return append_to(dataset, RUN, base)

        assert ended(forked(dying)) == -signal.SIGKILL


def killed_at_moments(root: str, seeds: range) -> None:
    """Appends that are killed at a moment that a seed makes, in as long as a whole one takes."""
    start = time.monotonic()
    make(Path(root) / "whole")
    append_to(Path(root) / "whole", RUN, manifest.version(f"{root}/whole", 1))
    whole = time.monotonic() - start
    for seed in seeds:
        dataset = Path(root) / str(seed)
        base = make(dataset)
        process = forked(lambda dataset=dataset, base=base: append_to(dataset, RUN, base))  # type: ignore[misc]
        time.sleep(random.Random(seed).random() * whole)
        os.kill(process, signal.SIGKILL)
        ended(process)


def two_at_once(folder: str, rounds: int) -> None:
    dataset = Path(folder)
    for number in range(rounds):
        base = manifest.latest(folder)
        begin, start = os.pipe()

        def waiting(run: str, base: Any = base, begin: int = begin, start: int = start) -> str:
            os.close(start)
            os.read(begin, 1)  # until the other end is closed
            return append_to(dataset, run, base)

        both = [forked(lambda run=f"{kind}{number:011x}": waiting(run)) for kind in "ab"]  # type: ignore[misc]
        os.close(start)
        os.close(begin)
        assert [ended(process) for process in both] == [0, 0]


def adding(folder: str, count: int, first: Any) -> None:
    for number in range(count):
        assert append_to(Path(folder), f"a{number:011x}", manifest.latest(folder)) == PUBLISHED
        first.wait()
