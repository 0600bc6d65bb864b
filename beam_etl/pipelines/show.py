"""`python -m beam_etl.pipelines.show DATASET`: some of its rows, and what was removed beside what was kept for it."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.dataset_rows import NoTableError, Row, TableRows, choose
from beam_etl.io.document_texts import Place
from beam_etl.kernels.excerpts import printable
from beam_etl.observe.beside import beside, differences
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.show_texts import StepTexts, read_source
from beam_etl.pipelines.tool import DONE, WRONG, run_tool

NAME = "show"
SUMMARY = (
    "Rows of a dataset, in the terminal. DATASET [--seed=7] [--id=ID] [--removed=true --reason=near]: removed "
    "documents are read where they came from."
)

REMOVALS = "removals"

CUT = " ..."

HASH_BYTES = 16
"""Bytes that are shown, as many as a content's hash has."""

LISTED = 20
"""Items of a list of texts that are shown: more than the rules that a document fails."""

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
    chosen = list(_chosen(table, config))
    texts = StepTexts(config.dataset, table.config, [row for _, row in chosen] if config.removed else [])
    for number, row in chosen:
        yield f"--- row {number:,} of {table.rows:,} ".ljust(width, "-")
        yield from _fields(row, config.characters, width)
        if config.removed:
            yield from _texts(row, table.config, texts, config, width)


def _chosen(table: TableRows, config: Config) -> Iterator[tuple[int, Row]]:
    """The rows that are asked for, with their numbers."""
    reasons = sorted(_told(table, "reason"), key=str) if config.reason == EACH else [config.reason]
    for reason in reasons:
        asked = config.id is not None or reason is not None
        numbers = table.where(partial(_is_asked, id=config.id, reason=reason)) if asked else range(table.rows)
        yield from _numbered(table, choose(numbers, config.rows, config.seed))


def _told(table: TableRows, name: str) -> set[Any]:
    """All values of a column, and of its lists, but null."""
    found: set[Any] = set()

    def note(batch: pa.RecordBatch) -> list[bool]:
        for value in _values(batch, name):
            found.update(value if isinstance(value, list) else [value])
        return []

    for _ in table.where(note):
        pass
    return found - {None}


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
    """A line for each value that isn't null, and for each item of a list of texts; a text below them."""
    told = [
        (printable(name), value) for name, value in row.items() if value is not None and name != schema.TEXT
    ]
    names = max((len(name) for name, _ in told), default=0)
    room = max(width - names - 2, 1)
    for name, value in told:
        for place, shown in enumerate(map(printable, _shown(value))):
            cut = shown if len(shown) <= room else shown[: max(room - len(CUT), 1)] + CUT
            yield f"{name if not place else '':{names}}  {cut}"
    if row.get(schema.TEXT) is not None:
        yield ""
        yield from _printable_lines(row[schema.TEXT], characters)


def _shown(value: Any) -> list[str]:
    """A value in one line or several."""
    if isinstance(value, bytes):
        return [f"{len(value):,} bytes" if len(value) > HASH_BYTES else _of_bytes(value)]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or not value:
        return [str(value)]
    rest = len(value) - LISTED
    return [*value[:LISTED], *([f"... and {rest:,} more"] if rest > 0 else [])]


def _of_bytes(value: bytes) -> str:
    """Text where it is one, else as hashes are written."""
    return value.decode() if value.isascii() and value.decode().isprintable() else value.hex()


def _printable_lines(text: str, characters: int) -> list[str]:
    """The start of a text, without what a terminal would obey."""
    cut = text[:characters] + (CUT if len(text) > characters else "")
    return [printable(line) for line in cut.splitlines()]


def _texts(row: Row, made: dict[str, Any], texts: StepTexts, config: Config, width: int) -> Iterator[str]:
    """The removed text, and beside it the one that was kept, where they can be read."""
    step = row.get(schema.STEP)
    places = [Place(row["file"], row["position"], row["id"])]
    if row["survivor_file"]:
        places.append(Place(row["survivor_file"], row["survivor_position"], row["survivor_id"]))
    found = [read_source(place, made, config.input) for place in places]
    shown = [
        None if one.text is None else texts.text(one.text, place, step)
        for one, place in zip(found, places, strict=True)
    ]
    if found[0].url is not None and schema.URL not in row:
        yield f"{schema.URL}  {printable(found[0].url)}"
    yield ""
    if before := texts.before(step):
        yield f"the text as {step} had it, after {', '.join(before)}:"
    removed, *kept = shown
    if removed is None:
        yield f"its text is not at hand: {printable(found[0].why)}"
    elif not kept or kept[0] is None:
        yield from _printable_lines(removed, config.characters)
    else:
        yield from beside("REMOVED", "KEPT", width)
        left, right = ("\n".join(_printable_lines(text, config.characters)) for text in (removed, kept[0]))
        yield from beside(left, right, width)
        yield ""
        yield from differences(printable(removed), printable(kept[0]), width)


def _tell(config: Config) -> int:
    found, why = False, ""
    try:
        for line in lines(config, shutil.get_terminal_size().columns):
            print(line)
            found = True
        why = "" if found else _absent(config)
    except NoTableError:
        if not config.removed:
            raise
        why = "nothing was removed: the job that wrote it has no step that removes documents"
    if why:
        print(f"{NAME}: {config.dataset}: {why}", file=sys.stderr)
    return DONE if found else WRONG


def _absent(config: Config) -> str:
    """Why no row is as asked."""
    table = TableRows(config.dataset, REMOVALS if config.removed else config.table)
    if not table.rows:
        return "nothing was removed" if config.removed else f"its table {config.table} has no rows"
    if config.reason in (None, EACH):
        return f"no such row among its {table.rows:,}"
    names = {"reasons": "reason", "steps": schema.STEP, "rules": schema.FAILED}
    told = ((kind, sorted(_told(table, name))) for kind, name in names.items())
    there = "; ".join(f"{kind}: {', '.join(values)}" for kind, values in told if values)
    return f"no such row with the reason {config.reason!r}. There are {there}"


def run(argv: Sequence[str] | None = None) -> int:
    """Shows what the command line asks for; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, _tell)


if __name__ == "__main__":
    sys.exit(run())
