"""What finding duplicates gives, near or exact: decisions, and what is counted and expected of them."""

from typing import NamedTuple

import apache_beam as beam

from beam_etl.transforms.batches import Batches

EMPTY_DOCUMENTS = "empty_documents"
"""Counter: documents that are nobody's duplicates, because they have no text, or not all of an exact key."""

EXACT_SHARE, VERIFIED_SHARE, CANDIDATE_SHARE = 0.2, 0.3, 0.4
"""Documents in clusters of several: exact duplicates, verified ones, and all that have a bucket in common.

No sample tells: copies lie far from each other. The benchmarks' 1 GB has 0.19, 0.31 and 0.41; of candidates, their
0.14 GB have 0.32, and their 2 GB 0.54.
"""


class Decisions(NamedTuple):
    """What finding duplicates gives."""

    decisions: Batches
    """schema.DECISION: a row for each document of a cluster of several."""
    failures: beam.PCollection[str]
    """Why the decisions must not be used; none where they may."""
    signatures: Batches | None = None
    """What later runs need of this one's documents, where that is wanted."""


def bytes_of(documents: int | None, size: float) -> int | None:
    """Bytes of so many documents, `size` each; None where nobody knows how many there are."""
    return None if documents is None else round(documents * size)
