"""Documents and what a crawler knows of their urls, both hashed by url: from then on joins cost no shuffle."""

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from jobs import check, folders, launch, rows

BUCKETS = 4


def write_metadata(documents: Path, folder: Path) -> None:
    """A row for each url, in the order of urls: its status, and when it was fetched."""
    urls = sorted(set(ds.dataset(documents, format="parquet").to_table(columns=["url"])["url"].to_pylist()))
    began = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    fetched = [began + datetime.timedelta(seconds=number) for number in range(len(urls))]
    status = [404 if number % 50 == 0 else 200 for number in range(len(urls))]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"url": urls, "status": status, "fetched": fetched}), folder / "0.parquet")


def main() -> None:
    """Partitions both once, joins them where they lie, and compares with the join that shuffles."""
    documents, output = folders(__doc__, "demo/partitioned_join")
    write_metadata(documents, output / "crawler")
    for source, name in ((documents, "documents"), (output / "crawler", "url_metadata")):
        flags = (f"--input={source}", f"--output={output / name}", "--overwrite=true")
        launch("repartition", *flags, f"--partition=hash:url:{BUCKETS}", "--order=url")
    sides = (f"--left={output / 'documents'}", f"--right={output / 'url_metadata'}", "--on=url")
    placed = launch("join", *sides, f"--output={output / 'joined'}", "--overwrite=true")
    sides = (f"--left={documents}", f"--right={output / 'crawler'}", "--on=url")
    launch("join", *sides, "--way=shuffle", f"--output={output / 'shuffled'}", "--overwrite=true")
    found, others = (
        rows(output / name, "documents", "url", "id", "status") for name in ("joined", "shuffled")
    )
    print()
    check(f"no shuffle joined {found.num_rows:,} rows", placed == 0 and found.num_rows > 0)
    check("the join that shuffles gives the same rows", found.equals(others))


if __name__ == "__main__":
    main()
