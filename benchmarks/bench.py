"""What the benchmarks of all pipelines share: their command line, commands, tables, and the cases each one has."""

import argparse
import compileall
import dataclasses
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import beam_etl
from benchmarks.measure import Measured, measure

PEERS = Path(__file__).parent / "peers"
SIZES = ("0.25gb", "1gb", "2gb")
"""Corpora that growth is measured on."""

Row = tuple[str, Measured, str]


@dataclass(frozen=True)
class Bench:
    """Where things are, and how often to run them. A benchmark's own options are further fields."""

    corpora: Path
    peers: Path
    runs: int
    work: Path

    def job(self, pipeline: str, source: Path, *flags: str, output: str = "ours") -> list[str]:
        """One of our pipelines, on a folder, into a folder of `work`."""
        given = [f"--input={source}", f"--output={self.work / output}", "--overwrite=true", *flags]
        return [sys.executable, "-m", f"beam_etl.pipelines.{pipeline}", *given]

    def peer(self, script: str, *arguments: object) -> list[str]:
        """A script of benchmarks/peers, in the peers' environment."""
        return [str(self.peers / "bin" / "python"), str(PEERS / script), *map(str, arguments)]

    def floor(self, source: Path, columns: Sequence[str]) -> Measured:
        """Every row group read and written again, by one process."""
        with tempfile.TemporaryDirectory(dir=self.work) as output:
            return measure(self.peer("floor.py", source, ",".join(columns), output), self.runs)


Kind = TypeVar("Kind", bound=Bench)
Cases = Mapping[str, Callable[[Kind], Iterator[Row]]]


def growth_rows(name: str, found: Mapping[str, Measured]) -> Iterator[Row]:
    """A row a corpus of SIZES, and what the second GB costs beside the first, fixed cost aside."""
    for corpus in SIZES:
        yield f"{name}, {corpus}", found[corpus], ""
    quarter, one, two = (found[corpus].seconds for corpus in SIZES)
    ratio = (two - one) / ((one - quarter) / 0.75)
    yield "marginal: T(2) - T(1) over (T(1) - T(0.25)) / 0.75", found["2gb"], f"{ratio:.2f}"


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | seconds | peak memory | |", "|---|---:|---:|---|"]
    for name, measured, note in rows:
        lines.append(f"| {name} | {measured.seconds:.2f} | {measured.peak_bytes / 1e9:.2f} GB | {note} |")
    return "\n".join(lines)


def parser(about: str | None, cases: Sequence[str]) -> argparse.ArgumentParser:
    """The flags that every benchmark has."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--corpora", type=Path, required=True)
    made.add_argument("--peers", type=Path, required=True)
    made.add_argument("--runs", type=int, default=3)
    made.add_argument("--cases", default=",".join(cases))
    return made


def run(kind: type[Kind], cases: Cases[Kind], given: argparse.Namespace) -> None:
    """Runs the cases that were asked for, and prints a table of each."""
    compileall.compile_dir(
        Path(beam_etl.__file__).parent, quiet=1
    )  # as the peers were when they were installed
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    options = {
        field.name: getattr(given, field.name) for field in dataclasses.fields(kind) if field.name != "work"
    }
    with tempfile.TemporaryDirectory() as work:
        bench = kind(work=Path(work), **options)
        for name in given.cases.split(","):
            print(f"### {name}: {cases[name].__doc__}\n\n{table(list(cases[name](bench)))}\n", flush=True)
