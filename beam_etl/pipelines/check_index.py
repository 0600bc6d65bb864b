"""`python -m beam_etl.pipelines.check_index INDEX`: whether an inverted index is what it says, byte by byte.

No Beam job: one process, with threads over partitions. A check compares each posting with the length of its document,
and each document's length with its postings. In a job, every worker would hold these lengths, or all postings would be
shuffled by document; here they stand once in memory, 8 bytes a document (16 with `--documents`), and each file is read
for its checksum, then decoded. 100 million documents are 0.8 GB. An index of so many that this doesn't fit into one
machine should be several (a search reads them together), each checked by itself.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from beam_etl.io.index.check import IndexCheck
from beam_etl.io.index.compare import Comparison, read_as_built
from beam_etl.io.index.manifest import open_index
from beam_etl.io.report import Report
from beam_etl.observe.progress import status_line
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.runners import cores
from beam_etl.pipelines.tool import run_tool, tell_check

NAME = "check_index"
SUMMARY = "Whether an inverted index is sound: INDEX[,INDEX...] [--documents=INPUT,...]"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    index: tuple[str, ...] = flag("folders of the indexes; may stand first, without --index=", unit=FOLDER)
    documents: tuple[str, ...] = flag(
        "compare with these files, folders, globs or @list.txt, the --input that the index was built from",
        default=(),
    )

    def __post_init__(self) -> None:
        if not self.index:
            raise ValueError("no index is named")
        if self.documents and len(self.index) > 1:
            raise ValueError(
                f"--documents are those of one index, {len(self.index)} are named. Check one at a time."
            )


def check(folder: str, documents: Sequence[str] = (), threads: int | None = None) -> Report:
    """Checks one index.

    Args:
      folder: of the index.
      documents: patterns of the input that it was built from, to be compared; none to leave that out.
      threads: None for one a core.

    Raises:
      InputError: there is no index, or no such documents.
    """
    report, threads = Report(), threads or cores()
    with status_line(lambda: f"{folder}: {format_bytes(report.bytes)}, {report.postings:,} postings checked"):
        current = open_index(folder, report)
        if current is None:
            return report
        read = read_as_built(documents, current.about.get("config", {})) if documents else None
        checked = IndexCheck(folder, current, report, threads, digests=read is not None)
        checked.run()
        if read is not None:
            Comparison(checked, read, threads).run()
    return report


def run(argv: Sequence[str] | None = None) -> int:
    """Checks the indexes that the command line names; the exit code."""
    return run_tool(
        NAME,
        SUMMARY,
        Config,
        argv,
        lambda config: max(_told(folder, config.documents) for folder in config.index),
    )


def _told(folder: str, documents: Sequence[str]) -> int:
    return tell_check(
        folder,
        partial(check, folder, documents),
        "sound",
        "not sound",
        lambda report: f"{report.postings:,} postings, {report.documents:,} documents",
    )


if __name__ == "__main__":
    sys.exit(run())
