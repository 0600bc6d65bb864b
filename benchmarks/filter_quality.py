"""FilterQuality over a folder, as a pipeline; prints how many documents it keeps.

python -m benchmarks.filter_quality FOLDER                the pipeline, on all cores
python -m benchmarks.filter_quality FOLDER --kernels      signals, then rules, in one thread; prints MB a CPU second
python -m benchmarks.filter_quality FOLDER --verdicts=OUT the rules that each document fails, as a JSON line, by set
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_etl import Columns, FilterQuality, ReadDocuments
from beam_etl.kernels.quality import RULE_SETS, failures, rules_of, signals
from beam_etl.pipelines.runners import make_options, make_runner
from beam_etl.transforms.batches import split_batch

RULES = ("gopher_quality", "gopher_repetition", "fineweb")


def batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """The documents, in batches as a pipeline has them."""
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(4096, columns=["id", "text"]):
            yield from split_batch(batch)


def run_pipeline(folder: Path) -> int:
    kept = beam.metrics.Metrics.counter("benchmark", "kept")
    pipeline = beam.Pipeline(runner=make_runner("direct"), options=make_options("direct", []))
    read = ReadDocuments(patterns=str(folder), columns=Columns(needed=("id", "text")))
    documents = (pipeline | read).documents | FilterQuality(rules=RULES)
    documents.documents | beam.Map(lambda batch: kept.inc(batch.num_rows))
    result = pipeline.run()
    result.wait_until_finish()
    (counter,) = result.metrics().query(beam.metrics.MetricsFilter().with_name("kept"))["counters"]
    return int(counter.committed)


def run_kernels(folder: Path) -> str:
    signals(pa.array(["compiled"]))
    rules, size, seconds = rules_of(RULES), 0, [0.0, 0.0]
    for batch in batches(folder):
        start = time.thread_time()
        found = signals(batch.column("text"))
        middle = time.thread_time()
        failures(found, rules)
        seconds[0] += middle - start
        seconds[1] += time.thread_time() - middle
        size += pc.sum(found.column("bytes")).as_py()
    return f"{size / seconds[0] / 1e6:.1f} {size / sum(seconds) / 1e6:.1f}"


def write_verdicts(folder: Path, output: Path) -> None:
    with output.open("w", encoding="utf-8") as out:
        for batch in batches(folder):
            found = signals(batch.column("text"))
            told = [failures(found, rules).column("failed").to_pylist() for rules in RULE_SETS.values()]
            for row in zip(batch.column("id").to_pylist(), *told, strict=True):
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--verdicts", type=Path)
    given = parser.parse_args()
    if given.verdicts:
        write_verdicts(given.folder, given.verdicts)
    else:
        print(run_kernels(given.folder) if given.kernels else run_pipeline(given.folder))
