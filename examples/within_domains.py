"""A crawl partitioned by domain: duplicates within domains and scores of domains without a shuffle."""

from jobs import check, folders, launch, rows

BUCKETS = 4


def main() -> None:
    """Partitions once; each job finds the partitions in the manifest, and gives what it gives with shuffles."""
    documents, output = folders(__doc__, "demo/within_domains")
    partitioned = output / "by_domain"
    flags = (f"--partition=hash:domain:{BUCKETS}", f"--output={partitioned}", "--overwrite=true")
    launch("repartition", f"--input={documents}", *flags)
    counts = []
    for source, name in ((partitioned, "placed"), (documents, "shuffled")):
        for pipeline, more in (("dedup", ("--within=domain",)), ("domain_score", ())):
            target = output / f"{pipeline}_{name}"
            counts.append(
                launch(pipeline, f"--input={source}", f"--output={target}", "--overwrite=true", *more)
            )
    print()
    check("no shuffle where each partition has all of its domains", counts[:2] == [0, 0])
    for pipeline, table, columns in (
        ("dedup", "removals", ("id", "survivor_id", "reason")),
        ("domain_score", "domains", ("domain", "documents", "score", "rank")),
    ):
        placed, shuffled = (
            rows(output / f"{pipeline}_{name}", table, *columns) for name in ("placed", "shuffled")
        )
        check(f"{pipeline}: the same {placed.num_rows:,} {table} as with shuffles", placed.equals(shuffled))


if __name__ == "__main__":
    main()
