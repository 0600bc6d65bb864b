"""The table that ships: what it was built from, what Python knows of it, what the loops take for granted."""

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


UNICODE_15_1 = (range(0x2EBF0, 0x2EE5E), range(0x2FFC, 0x3000), range(0x31EF, 0x31F0))
"""What Python 3.13 knows beyond the table."""
KNOWN = [
    point
    for point in range(table.CODE_POINTS)
    if unicodedata.category(chr(point)) not in ("Cn", "Cs") and not any(point in new for new in UNICODE_15_1)
]


def different(of_table: list[Any], of_python: list[Any]) -> list[str]:
    """The known characters about which the table and this interpreter differ."""
    both = zip(KNOWN, of_table, of_python, strict=True)
    return [f"{point:04X}: {ours} {theirs}" for point, ours, theirs in both if ours != theirs]


def decomposition(point: int) -> list[int]:
    parts = unicodedata.decomposition(chr(point))
    return [] if parts.startswith("<") else [int(part, 16) for part in parts.split()]


def test_lower_case_is_that_of_python() -> None:
    found = table.rule_table("words")[KNOWN] & table.LOWER_MASK
    assert different(found.tolist(), [ord(chr(point).lower()[0]) for point in KNOWN]) == []


@pytest.mark.parametrize("rule", ["python", "alphanumeric"])
def test_letters_and_numbers_are_those_of_python(rule: str) -> None:
    kinds = table.rule_table(rule)[KNOWN] >> table.KIND_SHIFT
    others = "_" if rule == "python" else ""
    expected = [table.RUN if chr(p).isalnum() or chr(p) in others else table.NONE for p in KNOWN]
    assert different(kinds.tolist(), expected) == []


def test_marks_are_those_of_python() -> None:
    marks = table.rule_table("words")[KNOWN] >> table.KIND_SHIFT == table.MARK
    expected = [unicodedata.category(chr(p))[0] == "M" or p in (0x200C, 0x200D) for p in KNOWN]
    assert different(marks.tolist(), expected) == []


def test_combining_classes_and_what_is_never_composed_are_those_of_python() -> None:
    points = table.composition().table[KNOWN]
    classes = (points & table.COMBINING_MASK).tolist()
    assert different(classes, [unicodedata.combining(chr(point)) for point in KNOWN]) == []
    never = (points & table.NEVER_NFC != 0).tolist()
    assert different(never, [not unicodedata.is_normalized("NFC", chr(point)) for point in KNOWN]) == []


def test_decompositions_and_compositions_are_those_of_python() -> None:
    normal = table.composition()
    parts = normal.parts[normal.table[KNOWN] >> table.PARTS_SHIFT].tolist()
    split = [[part for part in (both >> table.POINT_BITS, both & table.POINT_MASK) if part] for both in parts]
    expected = [decomposition(point) for point in KNOWN]
    assert different(split, expected) == []
    composed = {
        ((both[0] << table.POINT_BITS | both[1]) << table.POINT_BITS) | point
        for point, both in zip(KNOWN, expected, strict=True)
        if len(both) == 2 and unicodedata.normalize("NFC", "".join(map(chr, both))) == chr(point)
    }
    assert set(normal.pairs.tolist()) == composed


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
