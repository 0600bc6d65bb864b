import random

import pytest

from beam_etl.kernels.places import MAX_DOCUMENTS, number_places, pack_places, place_failures
from beam_etl.schema import POSITION_BITS

FILE = 1 << POSITION_BITS


def test_documents_are_numbered_by_their_addresses_whatever_bundles_tell_of_them() -> None:
    batches = [
        (file * FILE + at, file * FILE + at + 5, 3, 30, 1) for file in (0, 1, 7) for at in range(0, 60, 6)
    ]
    shuffled = random.Random(1).sample(batches, len(batches))
    numbered = number_places([pack_places(shuffled[at : at + 7]) for at in range(0, len(shuffled), 7)])
    assert [numbered.start(first) for first, *_ in batches] == list(range(0, 90, 3))
    assert (numbered.documents, numbered.tokens, numbered.left_out) == (90, 900, 30)


def test_no_documents_have_no_number() -> None:
    numbered = number_places([])
    assert (numbered.documents, numbered.tokens, numbered.left_out) == (0, 0, 0)
    with pytest.raises(ValueError, match="no batch begins at the address 5"):
        numbered.start(5)


def test_neighbours_are_fine() -> None:
    assert (
        place_failures(
            [pack_places([(0, 4, 5, 9, 0)]), pack_places([(5, 5, 1, 2, 0), (FILE, FILE, 1, 1, 0)])]
        )
        == []
    )


def test_batches_that_were_mixed_are_told() -> None:
    (reason,) = place_failures([pack_places([(FILE, FILE + 9, 5, 9, 0), (FILE + 4, FILE + 20, 5, 9, 0)])])
    assert "positions 4 and 9 of file number 1" in reason


def test_too_many_documents_are_told() -> None:
    (reason,) = place_failures([pack_places([(0, 4, MAX_DOCUMENTS, 9, 0), (5, 6, 1, 9, 0)])])
    assert "4,294,967,296 documents" in reason
