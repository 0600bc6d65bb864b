"""The tables that the tests of engines make: digests, kills, memory. Printed at the end, and kept as Markdown.

pytest tests/engines --flink=long --flink_report=FILE.md
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.engines.digests import Contents
from tests.markdown import table

DIGESTS = ("job", "input", "engine", "tasks, workers", "rows", "digest", "in process", "s")
KILLS = (
    "killed",
    "when",
    "workers",
    "job",
    "s",
    "s undisturbed",
    "rows lost",
    "rows doubled",
    "read again",
    "restarts",
)
STREAMS = (
    "input",
    "killed",
    "documents in",
    "out",
    "lost",
    "doubled",
    "restarts",
    "s",
)
MEMORY = ("job", "cluster", "most memory of each process, MiB")


@dataclass
class Report:
    """What was found, a row a run.

    Args:
      asked: whether anybody reads it.
    """

    asked: bool = False
    digests: list[tuple[str, ...]] = field(default_factory=list)
    kills: list[tuple[str, ...]] = field(default_factory=list)
    streams: list[tuple[str, ...]] = field(default_factory=list)
    memories: list[tuple[str, ...]] = field(default_factory=list)

    def digest(
        self,
        what: tuple[str, str, str, str],
        there: Sequence[Contents],
        here: Sequence[Contents],
        seconds: float,
    ) -> None:
        """A run on an engine beside the one in process; `what` are the first of DIGESTS."""
        rows = sum(sum(some.told.values()) for some in there)
        mine, theirs = (" ".join(some.digest for some in found) for found in (there, here))
        same = "equal" if mine == theirs else theirs
        self.digests.append((*what, f"{rows:,}", mine, same, f"{seconds:.0f}"))

    def kill(self, *row: object) -> None:
        """A disturbed run: values in the order of KILLS."""
        assert len(row) == len(KILLS)
        self.kills.append(_cells(row))

    def stream(self, *row: object) -> None:
        """A disturbed stream: values in the order of STREAMS."""
        assert len(row) == len(STREAMS)
        self.streams.append(_cells(row))

    def memory(self, job: str, memory: str, peaks: Mapping[str, int]) -> None:
        """What processes of a cluster occupied at most."""
        told = ", ".join(f"{name} {size:,}" for name, size in sorted(peaks.items()))
        self.memories.append((job, memory, told))

    def tables(self) -> Iterator[str]:
        for columns, rows in (
            (DIGESTS, self.digests),
            (KILLS, self.kills),
            (STREAMS, self.streams),
            (MEMORY, self.memories),
        ):
            if rows:
                yield table(columns, rows)


def _cells(row: Sequence[object]) -> tuple[str, ...]:
    """Numbers with separators, and seconds without fractions."""
    return tuple(f"{value:,.0f}" if isinstance(value, int | float) else str(value) for value in row)


_REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """Where tests write what they found."""
    asked = pytestconfig.getoption("--flink") == "long" or bool(pytestconfig.getoption("--flink_report"))
    return pytestconfig.stash.setdefault(_REPORT, Report(asked))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--flink",
        default="short",
        choices=("short", "long"),
        help="long: every engine, fault and size; an hour",
    )
    parser.addoption(
        "--flink_report", metavar="FILE", help="write the tables of engines and kills as Markdown"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--flink", "short") == "long":
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tables = list(config.stash.get(_REPORT, Report()).tables())
    if config.getoption("--flink", "short") == "long":
        for table in tables:
            terminalreporter.write_line(f"\n{table}")
    if path := config.getoption("--flink_report", None):
        Path(path).write_text("\n\n".join(tables) + "\n", encoding="utf-8")
