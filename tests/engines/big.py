"""A job that makes rows, shuffles all of them, and sums up what arrives: `python -m tests.engines.big`.

Its workers need this package on their path.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.io.write import WriteDataset
from beam_etl.pipelines.runners import make_options, make_runner
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Distribute, Shuffle

WORD_BYTES = 8


@dataclass(frozen=True)
class Rows:
    """Rows that need `batches` * `batch_rows` * (16 + 8 * `words`) bytes."""

    batches: int
    batch_rows: int
    words: int
    """Of 8 bytes, random, in each row."""
    keys: int

    @property
    def bytes(self) -> int:
        return self.batches * self.batch_rows * (16 + WORD_BYTES * self.words)

    def batch(self, number: int) -> pa.RecordBatch:
        """One batch: row number, key and random bytes."""
        first = number * self.batch_rows
        rows = np.arange(first, first + self.batch_rows, dtype=np.int64)
        words = np.random.default_rng(number).integers(
            0, 1 << 63, self.batch_rows * self.words, dtype=np.int64
        )
        payload = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(WORD_BYTES * self.words), self.batch_rows, [None, pa.py_buffer(words)]
        )
        return pa.RecordBatch.from_arrays(
            [pa.array(rows), pa.array(rows % self.keys), payload], ["row", "key", "payload"]
        )

    def sums(self) -> tuple[int, int, int]:
        """What `summed` gives of all rows together."""
        batches = (summed(iter([self.batch(number)])) for number in range(self.batches))
        return totals(pa.Table.from_batches([sums for some in batches for sums in some]))


def summed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows, the sum of their numbers, and the XOR of their random words: the same in any order."""
    rows = numbers = words = 0
    for batch in batches:
        rows += batch.num_rows
        numbers += int(batch.column("row").to_numpy().sum())
        words ^= int(np.bitwise_xor.reduce(_words(batch.column("payload"))))
    yield pa.RecordBatch.from_pydict({"rows": [rows], "numbers": [numbers], "words": [words]})


def totals(sums: pa.Table) -> tuple[int, int, int]:
    """Those of several partitions together."""
    rows, numbers, words = (sums.column(name).to_numpy() for name in ("rows", "numbers", "words"))
    return int(rows.sum()), int(numbers.sum()), int(np.bitwise_xor.reduce(words))


def _words(payload: pa.Array) -> npt.NDArray[np.int64]:
    width = payload.type.byte_width // WORD_BYTES
    stored = np.frombuffer(payload.buffers()[1], np.int64)
    return stored[payload.offset * width : (payload.offset + len(payload)) * width]


def build(pipeline: beam.Pipeline, rows: Rows) -> Batches:
    return (
        pipeline
        | "Numbers" >> beam.Create(range(rows.batches), reshuffle=False)
        | "Distribute" >> Distribute()
        | "Make" >> beam.Map(rows.batch).with_output_types(pa.RecordBatch)
        | "Shuffle" >> Shuffle(by=("key",), expected_bytes=rows.bytes)
        | "Sum" >> MapPartitions(kernel=summed)
    )


def main(arguments: Sequence[str]) -> int:
    """Arguments: the dataset to write, the four numbers of Rows, and Beam's flags."""
    output, *numbers = arguments[:5]
    rows = Rows(*map(int, numbers))
    options = make_options("flink", arguments[5:], job="big")
    with beam.Pipeline(runner=make_runner("flink"), options=options) as pipeline:
        {"sums": build(pipeline, rows)} | "Write dataset" >> WriteDataset(output=output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
