"""What engines are compared on: corpora, and what each mode makes of them in process."""

import shutil
from functools import cache
from importlib import import_module
from pathlib import Path

from beam_etl.pipelines import dedup, inverted_index
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
        self.make = cache(self._make)

    def _corpus(self, name: str) -> Path:
        folder = self._folder / "corpora" / name.replace(" ", "-")
        if name == LARGE:
            corpora.multiply(list(corpora.read_lines(self._documents)), folder, LARGE_BYTES)
        else:
            corpora.deal(self._documents, folder, 6)
        return folder

    def _make(self, name: str, corpus: str) -> None:
        """What modes need besides a corpus, named {source}-NAME."""
        source = self.corpus(corpus)
        if name == "signatures":
            earlier = [f"--input={self._documents}", f"--output={source}-once"]
            assert dedup.run([*earlier, f"--write_signatures={source}-{name}"]) == 0
        elif name == "removals":
            assert dedup.run([f"--input={source}", f"--output={source}-{name}"]) == 0
        elif name == "tokenizer":
            vocabulary = self._documents.parents[1] / "tokens/gpt-neo-test-tokenizer.json"
            shutil.copy(vocabulary, f"{source}-{name}")
        elif name == "domains":
            large = corpus == LARGE
            documents = corpora.read_tables(source) if large else corpora.read_lines(self._documents)
            corpora.by_domain(documents, Path(f"{source}-{name}"), 4)
        else:
            assert inverted_index.run([f"--input={source}", f"--output={source}-index"]) == 0
            again = [f"--input={self._documents}", f"--output={source}-index-again"]
            assert inverted_index.run(again) == 0

    def arguments(self, mode: str, corpus: str, output: Path) -> list[str]:
        """Flags of a mode's job, of which all is there that it reads."""
        for name in MODES[mode].needs:
            self.make(name, corpus)
        return MODES[mode].arguments(self.corpus(corpus), output)

    def _expected(self, mode: str, source: str) -> list[Contents]:
        output = self._folder / f"expected-{list(MODES).index(mode)}-{len(source)}"
        job = import_module(f"beam_etl.pipelines.{MODES[mode].job}")
        assert job.run(self.arguments(mode, source, output)) == 0
        made = MODES[mode].published(output)
        assert all(any(found.told.values()) for found in made), f"{mode} of {source} has no rows"
        return made
