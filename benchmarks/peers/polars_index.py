"""Polars: the postings of each word, by a regular expression and two group-bys, to Parquet.

polars_index.py SOURCE OUTPUT. Prints terms and postings.
"""

import sys

import polars as pl

if __name__ == "__main__":
    source, output = sys.argv[1:]
    words = (
        pl.scan_parquet(f"{source}/*.parquet")
        .select(
            document=pl.int_range(pl.len(), dtype=pl.UInt32),
            term=pl.col("text").str.to_lowercase().str.extract_all(r"\w+"),
        )
        .explode("term")
        .drop_nulls("term")
    )
    postings = (
        words.group_by("term", "document").agg(frequency=pl.len().cast(pl.UInt32)).sort("term", "document")
    )
    index = (
        postings.group_by("term", maintain_order=True)
        .agg(documents=pl.col("document"), frequencies=pl.col("frequency"))
        .collect(engine="streaming")
    )
    index.write_parquet(f"{output}/index.parquet", compression="zstd", compression_level=1)
    print(index.height, index["documents"].list.len().sum())
