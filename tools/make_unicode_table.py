"""Builds the table of characters that the tokeniser ships with, from the Unicode Character Database.

    python tools/make_unicode_table.py UCD_FOLDER [OUTPUT]

UCD_FOLDER holds the unpacked database of the version that beam_etl.kernels.unicode_table names: UCD.zip from
unicode.org, or what Debian's unicode-data package of that version installs in /usr/share/unicode.
"""

import sys
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from beam_etl.kernels import unicode_table as table

HANGUL_LEADING = range(0x1100, 0x1113)
HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)
HANGUL_TRAILING = 28
"""Trailing consonants, none included: every 28th syllable has none and composes with one."""

Array = np.ndarray[Any, Any]


def rows(folder: Path, name: str) -> Iterator[tuple[int, int, list[str]]]:
    """(first code point, one past the last, the other fields) of each line of a database file."""
    text = (folder / name).read_text(encoding="utf-8")
    title = text.partition("\n")[0]
    if title.startswith("#") and f"-{table.UNICODE_VERSION}.txt" not in title:
        raise ValueError(f"{folder / name}: {title!r} is not Unicode {table.UNICODE_VERSION}")
    for line in text.splitlines():
        points, *fields = (field.strip() for field in line.partition("#")[0].split(";"))
        if points:
            first, _, last = points.partition("..")
            yield int(first, 16), int(last or first, 16) + 1, fields


def members(folder: Path, name: str, *wanted: str) -> Array:
    """bool[code points]: which ones have a property; `wanted` is its name, or its name and value."""
    out = np.zeros(table.CODE_POINTS, bool)
    for first, end, fields in rows(folder, name):
        if tuple(fields[: len(wanted)]) == wanted:
            out[first:end] = True
    return out


class UnicodeData:
    """UnicodeData.txt as arrays over all code points."""

    def __init__(self, folder: Path) -> None:
        self.category = np.full(table.CODE_POINTS, "Cn")
        self.combining = np.zeros(table.CODE_POINTS, np.uint32)
        self.numeric = np.zeros(table.CODE_POINTS, bool)
        self.lower = np.arange(table.CODE_POINTS, dtype=np.uint32)
        self.parts: dict[int, list[int]] = {}
        """Code point to the one or two that it canonically decomposes into, ascending by code point."""
        begin = 0
        for point, end, fields in rows(folder, "UnicodeData.txt"):
            begin = begin if fields[0].endswith(", Last>") else point
            self.category[begin:end] = fields[1]
            self.combining[begin:end] = int(fields[2])
            self.numeric[begin:end] = bool(fields[7])
            if fields[12]:
                self.lower[point] = int(fields[12], 16)
            if fields[4] and not fields[4].startswith("<"):
                self.parts[point] = [int(part, 16) for part in fields[4].split()]
            begin = point


def kinds(folder: Path, data: UnicodeData) -> Array:
    """uint32[code points]: what each character does to a word by the rule "words"."""
    alphabetic = members(folder, "DerivedCoreProperties.txt", "Alphabetic")
    digit = data.category == "Nd"
    out = np.where(alphabetic | digit | (data.category == "Pc"), table.RUN, table.NONE).astype(np.uint32)
    out[alphabetic & ~digit & spaceless(folder)] = table.ALONE
    out[in_class(data, "M") | members(folder, "PropList.txt", "Join_Control")] = table.MARK
    return out


def categories(folder: Path, data: UnicodeData) -> Array:
    """uint8[code points]: the number of each one's general category, and a flag where it ends sentences."""
    numbers = {name: number for number, name in enumerate(table.CATEGORIES)}
    names, index = np.unique(data.category, return_inverse=True)
    out = np.array([numbers[str(name)] for name in names], np.uint8)[index]
    out[members(folder, "PropList.txt", "Sentence_Terminal")] |= table.SENTENCE_TERMINAL
    return out


def in_class(data: UnicodeData, letter: str) -> Array:
    """bool[code points]: the general category begins with a letter."""
    found: Array = np.strings.startswith(data.category, letter)
    return found


def spaceless(folder: Path) -> Array:
    """bool[code points]: every script that the character is used in is one of SPACELESS_SCRIPTS."""
    lines = (folder / "PropertyValueAliases.txt").read_text(encoding="utf-8").splitlines()
    names = {short.strip(): long.strip() for short, long, *_ in (
        line.split(";")[1:] for line in lines if line.startswith("sc ;")
    )}  # fmt: skip
    out = np.zeros(table.CODE_POINTS, bool)
    for first, end, (script, *_) in rows(folder, "Scripts.txt"):
        out[first:end] = script in table.SPACELESS_SCRIPTS
    for first, end, (scripts, *_) in rows(folder, "ScriptExtensions.txt"):
        out[first:end] = {names[script] for script in scripts.split()} <= set(table.SPACELESS_SCRIPTS)
    return out


def composition(folder: Path, data: UnicodeData) -> table.Composition:
    """What NFC needs to know."""
    normal = "DerivedNormalizationProps.txt"
    excluded = members(folder, normal, "Full_Composition_Exclusion")
    pairs = sorted((*parts, point) for point, parts in data.parts.items() if not excluded[point])
    points = data.combining.copy()
    points[members(folder, normal, "NFC_QC", "N")] |= table.NEVER_NFC
    points[members(folder, normal, "NFC_QC", "M")] |= table.COMPOSES_BACK
    composing = {first for first, *_ in pairs} | data.parts.keys()
    points[[*composing, *HANGUL_LEADING, *HANGUL_SYLLABLES[::HANGUL_TRAILING]]] |= table.COMPOSES_ON
    points[list(data.parts)] |= np.arange(1, len(data.parts) + 1, dtype=np.uint32) << table.PARTS_SHIFT
    return table.Composition(
        table=points,
        parts=np.array([0, *(joined(*parts, 0) for parts in data.parts.values())], np.uint64),
        pairs=np.array(
            [joined(first, second) << table.POINT_BITS | point for first, second, point in pairs], np.uint64
        ),
    )


def joined(first: int, second: int, *_: int) -> int:
    """Two code points as one number."""
    return first << table.POINT_BITS | second


def build(folder: Path) -> dict[str, Array]:
    """The arrays that the package ships. Lower case is a distance, which repeats."""
    data = UnicodeData(folder)
    cased = members(folder, "DerivedCoreProperties.txt", "Cased")
    ignorable = members(folder, "DerivedCoreProperties.txt", "Case_Ignorable")
    distance = (data.lower - np.arange(table.CODE_POINTS, dtype=np.uint32)) & np.uint32(table.LOWER_MASK)
    rule = distance | kinds(folder, data) << np.uint32(table.KIND_SHIFT)
    rule[cased & ~ignorable] |= table.CASED
    rule[ignorable] |= table.CASE_IGNORABLE
    normal = asdict(composition(folder, data))
    return {
        **in_blocks("table", rule),
        **in_blocks("alphanumeric", in_class(data, "L") | data.numeric),
        **in_blocks("composition", normal.pop("table")),
        **in_blocks("category", categories(folder, data)),
        **normal,
    }


def in_blocks(name: str, array: Array) -> dict[str, Array]:
    """The distinct blocks of an array over all code points, and which of them stands where."""
    blocks, index = np.unique(array.reshape(-1, table.BLOCK), axis=0, return_inverse=True)
    return {f"{name}_blocks": blocks, f"{name}_index": index.ravel().astype(np.uint16)}


def save(arrays: dict[str, Array], output: Path) -> None:
    """An .npz without dates."""
    with zipfile.ZipFile(output, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, array)


if __name__ == "__main__":
    save(build(Path(sys.argv[1])), Path(sys.argv[2]) if len(sys.argv) > 2 else table.DATA)
