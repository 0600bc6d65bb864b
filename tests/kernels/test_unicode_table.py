"""The table that ships: what it was built from, and what the loops take for granted about it."""

import runpy
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_etl.kernels import unicode_table as table
from beam_etl.kernels.nfc import LARGEST_GROWTH, MOST_POINTS

DATABASE = Path("/usr/share/unicode")
"""Where Debian's unicode-data package puts the Unicode Character Database."""


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "tools" / "make_unicode_table.py"))


def test_the_table_is_built_from_the_database(maker: dict[str, Any]) -> None:
    try:
        built = maker["build"](DATABASE)
    except (OSError, ValueError) as error:
        pytest.skip(f"no Unicode {table.UNICODE_VERSION} database: {error}")
    with np.load(table.DATA) as shipped:
        assert sorted(shipped) == sorted(built)
        for name, array in built.items():
            np.testing.assert_array_equal(shipped[name], array, name)


def test_another_version_of_the_database_is_refused(maker: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "PropList.txt").write_text("# PropList-14.0.0.txt\n200C ; Join_Control\n")
    with pytest.raises(ValueError, match=r"PropList.txt: '# PropList-14.0.0.txt' is not Unicode 15.0.0"):
        maker["members"](tmp_path, "PropList.txt", "Join_Control")


def utf8_size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


@pytest.mark.parametrize("rule", table.RULES)
def test_lower_case_and_kinds_are_as_the_loops_expect(rule: str) -> None:
    rules = table.rule_table(rule)
    kinds = rules >> table.KIND_SHIFT
    lower = rules & table.LOWER_MASK
    assert table.MARK not in kinds[:128], "ASCII is told apart without a branch"
    assert lower[:128].max() < 128, "a byte of ASCII stays a byte"
    assert max(utf8_size(chr(small)) / utf8_size(chr(point)) for point, small in enumerate(lower)) <= 1.5
    assert kinds[0xFFFD] == table.NONE, "bytes that are no UTF-8 end words"


def test_decompositions_fit_the_memory_that_is_taken_for_them() -> None:
    for point in range(table.CODE_POINTS):
        character = chr(point)
        parts = unicodedata.normalize("NFD", character)
        assert len(parts) <= MOST_POINTS * utf8_size(character)
        composed = unicodedata.normalize("NFC", character)
        assert utf8_size(composed) <= LARGEST_GROWTH * utf8_size(character)
