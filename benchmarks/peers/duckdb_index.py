"""DuckDB: the postings of each word, by a regular expression and two group-bys, to Parquet.

duckdb_index.py SOURCE OUTPUT. Prints terms and postings.
"""

import sys

import duckdb

QUERY = r"""
copy (
    with documents as (select row_number() over () as document, text from read_parquet('{source}/*.parquet')),
    words as (
        select document, unnest(regexp_extract_all(lower(text), '[\p{{L}}\p{{M}}\p{{Nd}}\p{{Pc}}]+')) as term
        from documents
    ),
    postings as (select term, document, count(*) as frequency from words group by term, document)
    select term, list(document order by document) as documents, list(frequency order by document) as frequencies
    from postings group by term order by term
) to '{output}/index.parquet' (format parquet, compression zstd)
"""

if __name__ == "__main__":
    source, output = sys.argv[1:]
    duckdb.execute(QUERY.format(source=source, output=output))
    print(
        *duckdb.execute(f"select count(*), sum(len(documents)) from '{output}/index.parquet'").fetchall()[0]
    )
