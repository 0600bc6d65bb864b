"""SQLite FTS5 without content: words and documents, or with positions too.

sqlite_index.py SOURCE OUTPUT column|full. Words are those of its tokeniser unicode61.
Prints documents and the bytes of the index.
"""

import sqlite3
import sys
from pathlib import Path

import pyarrow.parquet as pq

if __name__ == "__main__":
    source, output, detail = sys.argv[1:]
    path = Path(output) / "index.db"
    with sqlite3.connect(path) as database:
        database.execute("pragma journal_mode = off")
        database.execute(
            f"create virtual table documents using fts5(text, content='', detail={detail}, "
            "tokenize='unicode61 remove_diacritics 0')"
        )
        number = 0
        for file in sorted(Path(source).glob("*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(1000, columns=["text"]):
                rows = [(number + at, text) for at, text in enumerate(batch.column(0).to_pylist())]
                database.executemany("insert into documents(rowid, text) values (?, ?)", rows)
                number += len(rows)
        database.execute("insert into documents(documents) values ('optimize')")
    print(number, path.stat().st_size)
