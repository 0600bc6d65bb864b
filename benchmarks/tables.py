"""Tables that the benchmarks of partitions make of a corpus: other domains for its documents, and what joins them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

UNIFORM_DOMAINS = 10_000
HOT_DOMAIN = "hot.example"


def with_domains(source: Path, output: Path, hot: int, of: int) -> None:
    """The documents of a folder, of UNIFORM_DOMAINS domains alike, but `hot` out of `of` in one."""
    write(source, output, lambda table, number: _with_domains(table, number, hot, of))


def url_metadata(source: Path, output: Path) -> None:
    """A row for each document of a folder, in another order: its url, and what a crawler knows of it."""
    write(source, output, _metadata, columns=["url", "lang", "date"])


def domain_metadata(output: Path) -> None:
    """A row for each domain that `with_domains` gives."""
    output.mkdir()
    names = [HOT_DOMAIN, *(f"site{number}.example" for number in range(UNIFORM_DOMAINS))]
    ranks = pa.array(np.random.default_rng(1).permutation(len(names)))
    pq.write_table(pa.table({"domain": names, "rank": ranks}), output / "000.parquet")


def page_counts(output: Path, rows: int, hot: int = 0, of: int = 1) -> None:
    """Numbers of pages without their text: domain, words, bytes; the domains as above."""
    output.mkdir()
    drawn = np.random.default_rng(2)
    for at, first in enumerate(range(0, rows, 10_000_000)):
        count = min(10_000_000, rows - first)
        words = drawn.geometric(1 / 500, count)
        table = pa.table(
            {
                "domain": _domains(np.arange(first, first + count), hot, of),
                "words": words,
                "bytes": words * 5 + drawn.integers(0, 500, count),
            }
        )
        pq.write_table(table, output / f"{at:03}.parquet", compression="zstd", row_group_size=1_000_000)


def write(
    source: Path,
    output: Path,
    change: Callable[[pa.Table, int], pa.Table],
    columns: list[str] | None = None,
) -> None:
    """The row groups of a folder's files, each changed by what takes it and the number of its first row."""
    output.mkdir()
    number = 0
    for path, groups in _groups(source, columns):
        writer: pq.ParquetWriter | None = None
        for table in groups:
            changed = change(table, number)
            number += table.num_rows
            writer = writer or pq.ParquetWriter(output / path.name, changed.schema, compression="zstd")
            writer.write_table(changed)
        if writer is not None:
            writer.close()


def _groups(source: Path, columns: list[str] | None) -> Iterator[tuple[Path, Iterator[pa.Table]]]:
    for path in sorted(source.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            yield path, (file.read_row_group(at, columns=columns) for at in range(file.num_row_groups))


def _domains(numbers: np.ndarray, hot: int, of: int) -> pa.Array:
    codes = np.where(numbers % of < hot, UNIFORM_DOMAINS, numbers * 7919 % UNIFORM_DOMAINS)
    names = [*(f"site{number}.example" for number in range(UNIFORM_DOMAINS)), HOT_DOMAIN]
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names)).dictionary_decode()


def _with_domains(table: pa.Table, number: int, hot: int, of: int) -> pa.Table:
    place = table.schema.get_field_index("domain")
    names = _domains(np.arange(number, number + table.num_rows), hot, of)
    return table.set_column(place, "domain", names)


def _metadata(table: pa.Table, number: int) -> pa.Table:
    order = np.random.default_rng(number).permutation(table.num_rows)
    status = np.where(np.arange(number, number + table.num_rows) % 50, 200, 404)
    fetched = pa.array(1_700_000_000_000_000 + 1_000_000 * np.arange(number, number + table.num_rows))
    added = {"status": pa.array(status), "fetched": fetched.cast(pa.timestamp("us", "UTC"))}
    for name, values in added.items():
        table = table.append_column(name, values)
    return table.rename_columns({"lang": "declared_lang", "date": "modified"}).take(pa.array(order))
