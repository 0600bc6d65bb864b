"""`python -m beam_etl.pipelines.decontaminate`: documents without what evaluation sets have."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import apache_beam as beam

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.evaluations import COLUMN, evaluations_in
from beam_etl.io.file_source import FileSource
from beam_etl.kernels.contamination import ACTIONS, REMOVE
from beam_etl.kernels.evaluations import MAX_NGRAM, NGRAM, Evaluations
from beam_etl.pipelines.as_stored import as_stored
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import FILE, flag
from beam_etl.pipelines.job import Job
from beam_etl.transforms.decontaminate import Decontaminate


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    """What can be asked of the job."""

    evaluations: tuple[str, ...] = flag(
        "evaluation sets: a file, folder, glob or @list.txt each, of any format that is read; all workers read them",
        unit=FILE,
    )
    evaluation_column: str = flag("the column of their texts", default=COLUMN)
    ngram: int = flag("words that a document and a set have to share", default=NGRAM, unit="words")
    action: str = flag("remove such documents, or mask these words", default=REMOVE, choices=ACTIONS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.evaluations:
            raise ValueError("--evaluations needs one set at least")
        if not 1 <= self.ngram <= MAX_NGRAM:
            raise ValueError(f"--ngram must be from 1 to {MAX_NGRAM} words, got {self.ngram}")

    @property
    def others(self) -> tuple[str, ...]:
        return self.evaluations

    @property
    def columns(self) -> Columns:
        return self.read_as((schema.ID, schema.TEXT), carry=ALL)

    @cached_property
    def sets(self) -> Any:
        """What finds the sets' n-grams in documents."""
        return evaluations_in(self.evaluations, self.evaluation_column, self.ngram)


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables documents, matches, removals and rejects. No shuffle."""
    config.sets.get()  # what is wrong with them is told before the job starts
    documents, rejects, _ = source.documents()
    done = documents | "Decontaminate" >> Decontaminate(find=config.sets, action=config.action)
    return {
        "documents": as_stored(done.documents, source),
        "matches": done.matches,
        "removals": done.removals,
        "rejects": (rejects, done.rejects) | "Rejects" >> beam.Flatten(),
    }


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """What can't be found in documents."""
    del counters
    sets: Evaluations = config.sets.get().evaluations
    return [
        f"{name}: {short:,} of {texts:,} texts have fewer than {sets.ngram} words and can't be found"
        for name, texts, short in zip(sets.names, sets.texts, sets.short, strict=True)
        if short
    ]


JOB = Job("decontaminate", "Documents without what evaluation sets have.", Config, build, notes)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
