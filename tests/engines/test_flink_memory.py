"""What a cluster of the least memory must get through: keys of 32 MiB, also where a shuffle sorts in much less."""

import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster

MIB = 1 << 20
KEY_BYTES = 32 * MIB

JOB = """
import random, sys, zlib
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

keys, pieces, size, shuffles, output, *flags = sys.argv[1:]

def values(key):
    for number in range(int(pieces)):
        yield key, random.Random(f"{key} {number}").randbytes(int(size))

def told(group):
    key, held = group
    return key, [sum(len(value) for value in held), sum(zlib.crc32(value) for value in held)]

with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
    rows = pipeline | beam.Create(range(int(keys))) | beam.Reshuffle() | beam.FlatMap(values)
    sums = rows | beam.GroupByKey() | beam.Map(told)
    for number in range(int(shuffles)):
        sums |= f"Group {number}" >> beam.GroupByKey()
        sums |= f"First {number}" >> beam.MapTuple(lambda key, held: (key, next(iter(held))))
    sums | beam.Map(str) | beam.io.WriteToText(output)
"""


def crc32_sum(key: int, pieces: int, size: int) -> int:
    return sum(zlib.crc32(random.Random(f"{key} {number}").randbytes(size)) for number in range(pieces))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "size", "shuffles"),
    [
        pytest.param(1, 64 << 10, 20, id="one of small slices, among 20 shuffles"),
        pytest.param(8, 4 * MIB, 1, id="one of large slices in every slot", marks=pytest.mark.long),
    ],
)
def test_a_key_of_32_mib_arrives_whole(
    keys: int, size: int, shuffles: int, flink_cluster: cluster.Running, tmp_path: Path
) -> None:
    """With few megabytes for each shuffle, the joined slices of a key are a record larger than what it sorts in."""
    pieces = KEY_BYTES // size
    arguments = [str(number) for number in (keys, pieces, size, shuffles)]
    flags = [
        "--runner=PortableRunner",
        *flink_cluster.flags(),
        "--parallelism=4",
        "--environment_cache_millis=1000",
    ]
    ran = subprocess.run(
        [sys.executable, "-c", JOB, *arguments, str(tmp_path / "sums"), *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = "".join(path.read_text() for path in tmp_path.glob("sums*")).split("\n")
    assert sorted(filter(None, found)) == [
        f"({key}, [{KEY_BYTES}, {crc32_sum(key, pieces, size)}])" for key in range(keys)
    ]
