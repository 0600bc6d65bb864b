"""Polars: documents and words by language, with its regular expressions; prints the sum of all words."""

import sys

import polars as pl

if __name__ == "__main__":
    counts = (
        pl.scan_parquet(f"{sys.argv[1]}/*.parquet")
        .select("lang", words=pl.col("text").str.to_lowercase().str.count_matches(r"\w+"))
        .group_by("lang")
        .agg(pl.len(), pl.col("words").sum())
        .collect(engine="streaming")
    )
    print(counts["words"].sum())
