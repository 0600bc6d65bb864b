import random
import re

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash

from beam_etl.kernels.minhash import BLOCK, EMPTY, MAX_NGRAM, permutations, shingle_hashes, signatures

LENGTHS = (0, 1, 4, 5, 6, 40, BLOCK, BLOCK + 4, BLOCK + 5, 3 * BLOCK)
"""Words of a text: around a shingle of 5, and around the block of shingles that a kernel holds."""


def made_up(lengths: tuple[int, ...], seed: int = 1) -> list[str]:
    """Texts of words of 1 to 30 letters, of ASCII and others, some of them often."""
    source = random.Random(seed)
    letters = ["a", "b", "z", "0", "ß", "é", "й", "क"]
    vocabulary = ["".join(source.choices(letters, k=source.randint(1, 30))) for _ in range(300)]
    return [" ".join(source.choices(vocabulary, k=length)) for length in lengths]


TEXTS = made_up(LENGTHS)


def shingles(text: str, ngram: int) -> list[tuple[str, ...]]:
    words = re.findall(r"[^ ]+", text)
    return [tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)]


@pytest.mark.parametrize("ngram", [1, 5, MAX_NGRAM])
def test_a_hash_stands_for_one_shingle(ngram: int) -> None:
    hashes, edges = shingle_hashes(pa.array(TEXTS), ngram)
    expected = [shingles(text, ngram) for text in TEXTS]
    assert np.diff(edges).tolist() == [len(found) for found in expected]
    pairs = {
        *zip(hashes.tolist(), (shingle for found in expected for shingle in found), strict=True),
    }
    assert len(pairs) == len({number for number, _ in pairs}) == len({shingle for _, shingle in pairs})


@pytest.mark.parametrize(("num_perm", "seed"), [(128, 1), (256, 42), (7, 2**32 - 1), (1, 0)])
@pytest.mark.parametrize("ngram", [1, 5])
def test_signatures_are_those_of_datasketch(num_perm: int, seed: int, ngram: int) -> None:
    found = signatures(pa.array(TEXTS), ngram, permutations(num_perm, seed))
    hashes, edges = shingle_hashes(pa.array(TEXTS), ngram)
    for row, mins in enumerate(found.mins):
        expected = MinHash(num_perm, seed, hashfunc=int, scheme="affine32")
        expected.update_batch(hashes[edges[row] : edges[row + 1]].tolist())
        assert mins.tolist() == expected.hashvalues.tolist()
    assert found.shingles.tolist() == np.diff(edges).tolist()
    assert found.words.tolist() == [len(shingles(text, 1)) for text in TEXTS]


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1])
@pytest.mark.parametrize("num_perm", [1, 2, 63, 126, 128, 256, 1000])
def test_permutations_are_those_of_datasketch(num_perm: int, seed: int) -> None:
    found, expected = permutations(num_perm, seed), MinHash(num_perm, seed, scheme="affine32").permutations
    assert [found.a.tolist(), found.b.tolist()] == expected.tolist()
    assert found.a.dtype == found.b.dtype == expected.dtype


def test_the_first_permutations_alone_give_the_first_minima() -> None:
    chosen = permutations(128, 1)
    whole, part = signatures(pa.array(TEXTS), 5, chosen), signatures(pa.array(TEXTS), 5, chosen, count=126)
    assert part.mins.tolist() == whole.mins[:, :126].tolist()


FORMS = {
    "string": pa.array(TEXTS),
    "large": pa.array(TEXTS, pa.large_string()),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "slice": pa.array(["one more text", *TEXTS, "and one behind"]).slice(1, len(TEXTS)),
    "other case and spaces": pa.array(
        [text.replace("a", "A").replace("й", "Й").replace(" ", "\n - ") for text in TEXTS]
    ),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_signatures_depend_on_the_words_alone(text: pa.Array) -> None:
    found = signatures(text, 5, permutations(16, 1))
    alone = [signatures(pa.array([one]), 5, permutations(16, 1)).mins[0].tolist() for one in TEXTS]
    assert found.mins.tolist() == alone


@pytest.mark.parametrize("ngram", [3, MAX_NGRAM])
def test_a_text_shorter_than_a_shingle_has_the_empty_signature(ngram: int) -> None:
    text = pa.array(["two words", "", None, "!"])
    found = signatures(text, ngram, permutations(8, 1))
    assert found.mins.tolist() == [[EMPTY] * 8] * 4
    assert found.shingles.tolist() == [0] * 4
    assert found.words.tolist() == [2, 0, 0, 0]


def test_no_texts_have_no_signatures() -> None:
    found = signatures(pa.array([], pa.string()), 5, permutations(8, 1))
    assert found.mins.shape == (0, 8)
    assert found.shingles.size == found.words.size == 0


@pytest.mark.parametrize("ngram", [0, -1, MAX_NGRAM + 1])
def test_the_words_of_a_shingle_have_bounds(ngram: int) -> None:
    with pytest.raises(ValueError, match=f"ngram must be from 1 to {MAX_NGRAM} words, got {ngram}"):
        signatures(pa.array(TEXTS), ngram, permutations(8, 1))


@pytest.mark.parametrize("count", [0, 9])
def test_there_are_only_so_many_permutations(count: int) -> None:
    with pytest.raises(ValueError, match=f"count must be from 1 to 8, .* got {count}"):
        signatures(pa.array(TEXTS), 5, permutations(8, 1), count)


def test_numbers_have_no_words() -> None:
    with pytest.raises(TypeError, match="int64"):
        signatures(pa.array([1]), 5, permutations(8, 1))


@pytest.mark.parametrize(("num_perm", "seed"), [(0, 1), (8, -1), (8, 2**32)])
def test_permutations_have_bounds(num_perm: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"num_perm|[Ss]eed"):
        permutations(num_perm, seed)
