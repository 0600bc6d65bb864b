"""What `make demo-stream` runs: the demo's documents as a stream, with windows that close while one looks on."""

import shlex
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from showing import run, show

DOCUMENTS = Path("demo/documents")
CRAWL = Path("demo/crawl")
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOURS = 2
"""Of the crawl that is played: a document every so often, in an order of its own."""

MAX_DOCUMENTS = 6_000
REASONS_SHOWN = 4
ROWS_SHOWN = 6
SPEED = 600
"""Ten minutes a second."""
SECONDS = HOURS * 3600 // SPEED

STREAM = (
    f"--input=replay:{CRAWL}",
    "--window=fixed:10m",
    "--replay_disorder=20m",
    f"--replay_speed={SPEED}",
    "--stream_splits=1",
    "--runner=BundleBasedDirectRunner",
)
ABOUT = f"""
A crawl of {HOURS} hours, played in {SECONDS} s. Its documents come up to 20 minutes late
(--replay_disorder), windows wait 10 minutes for them (--max_disorder), and take what comes up to 5 minutes later
in a further pane (--allowed_lateness). What is later still is a reject, which tells how late it was.

This runs in one process, with no Java, and has not all that a stream needs: nothing is checkpointed, so after a
failure or a stop it begins anew; all documents are held in memory; no pane is given out by the time of day. With
--runner=flink the same commands go on after failures with each document counted once, stop with a savepoint and
start from it.

Ctrl-C stops it; the windows that were published stay.
"""
NEXT = f"""
Next:
  .venv/bin/beam-etl describe demo/stream_token_count
  .venv/bin/python -m beam_etl.engines.flink start                      (needs a JDK and Maven)
  .venv/bin/beam-etl token_count --input=replay:{CRAWL} --window=fixed:10m --runner=flink --output=demo/on_flink
"""


def make_crawl() -> None:
    """Some of the demo's documents, with the time at which a crawler might have found them."""
    if not DOCUMENTS.is_dir():
        run("examples/demo_documents.py", f"--output={DOCUMENTS}")
    documents = ds.dataset(DOCUMENTS, format="parquet").to_table()
    order = np.random.default_rng(1).permutation(documents.num_rows)[:MAX_DOCUMENTS]
    found = documents.take(pa.array(order))
    step = timedelta(hours=HOURS) / max(found.num_rows, 1)
    times = pa.array([START + row * step for row in range(found.num_rows)], pa.timestamp("us", "UTC"))
    CRAWL.mkdir(parents=True, exist_ok=True)
    pq.write_table(found.append_column("time", times), CRAWL / "crawl.parquet")


def stream(job: str, *flags: str) -> Path:
    """Runs a job on the stream; the dataset that it wrote. Ends the demo when it fails or is stopped."""
    output = Path(f"demo/stream_{job}")
    shutil.rmtree(output, ignore_errors=True)
    arguments = ["-m", f"beam_etl.pipelines.{job}", *STREAM, *flags, f"--output={output}"]
    print("\n$", shlex.join([Path(sys.executable).name, *arguments]), flush=True)
    with subprocess.Popen([sys.executable, *arguments]) as running:
        try:
            code = running.wait()
        except KeyboardInterrupt:  # the job got it as well, and tells what it published
            code = running.wait() or 130
    if code:
        sys.exit(code)
    return output


def rows(dataset: Path, table: str) -> pa.Table:
    """The rows of a table each of whose rows is written once."""
    return ds.dataset(dataset / table, format="parquet").to_table()


def main() -> None:
    """The whole demo."""
    make_crawl()
    print(ABOUT)
    counted = stream("token_count", "--by=language", "--max_disorder=10m", "--allowed_lateness=5m")
    arrivals = rows(counted, "arrivals").group_by("window_start")
    kinds = ("on_time", "late", "too_late")
    print(f"\n{counted}/arrivals, added up: documents of each window by when they came:")
    added = arrivals.aggregate([(kind, "sum") for kind in kinds]).sort_by("window_start")
    show(
        added.select(["window_start", *(f"{kind}_sum" for kind in kinds)]).rename_columns(
            ["window_start", *kinds]
        )
    )
    rejects = rows(counted, "rejects")
    print(f"\n{counted}/rejects: {rejects.num_rows:,} documents came too late for their window, such as:")
    for reason in rejects["reason"].to_pylist()[:REASONS_SHOWN]:
        print(f"  {reason}")
    unique = stream("dedup", "--threshold=0.8", "--remember=2h", "--max_disorder=15m")
    removals = rows(unique, "removals")
    print(
        f"\n{unique}/removals: {removals.num_rows:,} documents have one before them that says the same, such as:"
    )
    show(removals.select(["window_start", "id", "survivor_id", "reason", "similarity"])[:ROWS_SHOWN])
    print(NEXT, end="")


if __name__ == "__main__":
    main()
