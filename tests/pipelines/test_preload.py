"""What workers of a pool find loaded."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PRELOAD = """
import sys
from beam_etl.pipelines.preload import pieces

names = set(pieces())
assert names >= {"beam_etl.io.read", "beam_etl.transforms.shuffle", "beam_etl.pipelines.dedup"}, names
loaded = set(sys.modules)
import beam_etl
from beam_etl.pipelines import PIPELINES
for name in beam_etl.__all__:
    getattr(beam_etl, name)
for name in PIPELINES:
    __import__(f"beam_etl.pipelines.{name}")
print(sorted(set(sys.modules) - loaded))
"""


def test_the_public_names_and_pipelines_need_no_more_modules() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELOAD], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
