"""What engines are compared on: corpora, and what each mode makes of them in process."""

from functools import cache
from importlib import import_module
from pathlib import Path

from beam_etl.pipelines import dedup
from tests.engines import corpora
from tests.engines.digests import Contents
from tests.engines.modes import MODES

WEBTEXT = "webtext"
LARGE = "300 MB"
LARGE_BYTES = 300_000_000


class Bench:
    """Makes each corpus and each answer once.

    Args:
      documents: a compressed file of real ones.
      folder: for all that is made.
    """

    def __init__(self, documents: Path, folder: Path) -> None:
        self._documents = documents
        self._folder = folder
        self.corpus = cache(self._corpus)
        self.expected = cache(self._expected)

    def _corpus(self, name: str) -> Path:
        folder = self._folder / "corpora" / name.replace(" ", "-")
        if name == LARGE:
            corpora.multiply(list(corpora.read_lines(self._documents)), folder, LARGE_BYTES)
        else:
            corpora.deal(self._documents, folder, 6)
        earlier = [f"--input={self._documents}", f"--output={folder}-once"]
        assert dedup.run([*earlier, f"--write_signatures={folder}-earlier"]) == 0
        return folder

    def _expected(self, mode: str, source: str) -> list[Contents]:
        output = self._folder / f"expected-{list(MODES).index(mode)}-{len(source)}"
        job = import_module(f"beam_etl.pipelines.{MODES[mode].job}")
        assert job.run(MODES[mode].arguments(self.corpus(source), output)) == 0
        return MODES[mode].published(output)
