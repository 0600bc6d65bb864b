"""Which documents a table of removals names: for jobs that count duplicates without removing them."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from beam_etl.io.stored import Removals, StoredError, open_removals
from beam_etl.kernels.process import OncePerProcess, once_per_process
from beam_etl.kernels.provenance import add_place
from beam_etl.kernels.renumbering import RemovedPlaces
from beam_etl.transforms.metrics import NAMESPACE

MARKED = "documents_in_removals"
"""Counter: documents that the table names."""

Mark = Callable[[pa.RecordBatch], np.ndarray | str]


def mark_removed(folder: str) -> OncePerProcess[[pa.RecordBatch], np.ndarray | str]:
    """A kernel from documents, as ReadDocuments gives them, to bool[rows]: whether the table names each.

    Where the table was replaced since, is damaged, or has too many files, it gives what to tell instead: raised, it
    would be tried again in vain. A process that runs it holds 9 bytes a removal.

    Args:
      folder: a dataset with a table `removals`, as dedup writes it, of the files that are read.

    Raises:
      InputError: there is none.
    """
    return once_per_process(_marker, open_removals(folder)[0])


def _marker(removals: Removals) -> Mark:
    try:
        places = RemovedPlaces(removals.read())
    except StoredError as error:
        return partial(_untold, why=str(error))
    except OverflowError as error:
        why = f"{removals.folder} can't be used: {error}. Deduplicate and score fewer files at a time."
        return partial(_untold, why=why)

    def mark(documents: pa.RecordBatch) -> np.ndarray:
        found = places.ask(add_place(documents))
        Metrics.counter(NAMESPACE, MARKED).inc(int(found.sum()))
        return found

    return mark


def _untold(_: pa.RecordBatch, why: str) -> str:
    return why
