"""Polars: two folders joined in memory by url, to one file; prints the rows.

polars_join.py DOCUMENTS METADATA OUTPUT
"""

import sys

import polars as pl

if __name__ == "__main__":
    documents, metadata, output = sys.argv[1:]
    joined = pl.read_parquet(f"{documents}/*.parquet").join(
        pl.read_parquet(f"{metadata}/*.parquet"), on="url"
    )
    joined.write_parquet(f"{output}/joined.parquet", compression="zstd", compression_level=1)
    print(joined.height)
