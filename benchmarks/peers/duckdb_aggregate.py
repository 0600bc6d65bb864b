"""DuckDB: pages by domain, to one file; prints the groups.

duckdb_aggregate.py FOLDER OUTPUT
"""

import sys

import duckdb

if __name__ == "__main__":
    folder, output = sys.argv[1:]
    duckdb.sql(
        f"copy (select domain, count(*) as count, sum(bytes) as sum_bytes, max(words) as max_words "
        f"from '{folder}/*.parquet' group by domain) to '{output}/groups.parquet' (format parquet)"
    )
    [(groups,)] = duckdb.sql(f"select count(*) from '{output}/groups.parquet'").fetchall()
    print(groups)
