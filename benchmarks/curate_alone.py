"""What the steps of examples/fineweb.toml cost without a pipeline, in one thread, over WET files; prints CPU seconds.

python -m benchmarks.curate_alone FOLDER OUTPUT

Every step gets what the one before has left. Text is read, put down, read again, and what is left is written.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.read import ReadDocuments
from beam_etl.kernels.c4_lines import keep_lines
from beam_etl.kernels.candidates import NearRule, sign
from beam_etl.kernels.document_rules import HasText, filter_documents
from beam_etl.kernels.filtering import filter_quality
from beam_etl.kernels.funnel import count_text
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.languages import detect_languages
from beam_etl.kernels.masking import mask_addresses
from beam_etl.kernels.quality import rules_of
from beam_etl.kernels.token_counts import document_counter
from beam_etl.kernels.vocabularies import WORDS
from beam_etl.pipelines.curate import Config


class Spent:
    """CPU seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        result = work(*arguments, **options)
        self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - start
        return result


def read_all(folder: Path) -> list[pa.RecordBatch]:
    """All documents of a folder."""
    read = ReadDocuments(patterns=str(folder), columns=Columns(needed=("id", "text"), carry=ALL))
    return [batch for file in read.files for batch in read.read_file(file)]


def put_down(batches: list[pa.RecordBatch], path: Path) -> None:
    with path.open("wb") as file:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(file, batches[0].schema, options=options) as writer:
            for batch in batches:
                writer.write_batch(batch)


def read_again(path: Path) -> list[pa.RecordBatch]:
    with path.open("rb") as file, pa.ipc.open_stream(file) as reader:
        return list(reader)


def steps(config: Config, spent: Spent) -> Iterator[tuple[str, Callable[[pa.RecordBatch], pa.RecordBatch]]]:
    """The steps before documents are put down, each from batch to batch."""
    quality, (language,) = config.quality, config.extracting.language_rules
    assert quality is not None
    rules, again = rules_of(quality.rules), rules_of(["fineweb"])
    yield "tokens", count_text(WORDS)
    yield "empty", lambda batch: filter_documents(batch, [HasText()]).kept
    yield "detect language", detect_languages
    yield "language", lambda batch: filter_documents(batch, [language]).kept
    yield "quality", lambda batch: filter_quality(batch, rules).kept
    yield "lines", lambda batch: keep_lines(batch).kept
    yield "quality again", lambda batch: filter_quality(batch, again).kept


def run(folder: Path, output: Path, config: Config) -> dict[str, float]:
    spent = Spent()
    rule, counter = NearRule(ngram=5, banding=config.near.near.banding), document_counter(WORDS)  # type: ignore[union-attr]
    first = list(steps(config, spent))
    some = pa.record_batch({"address": pa.array([0], pa.uint64()), "id": ["a"], "text": ["Some words."]})
    for _, kernel in first:  # compiled or loaded before it counts
        kernel(some if "lang" in some.schema.names else detect_languages(some))
    sign(some, rule, Keep(), low=False)
    batches = spent("read", read_all, folder)
    for step, kernel in first:
        batches = [spent(step, kernel, batch) for batch in batches]
    for batch in batches:
        spent("sign", sign, batch, rule, Keep(), low=False)
    spent("put down", put_down, batches, output / "put")
    batches = spent("read again", read_again, output / "put")
    batches = [spent("mask", mask_addresses, batch) for batch in batches]
    batches = [spent("count tokens", counter, batch) for batch in batches]
    spent("write", pq.write_table, pa.Table.from_batches(batches), output / "out.parquet", compression="zstd")
    return spent.seconds


if __name__ == "__main__":
    given, made = map(Path, sys.argv[1:])
    told = Config(config="examples/fineweb.toml", input=(str(given),), output=str(made))
    seconds = run(given, made, told)
    print("  ".join(f"{step} {value:.2f}" for step, value in seconds.items()))
    print(f"{sum(seconds.values()):.2f}")
