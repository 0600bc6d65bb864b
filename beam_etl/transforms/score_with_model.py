"""ScoreWithModel: a column of what a model of yours says of each document."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.scoring import Predict, Scorer
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.documents import MapDocuments, MappedDocuments

STAGE = "score with model"
"""What rejects have in the column `stage`."""


@dataclass(eq=False, kw_only=True)
class ScoreWithModel(beam.PTransform):
    """A column of what a model says of each document. No shuffle.

    A process loads the model when its first batch comes, and all its threads and steps share it.

    Input: batches of documents. Output: MappedDocuments; what `predict` fails on by itself is a reject.

    Args:
      load: a function of a module, or a `functools.partial` that gives it hashable values by place; returns the model,
        of any kind. Equal functions with equal values are one model in a process.
      predict: from the model and a batch to one value a row: an Arrow or NumPy array, or a list. A value must depend on
        its row alone, and the type of all be one. Several threads call it at once.
      column: name of the new one; a column of that name is replaced.

    Raises:
      TypeError: one of both can't be called.
      ValueError: `load` has no name by which a process could know it again.
      KernelError: while running, when `predict` fails on more than MAX_FAILING rows of a batch.
      NotLoadedError: while running, when `load` fails on a worker. No document is a reject for that.
      NoValuesError: while running, when `predict` gives something else than a row of values. Nor for that.
    """

    load: Callable[..., Any]
    predict: Predict
    column: str = "score"

    def __post_init__(self) -> None:
        super().__init__()
        if not callable(self.load) or not callable(self.predict):
            raise TypeError(f"load and predict are functions, got {self.load!r} and {self.predict!r}")
        given = self.load if isinstance(self.load, partial) else partial(self.load)
        if given.keywords:
            raise ValueError(f"load takes values by place, got {self.load!r}")
        self._scorer = Scorer(once_per_process(given.func, *given.args), self.predict, self.column)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> MappedDocuments:
        scored: MappedDocuments = documents | "Score" >> MapDocuments(self._scorer, stage=STAGE)
        return scored
