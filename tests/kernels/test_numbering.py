import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels import numbering as module
from beam_etl.kernels.numbering import Numbering, find_sorted, with_room

RANDOM = np.random.default_rng(7)
UINT64 = st.integers(0, 2**64 - 1)
EDGES = (0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)


def first_seen(keys: list[int]) -> dict[int, int]:
    """A dictionary from key to code: the oracle."""
    codes: dict[int, int] = {}
    for key in keys:
        codes.setdefault(key, len(codes))
    return codes


KEYS: dict[str, npt.NDArray[np.uint64]] = {
    "none": np.zeros(0, np.uint64),
    "edges of the range": np.array(EDGES, np.uint64),
    "hashes": RANDOM.integers(0, 2**64, 50_000, np.uint64),
    "hashes seen again": RANDOM.choice(RANDOM.integers(0, 2**64, 900, np.uint64), 50_000),
    "addresses of one file": np.arange(50_000, dtype=np.uint64),
    "first addresses of files": np.arange(50_000, dtype=np.uint64) << np.uint64(44),
    "byte offsets": np.uint64(3 << 44) + np.arange(50_000, dtype=np.uint64) * np.uint64(4096),
    "equal low bits": (RANDOM.integers(0, 2**64, 50_000, np.uint64) << np.uint64(8)) | np.uint64(13),
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("rows", [1_000, 2**20])
def test_codes_are_those_of_a_dictionary(keys: npt.NDArray[np.uint64], rows: int) -> None:
    numbering = Numbering()
    parts = [numbering.add(keys[start : start + rows]) for start in range(0, len(keys), rows)]
    expected = first_seen(keys.tolist())
    assert [code for part in parts for code in part.tolist()] == [expected[key] for key in keys.tolist()]
    assert numbering.values.tolist() == list(expected)
    assert len(numbering) == len(expected)
    assert numbering.find(keys).tolist() == [expected[key] for key in keys.tolist()]


@given(st.lists(st.lists(UINT64 | st.sampled_from(EDGES), max_size=40), max_size=5), st.lists(UINT64))
def test_any_keys_in_any_batches(batches: list[list[int]], others: list[int]) -> None:
    numbering = Numbering()
    for batch in batches:
        numbering.add(np.array(batch, np.uint64))
    expected = first_seen([key for batch in batches for key in batch])
    asked = [*expected, *others, *EDGES]
    assert numbering.find(np.array(asked, np.uint64)).tolist() == [expected.get(key, -1) for key in asked]


def test_values_taken_before_stay_as_they_were() -> None:
    numbering = Numbering()
    numbering.add(np.arange(10, dtype=np.uint64))
    before = numbering.values
    numbering.add(np.arange(1_000, 100_000, dtype=np.uint64))
    assert before.tolist() == list(range(10))
    with pytest.raises(ValueError, match="read-only"):
        before[0] = 5


def test_an_entry_takes_as_many_bytes_as_stated() -> None:
    numbering = Numbering()
    keys = RANDOM.integers(0, 2**64, 300_000, np.uint64)
    worst = 0.0
    for start in range(0, len(keys), 500):
        numbering.add(keys[start : start + 500])
        if len(numbering) >= 1_000:
            worst = max(worst, numbering.nbytes / len(numbering))
    assert 18 < worst <= 23
    assert Numbering().nbytes < 12 << 10


def test_a_full_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 1_000)
    numbering = Numbering()
    numbering.add(np.arange(1_000, dtype=np.uint64))
    numbering.add(np.arange(1_000, dtype=np.uint64))
    with pytest.raises(ValueError, match="at most 1,000 keys"):
        numbering.add(np.array([5_000], np.uint64))


@pytest.mark.parametrize("table", [[], [0], [2**64 - 1], [3, 5, 2**63, 2**64 - 1]], ids=len)
def test_keys_are_found_in_a_sorted_table(table: list[int]) -> None:
    keys = [0, 5, 2**63 + 1, 2**63, 2**64 - 1, 3, 5, 4]
    rows, places = find_sorted(np.array(table, np.uint64), np.array(keys, np.uint64))
    assert list(zip(rows.tolist(), places.tolist(), strict=True)) == [
        (row, table.index(key)) for row, key in enumerate(keys) if key in table
    ]


def test_an_array_that_grows_value_by_value_is_copied_seldom() -> None:
    values, arrays = np.zeros(0, np.uint64), set()
    for size in range(1, 5000):
        values = with_room(values, size, 7)
        assert values[size - 1] == 7
        values[size - 1] = size
        arrays.add(len(values))
    assert values[:4999].tolist() == list(range(1, 5000))
    assert set(values[4999:].tolist()) <= {7}
    assert len(arrays) < 50
