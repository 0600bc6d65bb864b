"""Documents that a table of removals names, and what is told where it can't be asked."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.io import removal_marks
from beam_etl.io.stored import StoredError
from beam_etl.kernels import renumbering

DOCUMENTS = pa.record_batch({schema.ADDRESS: pa.array([0, 1, 2], pa.uint64())}).replace_schema_metadata(
    {schema.FILE_METADATA: "b"}
)


@dataclass(frozen=True)
class Stored:
    """A table of three removals, which may be damaged."""

    folder: str
    problem: str = ""

    def read(self) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"file": ["a", "b", "b"], "position": [0, 1, 9]})
        if self.problem:
            raise StoredError(self.problem)


def marked(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> list[bool] | str:
    monkeypatch.setattr(removal_marks, "open_removals", lambda folder: (stored, None))
    found = removal_marks.mark_removed(stored.folder)(DOCUMENTS)
    return found.tolist() if isinstance(found, np.ndarray) else found


def test_documents_that_the_table_names_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert marked(Stored("good"), monkeypatch) == [False, True, False]


def test_a_table_that_can_not_be_read_is_told_and_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert marked(Stored("bad", "bad was replaced"), monkeypatch) == "bad was replaced"
    monkeypatch.setattr(renumbering, "_NO_FILE", 1)
    assert marked(Stored("many"), monkeypatch) == (
        "many can't be used: removals of more than 1 files. Deduplicate and score fewer files at a time."
    )
