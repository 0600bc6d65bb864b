"""Files that ask for more than there is: all of them in one process, which stays small, and tells what each gave."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bombs import BOMBS

MOST_BYTES, MOST_SECONDS = 2 << 30, 30

_READ = """
import json, signal, sys, time
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import is_content_error
from beam_etl.io.files import match_files
from beam_etl.io.formats import format_of
from beam_etl.io.splits import plan_splits, read_split

def read(path, columns):
    file, known = match_files(path)[0], format_of(path)
    try:
        known.schema(path)
    except Exception as error:
        if not is_content_error(error):
            raise
    documents, reasons = 0, []
    for split in plan_splits(file, known, 16 << 20):
        for found in read_split(split, known, columns):
            if hasattr(found, "reason"):
                reasons.append(found.reason)
            else:
                documents += found.num_rows
    return documents, reasons

for path in sys.argv[2:]:
    signal.setitimer(signal.ITIMER_PROF, int(sys.argv[1]))  # of CPU: others may work on the machine
    start = time.monotonic()
    text = read(path, Columns())
    everything = read(path, Columns(needed=(), carry=ALL))
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) << 10  # ru_maxrss has the parent's
    print(json.dumps([path, text, everything, peak, time.monotonic() - start]), flush=True)
"""


SLOW = "gzip, 1 GB of blank lines"
"""A third of the time of all."""


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What reading each bomb came to, of those that are asked for."""
    asked = {test.callspec.params.get("what") for test in request.session.items if hasattr(test, "callspec")}
    names = {}
    for number, (what, (name, make)) in enumerate(BOMBS.items()):
        if what not in asked:
            continue
        folder = tmp_path_factory.mktemp(f"bomb{number}")
        (folder / name).write_bytes(make())
        names[str(folder / name)] = what
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _READ, str(MOST_SECONDS), *names],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {names[path]: rest for path, *rest in map(json.loads, done.stdout.splitlines())}
    missing = [what for what in names.values() if what not in found]
    assert done.returncode == 0, f"{missing[:1]} ended the process ({done.returncode}): {done.stderr[-2000:]}"
    return found


DOCUMENTS = {"parquet, a text of 1 MB 500 times": 500}
"""What isn't too much, and gives its documents."""

NOTHING = {"gzip, 100,000 empty members"}
"""What has no record, and nothing that can't be read."""


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[pytest.mark.long] * (what == SLOW)) for what in BOMBS]
)
def test_a_bomb_is_read_in_bounded_memory_and_told(what: str, told: dict[str, Any]) -> None:
    (documents, reasons), (more, others), peak, _ = told[what]
    assert peak < MOST_BYTES
    assert documents == DOCUMENTS.get(what, documents if what.startswith("json") else 0)
    assert bool(reasons) != (what in DOCUMENTS or what in NOTHING or documents > 0)
    assert more + len(others) > 0 or what in NOTHING
