"""Writes the tables of docs/warc.md: what each file of a collection of archives gives, beside what warcio gives.

    python tools/make_warc_page.py FOLDER [PAGE]

What stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced; the rest is written by people.
"""

import contextlib
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed

from beam_etl.io.access import open_file
from beam_etl.io.formats import FileEntry, Split
from beam_etl.io.formats.archives.heads import Record
from beam_etl.io.formats.archives.records import read_records
from beam_etl.io.formats.base import LIMITS
from beam_etl.io.rejects import Reject

PAGE = Path(__file__).parents[1] / "docs/warc.md"

TABLES = ("real", "hostile")
"""Folders of the collection."""


def ours(path: Path) -> tuple[Counter[str], list[Reject]]:
    """Records by type, and rejects."""
    size, found = path.stat().st_size, Counter[str]()
    rejects: list[Reject] = []
    with open_file(str(path)) as file:
        for item in read_records(file, Split(FileEntry(0, str(path), size), 0, size), LIMITS):
            if isinstance(item, Record):
                found[item.type] += 1
            else:
                rejects.append(item)
    return found, rejects


def theirs(path: Path) -> tuple[Counter[str], str]:
    """Records by type, and why it stopped where it did."""
    found, problem = Counter[str](), ""
    with path.open("rb") as file, contextlib.redirect_stderr(io.StringIO()):
        try:
            for record in ArchiveIterator(file):
                found[record.rec_type.strip().lower()] += 1
                record.content_stream().read()
        except ArchiveLoadFailed:
            problem = "stops"
        except AttributeError:
            problem = "fails"
    return found, problem


def _told(found: Counter[str]) -> str:
    return ", ".join(f"{kind or 'no type'} {count}" for kind, count in sorted(found.items())) or "none"


def rows(folder: Path) -> Iterator[str]:
    """The lines of one table."""
    yield from ("| file | records | rejects | warcio |", "|---|---|---|---|")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        (found, rejects), (known, problem) = ours(path), theirs(path)
        reasons = "; ".join(dict.fromkeys(reject.reason for reject in rejects))
        beside = "the same" if known == found else _told(known)
        told = f"{len(rejects)}: {reasons}" if rejects else "0"
        after = f", then {problem}" if problem else ""
        yield f"| `{path.relative_to(folder).as_posix()}` | {_told(found)} | {told} | {beside}{after} |"


def page(text: str, folder: Path) -> str:
    """The page with its tables as they are now."""
    for name in TABLES:
        made = "\n".join(rows(folder / name))
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n<!-- /{name} -->)", re.DOTALL)
        text = between.sub(lambda _, made=made: made, text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE
    target.write_text(page(target.read_text(), Path(sys.argv[1])))
