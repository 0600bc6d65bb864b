r"""DuckDB: an inverted index by group-bys in SQL.

duckdb_index.py FOLDER OUTPUT writes OUTPUT/index.parquet: a row a term, sorted, with its documents, ascending, and the
frequency in each. Prints terms and postings.

Words are what Rust's `\w+` finds, spelled out, since `\w` of RE2 is ASCII: nearly the same as
Polars' (RE2 knows another version of Unicode, and no Other_Alphabetic). All cores, default memory.

A document is its file's number and its row's: `row_number() over ()` would put all of them behind one thread. Lists are
sorted as packed numbers, which takes less than `list(... order by document)`.
"""

import sys

import duckdb

QUERY = r"""
copy (
    with documents as (
        select ((file_index << 24) + file_row_number)::ubigint as document, text
        from read_parquet('{folder}/*.parquet', file_row_number = true)
    ), words as (
        select document, unnest(regexp_extract_all(
            lower(text), '[\p{{L}}\p{{M}}\p{{Nd}}\p{{Nl}}\p{{Pc}}\x{{200c}}\x{{200d}}]+'
        )) as term
        from documents
    ), postings as (
        select term, document, count(*) as frequency from words group by all
    ), terms as (
        select term, list_sort(list((document << 32) + frequency::ubigint)) as packed from postings group by term
    )
    select
        term,
        list_transform(packed, lambda posting: (posting >> 32)::uinteger) as documents,
        list_transform(packed, lambda posting: (posting & 4294967295)::uinteger) as frequencies
    from terms order by term
) to '{output}/index.parquet' (format parquet, compression zstd)
"""

if __name__ == "__main__":
    folder, output = sys.argv[1:]
    duckdb.execute(QUERY.format(folder=folder, output=output))
    print(
        *duckdb.execute(f"select count(*), sum(len(documents)) from '{output}/index.parquet'").fetchall()[0]
    )
