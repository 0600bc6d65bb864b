"""Writes the tables of docs/hostile.md: what becomes of each file of a collection of bad ones.

    python tools/make_hostile_page.py FOLDER [PAGE]

What stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced; the rest is written by people.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.errors import is_content_error
from beam_etl.io.files import match_files
from beam_etl.io.formats import format_named
from beam_etl.io.rejects import Reject
from beam_etl.io.splits import plan_splits, read_split
from beam_etl.transforms.batches import RecordBatchCoder

PAGE = Path(__file__).parents[1] / "docs/hostile.md"

FORMATS = {"parquet": "parquet", "avro": "avro", "JSONTestSuite": "jsonl", "blns": "text"}
"""How files are read, by how the name of their folder, or their own, begins."""

NO_DATA = (".md", ".avsc", ".txt", "LICENSE")


def files(folder: Path) -> dict[str, list[Path]]:
    """The collection, by format."""
    found: dict[str, list[Path]] = {known: [] for known in FORMATS.values()}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        known = next((known for start, known in FORMATS.items() if name.startswith(start)), None)
        if path.is_file() and known and (not name.endswith(NO_DATA) or name == "blns.txt"):
            found[known].append(path)
    return found


def read(path: Path, known_as: str) -> tuple[int, list[Reject]]:
    """Documents and rejects of a file, with all its columns. What is read must come whole through the coder."""
    known, coder = format_named(known_as), RecordBatchCoder()
    file = match_files([f"{path.parent}/{path.name}"], known_as)[0]
    documents, rejects = 0, []
    for split in plan_splits(file, known, 16 << 20):
        for found in read_split(split, known, Columns(needed=(), carry=ALL)):
            if isinstance(found, Reject):
                rejects.append(found)
            else:
                sent: pa.RecordBatch = coder.decode(coder.encode(found))
                sent.validate(full=True)
                documents += sent.num_rows
    return documents, rejects


def verdict(path: Path, known_as: str) -> str:
    """What a file gives, in words."""
    try:
        documents, rejects = read(path, known_as)
    except Exception as error:
        if not is_content_error(error):
            raise
        return f"the job is refused: {_cell(str(error))}"
    passed = "1 document" if documents == 1 else f"{documents:,} documents"
    if not rejects:
        return passed if documents else "no record"
    reasons = sorted({reject.reason for reject in rejects})
    more = f", and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
    count = "1 reject" if len(rejects) == 1 else f"{len(rejects):,} rejects"
    lost = sum(reject.rows or 0 for reject in rejects)
    known = f" of {lost:,} records" if lost > len(rejects) else ""
    return f"{passed}, {count}{known}: {_cell(reasons[0])}{more}"


def _cell(text: str) -> str:
    shown = text if len(text) <= 110 else f"{text[:107]}..."
    plain = "".join(letter if letter.isprintable() else "?" for letter in shown)
    return plain.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")


def rows(folder: Path, known_as: str) -> Iterator[str]:
    """The lines of one table."""
    yield from ("| file | verdict |", "|---|---|")
    for path in files(folder)[known_as]:
        yield f"| `{path.relative_to(folder).as_posix()}` | {verdict(path, known_as)} |"


def page(text: str, folder: Path) -> str:
    """The page with its tables as they are now."""
    for name in FORMATS.values():
        made = "\n".join(rows(folder, name))
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n<!-- /{name} -->)", re.DOTALL)
        text = between.sub(lambda _, made=made: made, text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE
    target.write_text(page(target.read_text(), Path(sys.argv[1])))
