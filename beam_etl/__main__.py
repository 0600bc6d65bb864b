"""`python -m beam_etl PIPELINE --flag=value ...`, also `beam-etl`: runs a pipeline; alone it lists them."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from beam_etl.pipelines import PIPELINES

USAGE = 2
"""Exit code of a command line that means nothing."""


def list_pipelines(file: TextIO) -> None:
    """Prints each pipeline with its line."""
    width = max(map(len, PIPELINES))
    print(
        "usage: beam-etl PIPELINE --flag=value ...   (beam-etl PIPELINE --help lists its flags)\n", file=file
    )
    for name, summary in sorted(PIPELINES.items()):
        print(f"  {name:{width}}  {summary}", file=file)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the pipeline that the first argument names with the others as its flags; returns its exit code."""
    name, *flags = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        list_pipelines(sys.stdout)
        return 0
    if name not in PIPELINES:
        print(f"no pipeline {name!r}", file=sys.stderr)
        list_pipelines(sys.stderr)
        return USAGE
    run: Callable[[Sequence[str] | None], int] = importlib.import_module(f"beam_etl.pipelines.{name}").run
    if argv is not None:
        return run(flags)
    sys.argv[1:] = flags
    return run(None)


if __name__ == "__main__":
    sys.exit(main())
