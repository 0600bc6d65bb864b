"""Polars: a folder sorted in memory, to one file; prints the rows.

polars_sort.py FOLDER OUTPUT COLUMN[,COLUMN]
"""

import sys

import polars as pl

if __name__ == "__main__":
    folder, output, by = sys.argv[1:]
    rows = pl.read_parquet(f"{folder}/*.parquet").sort(by.split(","), nulls_last=True, maintain_order=True)
    rows.write_parquet(f"{output}/sorted.parquet", compression="zstd", compression_level=1)
    print(rows.height)
