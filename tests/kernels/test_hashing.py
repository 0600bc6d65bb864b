import datetime
import struct

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.hashing import hash_rows, hash_values


@given(st.lists(st.binary(max_size=200)))
def test_bytes_hash_as_the_xxhash_library_does(values: list[bytes]) -> None:
    expected = [xxhash.xxh64_intdigest(value) for value in values]
    assert hash_values(pa.array(values, pa.binary())).tolist() == expected


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_hash_as_eight_little_endian_bytes(values: list[int]) -> None:
    expected = [xxhash.xxh64_intdigest(struct.pack("<q", value)) for value in values]
    assert hash_values(pa.array(values, pa.int64())).tolist() == expected


WORDS = ["a", "b", None, "", "a", "grüße", "x" * 100]
DAYS = [datetime.date(2024, 2, 29), None, datetime.date(1969, 7, 20)]
NUMBERS = [1, 0, None, 100]

SAME_VALUES = {
    "dictionary": (pa.array(WORDS), pa.array(WORDS).dictionary_encode()),
    "large": (pa.array(WORDS), pa.array(WORDS, pa.large_string())),
    "view": (pa.array(WORDS), pa.array(WORDS, pa.string_view())),
    "binary": (pa.array(WORDS), pa.array(WORDS).cast(pa.binary())),
    "slice": (pa.array(WORDS), pa.array(["other", *WORDS, "more"]).slice(1, len(WORDS))),
    "narrow integers": (pa.array(NUMBERS, pa.int64()), pa.array(NUMBERS, pa.int8())),
    "unsigned integers": (pa.array(NUMBERS, pa.int64()), pa.array(NUMBERS, pa.uint64())),
    "narrow floats": (pa.array(NUMBERS, pa.float64()), pa.array(NUMBERS, pa.float32())),
    "negative zero": (pa.array([0.0]), pa.array([-0.0])),
    "NaNs": (
        pa.array([float("nan")]),
        pa.array([struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf8\xff")[0]]),
    ),
    "nulls of any type": (pa.nulls(2), pa.array([None, None], pa.string())),
    "dates": (pa.array(DAYS, pa.date32()), pa.array(DAYS, pa.date32()).dictionary_encode()),
}


@pytest.mark.parametrize("pair", SAME_VALUES.values(), ids=SAME_VALUES.keys())
def test_equal_values_hash_equally_in_any_encoding(pair: tuple[pa.Array, pa.Array]) -> None:
    assert hash_values(pair[0]).tolist() == hash_values(pair[1]).tolist()


def test_null_empty_and_zero_differ() -> None:
    hashes = [
        hash_values(array)[0] for array in (pa.array([None], pa.string()), pa.array([""]), pa.array([0]))
    ]
    assert len(set(hashes)) == 3


def test_rows_depend_on_the_order_of_columns() -> None:
    left, right = pa.array(["a", "b"]), pa.array(["b", "a"])
    assert hash_rows([left, right])[0] != hash_rows([right, left])[0]
    assert hash_rows([left, right])[0] == hash_rows([right, left])[1]


def test_a_type_without_stable_bytes_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="list<item: int64>"):
        hash_values(pa.array([[1, 2]]))
