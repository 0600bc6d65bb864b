"""Which documents a table of removals names: for jobs that count duplicates without removing them."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_etl.io.stored import Removals, open_removals
from beam_etl.kernels.process import OncePerProcess, once_per_process
from beam_etl.kernels.provenance import add_place
from beam_etl.kernels.renumbering import RemovedPlaces
from beam_etl.transforms.metrics import NAMESPACE

MARKED = "documents_in_removals"
"""Counter: documents that the table names."""

Mark = Callable[[pa.RecordBatch], np.ndarray]


def mark_removed(folder: str) -> OncePerProcess[[pa.RecordBatch], np.ndarray]:
    """A kernel from documents, as ReadDocuments gives them, to bool[rows]: whether the table names each.

    A process that runs it holds 9 bytes a removal.

    Args:
      folder: a dataset with a table `removals`, as dedup writes it, of the files that are read.

    Raises:
      InputError: there is none. While running, StoredError: it was replaced, or is damaged.
    """
    return once_per_process(_marker, open_removals(folder)[0])


def _marker(removals: Removals) -> Mark:
    places = RemovedPlaces(removals.read())

    def mark(documents: pa.RecordBatch) -> np.ndarray:
        found = places.ask(add_place(documents))
        Metrics.counter(NAMESPACE, MARKED).inc(int(found.sum()))
        return found

    return mark
