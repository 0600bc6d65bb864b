"""What the examples of partitions share: a job with its bill before it, and the rows that it wrote."""

import argparse
import contextlib
import importlib
import io
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import pyarrow as pa
import pyarrow.dataset as ds


def folders(about: str, output: str) -> tuple[Path, Path]:
    """The documents to read, and an empty folder for everything else, from the command line."""
    parser = argparse.ArgumentParser(description=about)
    documents = "made by examples/demo_documents.py, or others in Parquet (default: %(default)s)"
    parser.add_argument("--documents", type=Path, default=Path("demo/documents"), help=documents)
    parser.add_argument("--output", type=Path, default=Path(output), help="folder (default: %(default)s)")
    given = parser.parse_args()
    if not given.documents.is_dir():
        sys.exit(f"No documents in {given.documents}: run examples/demo_documents.py first, or name others.")
    return given.documents, given.output


def launch(pipeline: str, *flags: str) -> int:
    """Runs a job, after a line with its flags and one with its shuffles; ends the example when it fails.

    Returns:
      How many shuffles it has.
    """
    print(f"\n$ beam-etl {pipeline} {' '.join(flags)}", flush=True)
    run = importlib.import_module(f"beam_etl.pipelines.{pipeline}").run
    with contextlib.redirect_stdout(io.StringIO()) as planned:
        code = run([*flags, "--plan=json"])
    if code:
        sys.exit(code)
    shuffles = json.loads(planned.getvalue())["shuffles"]
    keys = "; ".join(f"by {', '.join(one['by']) or 'nothing'}" for one in shuffles)
    print(f"plan: {len(shuffles)} shuffle{'' if len(shuffles) == 1 else 's'}{f' ({keys})' if keys else ''}")
    if code := run(list(flags)):
        sys.exit(code)
    return len(shuffles)


def rows(dataset: Path, table: str, *columns: str) -> pa.Table:
    """The rows of a table in the order of these columns, which are those that it has then."""
    found = ds.dataset(dataset / table, format="parquet", exclude_invalid_files=False)
    return found.to_table(columns=list(columns)).sort_by([(name, "ascending") for name in columns])


def check(what: str, holds: bool) -> None:
    """Says whether something is so; ends the example where it isn't."""
    print(f"{what}: {'yes' if holds else 'NO'}", flush=True)
    if not holds:
        sys.exit(1)
