"""`python -m beam_etl.pipelines.show DATASET`: some of its rows, and what was removed beside what was kept for it."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.dataset_rows import Row, TableRows, choose
from beam_etl.io.document_texts import Place, read_page, read_texts
from beam_etl.kernels.document_rules import READABLE_TYPES
from beam_etl.kernels.excerpts import printable
from beam_etl.kernels.html import CONTENT_TYPE, extract_text
from beam_etl.observe.beside import beside, differences
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.tool import DONE, WRONG, run_tool
from beam_etl.transforms.children import Guarded

NAME = "show"
SUMMARY = (
    "Rows of a dataset, in the terminal. DATASET [--seed=7] [--id=ID] [--removed=true --reason=near]: removed "
    "documents are read where they came from."
)

REMOVALS = "removals"

CUT = " ..."

EACH = "each"
"""Of --reason: rows of every reason."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    dataset: str = flag("folder of the dataset; may stand first, without --dataset=", unit=FOLDER)
    table: str = flag("which of its tables", default="documents")
    rows: int = flag("how many rows", default=5)
    seed: int | None = flag(
        "rows at random, the same ones for the same seed, instead of the first", default=None
    )
    id: str | None = flag("the row with this id", default=None)
    removed: bool = flag(
        "the table removals, with the texts of the removed documents and of those kept for them",
        default=False,
    )
    reason: str | None = flag(
        "only rows with this reason, or that fail this rule, or by this step; each: so many rows of each reason",
        default=None,
    )
    characters: int = flag("of a text that are shown", default=600)
    input: tuple[str, ...] = flag("where the removed documents are now, if files were moved", default=())

    def __post_init__(self) -> None:
        if self.rows < 1 or self.characters < 1:
            raise ValueError(f"--rows and --characters are at least 1, got {self.rows} and {self.characters}")
        if self.reason is not None and not self.removed:
            raise ValueError("--reason is of removals: add --removed=true")


def lines(config: Config, width: int) -> Iterator[str]:
    """What is printed, in `width` columns; nothing where no row is as asked.

    Raises:
      InputError: there is no such dataset or table.
    """
    table = TableRows(config.dataset, REMOVALS if config.removed else config.table)
    reasons = _reasons(table) if config.reason == EACH else [config.reason]
    for reason in reasons:
        asked = config.id is not None or reason is not None
        numbers = table.where(partial(_is_asked, id=config.id, reason=reason)) if asked else range(table.rows)
        for number, row in _numbered(table, choose(numbers, config.rows, config.seed)):
            yield f"--- row {number:,} of {table.rows:,} ".ljust(width, "-")
            yield from _fields(row, config.characters, width)
            if config.removed:
                yield from _texts(row, table.config, config, width)


def _reasons(table: TableRows) -> list[str | None]:
    """Those there are, in alphabetical order."""
    found: set[str | None] = set()

    def note(batch: pa.RecordBatch) -> list[bool]:
        found.update(_values(batch, "reason"))
        return []

    for _ in table.where(note):
        pass
    return sorted(found, key=str)


def _numbered(table: TableRows, numbers: list[int]) -> Iterator[tuple[int, Row]]:
    return zip(numbers, table.numbered(numbers), strict=True)


def _is_asked(batch: pa.RecordBatch, id: str | None, reason: str | None) -> list[bool]:
    held = [True] * batch.num_rows
    if id is not None:
        held = [value == id for value in _values(batch, schema.ID)]
    if reason is not None:
        names = ("reason", schema.STEP, schema.FAILED)
        told = zip(*(_values(batch, name) for name in names), strict=True)
        held = [
            h and (reason in (one, step) or reason in (rules or ()))
            for h, (one, step, rules) in zip(held, told, strict=True)
        ]
    return held


def _values(batch: pa.RecordBatch, name: str) -> list[Any]:
    return batch.column(name).to_pylist() if name in batch.schema.names else [None] * batch.num_rows


def _fields(row: Row, characters: int, width: int) -> Iterator[str]:
    """A line for each value that isn't null; a text below them."""
    told = [
        (printable(name), value) for name, value in row.items() if value is not None and name != schema.TEXT
    ]
    names = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        shown = (
            f"{len(value):,} bytes" if isinstance(value, bytes) and len(value) > 16 else printable(str(value))
        )
        yield f"{name:{names}}  {shown[: max(width - names - 2, 1)]}"
    if row.get(schema.TEXT) is not None:
        yield ""
        yield from _printable_lines(row[schema.TEXT], characters)


def _printable_lines(text: str, characters: int) -> list[str]:
    """The start of a text, without what a terminal would obey."""
    cut = text[:characters] + (CUT if len(text) > characters else "")
    return [printable(line) for line in cut.splitlines()]


def _texts(row: Row, made: dict[str, Any], config: Config, width: int) -> Iterator[str]:
    """The removed text, and beside it the one that was kept, where they can be read."""
    removed = _text(row["file"], row["position"], row["id"], made, config)
    survivor = row["survivor_file"]
    kept = _text(survivor, row["survivor_position"], row["survivor_id"], made, config) if survivor else None
    yield ""
    if removed is None:
        file = printable(row["file"])
        yield f"its text is not at hand: {file} is gone, has changed, or has no text by itself"
    elif kept is None:
        yield from _printable_lines(removed, config.characters)
    else:
        yield from beside("REMOVED", "KEPT", width)
        left, right = ("\n".join(_printable_lines(text, config.characters)) for text in (removed, kept))
        yield from beside(left, right, width)
        yield ""
        yield from differences(printable(removed), printable(kept), width)


def _text(file: str, position: int, id: str | None, made: dict[str, Any], config: Config) -> str | None:
    place = Place(file, position, id)
    text = read_texts([place], made, config.input).get(place)
    return text if text is not None or "extract" not in made else _of_page(place, made, config)


def _of_page(place: Place, made: dict[str, Any], config: Config) -> str | None:
    """The text that the job `extract` made of a page, or would have made; None for what isn't text."""
    page = read_page(place, made, config.input)
    if page is None or page.column(CONTENT_TYPE)[0].as_py() not in (None, *READABLE_TYPES):
        return None
    kernel = partial(extract_text, extract=made["extract"], max_bytes=made["max_page_bytes"])
    [found] = Guarded(kernel, made["page_seconds"], made["page_memory"]).rows(page)
    text: str | None = None if isinstance(found, str) else found[0].column(schema.TEXT)[0].as_py()
    return text


def _tell(config: Config) -> int:
    found = False
    for line in lines(config, shutil.get_terminal_size().columns):
        print(line)
        found = True
    if not found:
        print(f"{NAME}: {config.dataset} has no such row", file=sys.stderr)
    return DONE if found else WRONG


def run(argv: Sequence[str] | None = None) -> int:
    """Shows what the command line asks for; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, _tell)


if __name__ == "__main__":
    sys.exit(run())
