"""What the demos share: commands that are shown and run, and tables as text."""

import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

COLUMNS_SHOWN = 5


def run(*arguments: str) -> None:
    """Runs this Python on `arguments`, shown first; ends the demo when it fails."""
    print("\n$", shlex.join([Path(sys.executable).name, *arguments]), flush=True)
    code = subprocess.run([sys.executable, *arguments], check=False).returncode
    if code:
        sys.exit(code)


def cell(value: object) -> str:
    """A value as a person reads it."""
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.1f}"
        if isinstance(value, float)
        else str(value)
    )


def show(table: pa.Table) -> None:
    """The table as aligned text."""
    names = table.column_names[:COLUMNS_SHOWN]
    rows = [names, *([cell(row[name]) for name in names] for row in table.to_pylist())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))
