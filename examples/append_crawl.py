"""A dataset by date that another crawl is added to: only new partitions are written, old versions stay readable."""

import datetime
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from jobs import check, folders, launch, rows

FIRST = datetime.date(2026, 1, 1)
CRAWLS = {"crawl_1": (0, 1, 2), "crawl_2": (3, 4)}
"""The days of each crawl, from FIRST on."""


def write_crawls(documents: Path, folder: Path) -> None:
    """The documents as two crawls, each on days of its own."""
    table = ds.dataset(documents, format="parquet").to_table()
    table = table.drop_columns([name for name in ("date",) if name in table.column_names])
    days = sum(map(len, CRAWLS.values()))
    for name, of_crawl in CRAWLS.items():
        places = [number for number in range(table.num_rows) if number % days in of_crawl]
        dates = [FIRST + datetime.timedelta(days=number % days) for number in places]
        (folder / name).mkdir(parents=True, exist_ok=True)
        crawl = table.take(pa.array(places)).append_column("date", pa.array(dates, pa.date32()))
        pq.write_table(crawl, folder / name / "0.parquet")


def state(dataset: Path) -> dict[str, tuple[str, int]]:
    """Each data file's digest, and when it was written."""
    files = sorted((dataset / "documents").rglob("*.parquet"))
    return {
        file.relative_to(dataset).as_posix(): (
            hashlib.sha256(file.read_bytes()).hexdigest(),
            file.stat().st_mtime_ns,
        )
        for file in files
    }


def main() -> None:
    """Partitions the first crawl by day, adds the second, and reads both versions."""
    documents, output = folders(__doc__, "demo/append_crawl")
    write_crawls(documents, output)
    dataset = output / "pages"
    flags = ("--partition=time:date:day", f"--output={dataset}")
    launch("repartition", f"--input={output / 'crawl_1'}", *flags, "--overwrite=true")
    before = state(dataset)
    launch("repartition", f"--input={output / 'crawl_2'}", *flags, "--append=true")
    after = state(dataset)
    ids = {}
    for name, source in (("new", dataset), ("old", oldest(dataset))):
        counted = output / f"ids_{name}"
        launch("sort", f"--input={source}", "--by=id", f"--output={counted}", "--overwrite=true")
        ids[name] = rows(counted, "documents", "id")["id"].to_pylist()
    crawls = {name: rows(output, name, "id")["id"].to_pylist() for name in CRAWLS}
    print()
    new = {path.split("/")[1] for path in after.keys() - before.keys()}
    check(f"only new partitions were written ({', '.join(sorted(new))})", len(new) == len(CRAWLS["crawl_2"]))
    check(
        "the old files' bytes and times are untouched", {path: after.get(path) for path in before} == before
    )
    check(
        f"readers find all {len(ids['new']):,} documents",
        ids["new"] == sorted(crawls["crawl_1"] + crawls["crawl_2"]),
    )
    check(f"the first version still has its {len(ids['old']):,}", ids["old"] == crawls["crawl_1"])


def oldest(dataset: Path) -> Path:
    """The manifest of the first version that is kept."""
    return min((dataset / "_manifests").glob("[0-9][0-9][0-9][0-9][0-9][0-9].json"))


if __name__ == "__main__":
    main()
