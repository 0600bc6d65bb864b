"""More than the memory of a cluster goes through it; what a hash can't spread, too."""

import faulthandler
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.jars import Jars
from beam_etl.io import manifest
from tests.engines import corpora, launching
from tests.engines.big import Rows, totals
from tests.engines.memory import Peaks
from tests.engines.report import Report

MEMORY = 1 << 30
"""Of the only task manager: the least for two slots, so that ten times as much is made soon."""

CLUSTER = f"{MEMORY >> 20} MiB"

SECONDS = 1800
CLIQUE = 200_000
HOT_ROWS = 1_000_000
TEXT = " ".join(f"word{number}" for number in range(40))

pytestmark = pytest.mark.long


@pytest.fixture
def small_cluster(flink_jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Running]:
    """One task manager of two slots, new for each test, whose peaks are its own; workers can import these tests."""
    folder = str(tmp_path_factory.mktemp("small"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        try:
            yield cluster.start(folder, task_managers=1, slots=2, memory_bytes=MEMORY, say=print)
        finally:
            cluster.stop(folder)


@pytest.fixture(autouse=True)
def patience() -> None:
    """The suite ends what takes more than 5 minutes. These may; their jobs have limits of their own."""
    faulthandler.cancel_dump_traceback_later()


def shuffle(
    rows: Rows, running: cluster.Running, folder: Path
) -> tuple[tuple[int, int, int], dict[str, int]]:
    """The sums of all rows behind a shuffle, and the peaks of memory in MiB."""
    numbers = map(str, (rows.batches, rows.batch_rows, rows.words, rows.keys))
    with Peaks(running) as peaks, (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "tests.engines.big", str(folder / "out"), *numbers]
        command += launching.on(running, 2)[1:]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, stdout=log, stderr=log, timeout=SECONDS, check=False)
    assert done.returncode == 0, (folder / "log").read_text(encoding="utf-8")[-4000:]
    return totals(pq.read_table(folder / "out" / "sums")), peaks.by_name()


def test_a_shuffle_of_ten_times_the_memory_completes(
    small_cluster: cluster.Running, report: Report, tmp_path: Path
) -> None:
    rows = Rows(batches=10 * MEMORY // (8 << 20), batch_rows=8 << 10, words=126, keys=1 << 20)
    assert rows.bytes >= 10 * MEMORY
    sums, peaks = shuffle(rows, small_cluster, tmp_path)
    report.memory(f"shuffle of {rows.bytes / 1e9:.1f} GB", CLUSTER, peaks)
    assert sums == rows.sums()


def test_a_hot_key_of_a_million_rows_is_one_group(
    small_cluster: cluster.Running, report: Report, tmp_path: Path
) -> None:
    rows = Rows(batches=100, batch_rows=HOT_ROWS // 100, words=1, keys=1)
    sums, peaks = shuffle(rows, small_cluster, tmp_path)
    report.memory("hot key of 1,000,000 rows", CLUSTER, peaks)
    assert sums == rows.sums()
    assert pq.read_table(tmp_path / "out" / "sums").num_rows == 1


@pytest.mark.parametrize("method", ["near", "exact"])
def test_of_a_clique_one_document_stays(
    method: str, small_cluster: cluster.Running, report: Report, tmp_path: Path
) -> None:
    source = corpora.copies(tmp_path / "in", CLIQUE, 4, TEXT)
    arguments = [f"--input={source}", f"--output={tmp_path / 'out'}", f"--method={method}"]
    with Peaks(small_cluster) as peaks:
        launching.run("dedup", [*arguments, *launching.on(small_cluster, 2)], tmp_path / "log")
    report.memory(f"{CLIQUE:,} copies, {method}", CLUSTER, peaks.by_name())
    published = manifest.latest(str(tmp_path / "out"))
    assert published is not None
    assert (published.rows("documents"), published.rows("removals")) == (1, CLIQUE - 1)
    removals = pq.read_table(tmp_path / "out" / "removals", columns=["id", "survivor_id", "cluster_size"])
    assert Counter(removals["survivor_id"].to_pylist()) == {"copy-0000000": CLIQUE - 1}
    assert len(set(removals["id"].to_pylist())) == CLIQUE - 1
    assert set(removals["cluster_size"].to_pylist()) == {CLIQUE}


def test_a_million_documents_of_one_group_are_counted(
    small_cluster: cluster.Running, report: Report, tmp_path: Path
) -> None:
    source = corpora.copies(tmp_path / "in", HOT_ROWS, 4, "five words in this text")
    arguments = [f"--input={source}", f"--output={tmp_path / 'out'}", "--by=text"]
    with Peaks(small_cluster) as peaks:
        launching.run("token_count", [*arguments, *launching.on(small_cluster, 2)], tmp_path / "log")
    report.memory("1,000,000 documents of a group", CLUSTER, peaks.by_name())
    (row,) = pq.read_table(tmp_path / "out" / "counts").to_pylist()
    assert (row["documents"], row["tokens"]) == (HOT_ROWS, 5 * HOT_ROWS)
