"""Dask's DataFrame with two workers: aggregate, join or sort folders of Parquet; prints the rows.

dask_tables.py aggregate FOLDER OUTPUT
dask_tables.py join DOCUMENTS METADATA OUTPUT
dask_tables.py sort FOLDER OUTPUT COLUMN
"""

import sys

import dask.dataframe as dd
import pyarrow.parquet as pq
from dask.distributed import Client, LocalCluster


def read(folder: str) -> dd.DataFrame:
    return dd.read_parquet(f"{folder}/*.parquet", split_row_groups=True)


def aggregate(folder: str, output: str) -> None:
    found = read(folder).groupby("domain").agg({"words": ["count", "max"], "bytes": "sum"})
    found.columns = ["count", "max_words", "sum_bytes"]
    found.reset_index().to_parquet(output, compression="zstd")


def join(documents: str, metadata: str, output: str) -> None:
    read(documents).merge(read(metadata), on="url").to_parquet(output, compression="zstd")


def sort(folder: str, output: str, by: str) -> None:
    read(folder).sort_values(by).to_parquet(output, compression="zstd")


JOBS = {"aggregate": (aggregate, 1), "join": (join, 2), "sort": (sort, 1)}

if __name__ == "__main__":
    job, inputs = JOBS[sys.argv[1]]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        job(*sys.argv[2:])
    print(pq.read_table(sys.argv[2 + inputs], columns=[]).num_rows)
