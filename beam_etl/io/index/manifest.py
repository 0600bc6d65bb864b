"""The manifest of an index: byte for byte as it was written, with the statistics that an index has."""

from collections.abc import Mapping
from typing import Any

from beam_etl.io import manifest
from beam_etl.io.errors import InputError
from beam_etl.io.index.files import ABOUT, VERSION
from beam_etl.io.manifest import Manifest
from beam_etl.io.report import Report
from beam_etl.io.verify import manifest_place, read_exactly
from beam_etl.kernels.findings import one
from beam_etl.kernels.unicode_table import RULES

STATISTICS: Mapping[str, tuple[type, ...]] = {
    "version": (int,),
    "words": (str,),
    "unicode": (str,),
    "positions": (bool,),
    "documents": (int,),
    "tokens": (int,),
    "average_length": (int, float),
    "left_out": (int,),
}
"""What a manifest states of an index."""


def open_index(folder: str, report: Report) -> Manifest | None:
    """The manifest of an index, which is byte for byte as it was written; None where it isn't, which is told.

    Raises:
      InputError: the folder has no dataset, or one that is no index that this code knows.
    """
    present = manifest.numbers(folder)
    if not present:
        raise _no_dataset(folder)
    place = manifest_place(present[-1])
    current = read_exactly(folder, present[-1], report)
    if current is None:
        return None
    if ABOUT not in current.about:
        raise _no_index(folder, current)
    if not _check_about(current.about[ABOUT], place, report):
        return None
    if current.about[ABOUT]["version"] != VERSION:
        raise _other_version(folder, current)
    return current


def index_in(folder: str) -> Manifest:
    """The manifest of an index that this code reads.

    Raises:
      InputError: there is no dataset, or one that is no index that this code knows.
    """
    current = manifest.latest(folder)
    if current is None:
        raise _no_dataset(folder)
    if ABOUT not in current.about:
        raise _no_index(folder, current)
    if current.about[ABOUT].get("version") != VERSION:
        raise _other_version(folder, current)
    return current


_BUILT = "the folder that inverted_index wrote as --output"


def _no_dataset(folder: str) -> InputError:
    return InputError(f"{folder}: no dataset. Give {_BUILT}.")


def _no_index(folder: str, current: Manifest) -> InputError:
    return InputError(
        f"{folder}: a dataset of {', '.join(current.schemas)}, no inverted index. Give {_BUILT}."
    )


def _other_version(folder: str, current: Manifest) -> InputError:
    stored = current.about[ABOUT].get("version")
    return InputError(f"{folder}: an index of version {stored}, this code has {VERSION}. Build it anew.")


def _check_about(stated: Any, place: str, report: Report) -> bool:
    if not isinstance(stated, Mapping):
        report.add(place, one("statistics", f"{ABOUT} is {stated!r}"))
        return False
    wrong = [name for name, kinds in STATISTICS.items() if type(stated.get(name)) not in kinds]
    problems = [each for name in wrong for each in one("statistics", f"{name} is {stated.get(name)!r}")]
    if not problems and stated["words"] not in RULES:
        problems = one("statistics", f"no word rule {stated['words']!r}; there are {', '.join(RULES)}")
    report.add(place, problems)
    return not problems
