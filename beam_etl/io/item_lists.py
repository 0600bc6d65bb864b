"""Lists that a user gives: items, and files of them."""

from collections.abc import Iterable

from beam_etl.io.access import open_file
from beam_etl.io.errors import InputError

FILE_MARK = "@"
"""Before the path of a file with an item a line."""

COMMENT = "#"


def read_items(given: Iterable[str]) -> tuple[str, ...]:
    """Distinct items, in order: those given, and of `@PATH` the lines of a file, without empty ones and comments.

    Raises:
      InputError: there is no such file, or it isn't UTF-8.
    """
    items: dict[str, None] = {}
    for item in given:
        for line in _lines(item[1:]) if item.startswith(FILE_MARK) else [item]:
            if (plain := line.strip()) and not plain.startswith(COMMENT):
                items[plain] = None
    return tuple(items)


def _lines(path: str) -> list[str]:
    try:
        with open_file(path) as file:
            return bytes(file.read()).decode().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no list with an item a line ({error})") from error
