"""Token ids that are replaced by a process which is killed: the old shards are there whole, or the new ones."""

import contextlib
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from beam_etl.io import manifest
from beam_etl.io.stores import store_of
from beam_etl.pipelines import clean, tokenize, verify
from tests.appends import ended
from tests.cloud import CLOUDS, in_environment
from tests.killed_jobs import arm
from tests.kills import forked
from tests.places import PLACES
from tests.vocabularies import SMALL

OLD, NEW = 60, 90
"""Documents."""

Step = tuple[str, str, str, int, bool]

STEPS: dict[str, tuple[Step, int]] = {
    "while ids are written": (("beam_etl.io.data_files", "HashedFile.write", "", 2, False), OLD),
    "between ids and their index": (("beam_etl.io.write_tokens", "_WriteShard._index", "", 1, False), OLD),
    "before the manifest": (("beam_etl.io.publishing", "publish", "", 0, False), OLD),
    "after the manifest": (("beam_etl.io.publishing", "publish", "", 0, True), NEW),
}


def tokenized(folder: str, documents: int, output: str) -> int:
    """Runs the job over so many documents in silence; its exit code."""
    Path(folder).mkdir(exist_ok=True)
    lines = (f'{{"id": "d{number}", "text": "{"the cat " * number}"}}\n' for number in range(documents))
    (Path(folder) / f"{documents}.jsonl").write_text("".join(lines))
    (Path(folder) / "small.json").write_text(json.dumps(SMALL))
    flags = [f"--input={folder}/{documents}.jsonl", f"--output={output}", "--overwrite=true"]
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return tokenize.run([*flags, f"--tokenizer=hf:{folder}/small.json", "--shards=3"])


def replaced_and_killed(folder: str, outputs: Mapping[str, str]) -> None:
    """In the output of each step old ids, and a job that replaces them and is killed."""
    for name, output in outputs.items():
        step, _ = STEPS[name]
        assert ended(forked(lambda output=output: tokenized(folder, OLD, output))) == 0  # type: ignore[misc]

        def replacing(output: str = output, step: Step = step) -> None:
            arm(*step)
            tokenized(folder, NEW, output)

        assert ended(forked(replacing)) == -signal.SIGKILL


@contextlib.contextmanager
def place(kind: str, folder: Path) -> Iterator[str]:
    """Where outputs are."""
    if kind == "local":
        yield str(folder)
        return
    with CLOUDS[kind]() as made, in_environment(made) as cloud:
        yield f"{cloud.root}/killed"


def ids(output: str) -> list[bytes]:
    """Of each shard, by number; each with its index."""
    found = manifest.latest(output)
    assert found is not None
    return [
        store_of(output).read(f"{output}/{path}") for path in sorted(f.path for f in found.table("tokens"))
    ]


CASES = [
    pytest.param("local", ["between ids and their index"], id="local, one step"),
    *(pytest.param(kind, list(STEPS), id=kind, marks=pytest.mark.long) for kind in PLACES),
]


@pytest.mark.parametrize(("kind", "steps"), CASES)
def test_shards_are_the_old_ones_or_the_new_ones(kind: str, steps: Sequence[str], tmp_path: Path) -> None:
    folder = str(tmp_path / "in")
    with place(kind, tmp_path / "out") as root:
        whole = {}
        for documents in (OLD, NEW):
            assert tokenized(folder, documents, f"{root}/{documents}") == 0
            whole[documents] = ids(f"{root}/{documents}")
        outputs = {name: f"{root}/killed-{number}" for number, name in enumerate(steps)}
        process = multiprocessing.get_context("spawn").Process(
            target=replaced_and_killed, args=(folder, outputs)
        )
        process.start()
        process.join()
        assert process.exitcode == 0
        for name, output in outputs.items():
            assert ids(output) == whole[STEPS[name][1]], name
            assert verify.run([output]) == 0, name
            assert tokenized(folder, NEW, output) == 0
            assert ids(output) == whole[NEW], name
            assert clean.run([output, "--idle_hours=0"]) == 0
            there = {found.path for found in store_of(output).files(f"{output}/tokens")}
            listed = manifest.latest(output).table("tokens")  # type: ignore[union-attr]
            assert there == {f"{output}/{file.path}" for file in listed}, name
