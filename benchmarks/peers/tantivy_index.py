"""tantivy: an index of words with frequencies, or with positions, by two threads.

tantivy_index.py SOURCE OUTPUT freq|position. Its default tokeniser cuts at what isn't alphanumeric, and drops
long words.
Prints documents and the bytes of the index.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq
import tantivy

HEAP_BYTES = 1 << 30

if __name__ == "__main__":
    source, output, option = sys.argv[1:]
    schema = (
        tantivy.SchemaBuilder()
        .add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
        .add_text_field("text", stored=False, index_option=option)
        .build()
    )
    index = tantivy.Index(schema, path=output)
    writer = index.writer(HEAP_BYTES, 2)
    for path in sorted(Path(source).glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(1000, columns=["id", "text"]):
            for identity, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                writer.add_document(tantivy.Document(id=identity, text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    print(index.searcher().num_docs, sum(path.stat().st_size for path in Path(output).iterdir()))
