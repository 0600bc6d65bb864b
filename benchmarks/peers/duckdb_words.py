"""DuckDB: documents and words by language, with its regular expressions; prints the sum of all words."""

import sys

import duckdb

QUERY = r"""
select lang, count(*), sum(len(regexp_extract_all(lower(text), '[\p{L}\p{M}\p{Nd}\p{Pc}]+'))) as words
from read_parquet($path) group by lang
"""

if __name__ == "__main__":
    print(sum(row[2] for row in duckdb.execute(QUERY, {"path": f"{sys.argv[1]}/*.parquet"}).fetchall()))
