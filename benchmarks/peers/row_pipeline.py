"""The same job with a Python row per element, as most Beam pipelines are written; prints the sum of all words."""

import re
import sys

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

WORD = re.compile(r"\w+")


def count(row: dict[str, str]) -> tuple[str, tuple[int, int]]:
    return row["lang"], (1, len(WORD.findall(row["text"].lower())))


def add(pairs: list[tuple[int, int]]) -> tuple[int, int]:
    documents, words = zip(*pairs, strict=True)
    return sum(documents), sum(words)


if __name__ == "__main__":
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        (
            pipeline
            | beam.io.ReadFromParquet(f"{sys.argv[1]}/*.parquet", columns=["lang", "text"])
            | "Count" >> beam.Map(count)
            | "Sum" >> beam.CombinePerKey(add)
            | "Values" >> beam.Map(lambda pair: (0, pair[1]))
            | "Total" >> beam.CombinePerKey(add)
            | beam.Map(lambda pair: print(pair[1][1]))
        )
