"""The tables that tests of faults make: kills, and what else went wrong. Kept in a page of Markdown.

    pytest ... --fault_report=PAGE

What stands between `<!-- kills -->` and `<!-- /kills -->`, and so for the others, is replaced; people write the rest.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.markdown import table

KILLS = ("on", "job", "killed", "a reader saw", "after another run", "`clean` removed")
RESUMES = ("job", "killed", "a reader saw", "`--resume=true` took over", "after it")
FAULTS = ("on", "what went wrong", "times", "what was found")

LOCAL = "local files"
OLD, NEW, NOTHING = "the old version", "the new version", "no dataset"
"""What a reader sees, whole."""

EQUAL = "equal"
"""Rows by digest, to those of a run that nothing happened to."""

MOMENTS = "at {} random moments"


@dataclass
class FaultReport:
    """What was found."""

    kills: list[tuple[str, ...]] = field(default_factory=list)
    moments: dict[tuple[str, str], Counter[tuple[str, str, int]]] = field(default_factory=dict)
    faults: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    resumes: list[tuple[str, ...]] = field(default_factory=list)

    def kill(self, on: str, job: str, when: str, saw: str, again: str, removed: int) -> None:
        """A process that was killed.

        Args:
          on: what holds the dataset: LOCAL, s3://, gs://.
          job: what it did, and to what.
          when: the step.
          saw: OLD, NEW or NOTHING.
          again: EQUAL.
          removed: files that were left behind.
        """
        self.kills.append((on, job, when, saw, again, _files(removed)))

    def moment(self, on: str, job: str, saw: str, again: str, removed: int) -> None:
        """The same for a process that was killed at any moment: they are one row."""
        self.moments.setdefault((on, job), Counter())[saw, again, removed] += 1

    def resume(self, job: str, when: str, saw: str, taken: Sequence[str], again: str) -> None:
        """A process that was killed, and one that went on. Args as for `kill`; taken: what the second one took over."""
        self.resumes.append((job, when, saw, " and ".join(taken) or "nothing", again))

    def fault(self, on: str, what: str, times: int, found: str) -> None:
        """Something else that went wrong, so many times, with the same outcome."""
        self.faults[on, what, found] += times

    def tables(self) -> Iterator[tuple[str, str]]:
        """The tables that have rows, by name."""
        kills = [*self.kills, *self._moments()]
        faults = [(on, what, f"{times:,}", found) for (on, what, found), times in self.faults.items()]
        made = {
            "kills": (KILLS, kills),
            "resumes": (RESUMES, self.resumes),
            "faults": (FAULTS, faults),
        }
        for name, (columns, rows) in made.items():
            if rows:
                yield name, table(columns, rows)

    def _moments(self) -> Iterator[tuple[str, ...]]:
        for (on, job), found in self.moments.items():
            saw, again = Counter[str](), Counter[str]()
            for (seen, equal, _), times in found.items():
                saw[seen] += times
                again[equal] += times
            left = [removed for _, _, removed in found]
            told = ", ".join(f"{name} {times} times" for name, times in sorted(saw.items()))
            equals = ", ".join(f"{name} {times} times" for name, times in sorted(again.items()))
            files = f"{min(left)} to {max(left)} files"
            yield on, job, MOMENTS.format(found.total()), told, equals, files


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def put(page: Path, name: str, made: str) -> None:
    """Puts a table into its place in a page, or behind it where there is none."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    if between.search(text):
        text = between.sub(lambda _: f"{made}\n", text)
    else:
        text += f"<!-- {name} -->\n{made}\n<!-- /{name} -->\n"
    page.write_text(text, encoding="utf-8")


_REPORT = pytest.StashKey[FaultReport]()
_OPTION = "--fault_report"


@pytest.fixture(scope="session")
def faults(pytestconfig: pytest.Config) -> FaultReport:
    """Where tests write what they found."""
    return pytestconfig.stash.setdefault(_REPORT, FaultReport())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_OPTION, metavar="PAGE", help="write the tables of faults into this page of Markdown")


def pytest_terminal_summary(config: pytest.Config) -> None:
    if page := config.getoption(_OPTION):
        for name, made in config.stash.get(_REPORT, FaultReport()).tables():
            put(Path(page), name, made)
