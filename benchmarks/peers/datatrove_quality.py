"""datatrove's quality filters over the Parquet files of a folder; prints how many documents they keep.

datatrove_quality.py FOLDER WORKERS [VERDICTS]: the filters of FineWeb one after the other, as its example chains them,
a task a file. With VERDICTS, all four filters are asked about every document instead, and a JSON line is written for
each: id, and why each filter drops it, empty if it doesn't.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline import filters
from datatrove.pipeline.readers import ParquetReader
from loguru import logger


def count_kept(folder: Path, workers: int) -> int:
    """Runs the filters, and adds up what the last one lets through."""
    steps = [
        ParquetReader(str(folder), text_key="text", id_key="id"),
        filters.GopherRepetitionFilter(),
        filters.GopherQualityFilter(),
        filters.FineWebQualityFilter(),
    ]
    tasks = len(list(folder.glob("*.parquet")))
    with tempfile.TemporaryDirectory() as logs:
        LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=logs).run()
        stats = json.loads((Path(logs) / "stats.json").read_text())
    return int(stats[-1]["stats"]["forwarded"])


def verdicts(folder: Path) -> Iterator[list[str]]:
    """The id of each document, and the first reason of each filter."""
    checks = (
        filters.GopherQualityFilter(),
        filters.GopherRepetitionFilter(),
        filters.FineWebQualityFilter(),
        filters.C4QualityFilter(),
    )
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path, columns=["id", "text"]).to_pylist():
            results = [check.filter(Document(text=row["text"], id=row["id"])) for check in checks]
            yield [row["id"], *("" if result is True else result[1] for result in results)]


if __name__ == "__main__":
    logger.remove()
    given = Path(sys.argv[1])
    if len(sys.argv) > 3:
        with open(sys.argv[3], "w", encoding="utf-8") as out:
            out.writelines(json.dumps(row) + "\n" for row in verdicts(given))
    else:
        print(count_kept(given, int(sys.argv[2])))
