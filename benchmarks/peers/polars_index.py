r"""Polars: an inverted index by group-bys, words `\w+` of the text in lower case.

polars_index.py FOLDER OUTPUT writes OUTPUT/index.parquet: a row a term, sorted, with its documents, ascending, and the
frequency in each. Documents are numbered in the order of the files. Prints terms and postings.

Words are counted within each document first, which takes less than a group-by over (term, document); the streaming
engine then sorts and groups what is left.
"""

import sys

import polars as pl

if __name__ == "__main__":
    folder, output = sys.argv[1:]
    words = pl.col("text").str.to_lowercase().str.extract_all(r"\w+")
    counts = words.list.eval(pl.element().alias("term").value_counts(name="frequency"))
    index = (
        pl.scan_parquet(f"{folder}/*.parquet")
        .select("text")
        .with_row_index("document")
        .select("document", counts=counts)
        .explode("counts")
        .unnest("counts")
        .drop_nulls("term")
        .sort("document")
        .group_by("term")
        .agg(documents="document", frequencies="frequency")
        .sort("term")
        .collect(engine="streaming")
    )
    index.write_parquet(f"{output}/index.parquet", compression="zstd", compression_level=1)
    print(index.height, index["documents"].list.len().sum())
