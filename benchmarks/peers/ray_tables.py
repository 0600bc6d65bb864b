"""Ray Data on two cores: aggregate, join or sort folders of Parquet; prints the rows.

ray_tables.py aggregate FOLDER OUTPUT
ray_tables.py join DOCUMENTS METADATA OUTPUT
ray_tables.py sort FOLDER OUTPUT COLUMN
"""

import sys

import pyarrow.parquet as pq
import ray
from ray.data.aggregate import Count, Max, Sum


def aggregate(folder: str, output: str) -> None:
    found = ray.data.read_parquet(folder).groupby("domain").aggregate(Count(), Sum("bytes"), Max("words"))
    found.write_parquet(output)


def join(documents: str, metadata: str, output: str) -> None:
    left, right = ray.data.read_parquet(documents), ray.data.read_parquet(metadata)
    left.join(right, join_type="inner", num_partitions=16, on=("url",)).write_parquet(output)


def sort(folder: str, output: str, by: str) -> None:
    ray.data.read_parquet(folder).sort(by).write_parquet(output)


JOBS = {"aggregate": (aggregate, 1), "join": (join, 2), "sort": (sort, 1)}

if __name__ == "__main__":
    job, inputs = JOBS[sys.argv[1]]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    job(*sys.argv[2:])
    print(pq.read_table(sys.argv[2 + inputs], columns=[]).num_rows)
