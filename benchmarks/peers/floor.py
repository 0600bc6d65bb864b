"""The floor: every row group of the input through pyarrow in one process, and written again when asked."""

import sys
from pathlib import Path

import pyarrow.parquet as pq

if __name__ == "__main__":
    folder, columns, output = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
    rows = 0
    for path in sorted(Path(folder).glob("*.parquet")):
        file = pq.ParquetFile(path)
        writer = None
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=columns)
            rows += table.num_rows
            if output:
                writer = writer or pq.ParquetWriter(
                    Path(output[0]) / path.name, table.schema, compression="zstd"
                )
                writer.write_table(table)
        if writer:
            writer.close()
    print(rows)
