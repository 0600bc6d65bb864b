"""The same rows on Flink as in process, by a digest of every row of every table."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster
from tests.engines import launching
from tests.engines.bench import LARGE, WEBTEXT, Bench
from tests.engines.modes import MODES
from tests.engines.report import Report


@dataclass(frozen=True)
class Setting:
    """What a job reads, and how it runs on a cluster."""

    source: str
    parallelism: int
    workers: str

    def __str__(self) -> str:
        return f"{self.source}, {self.parallelism} {self.workers}"


SETTINGS = [
    Setting(WEBTEXT, 2, "pool"),
    Setting(WEBTEXT, 4, "PROCESS"),
    Setting(LARGE, 2, "PROCESS"),
    Setting(LARGE, 4, "pool"),
]
"""Every two of the three meet in each way."""


ALIKE = (
    "near",
    "near, partitioned",
    "domains, shuffled",
    "domains, partitioned",
    "first rows",
    "aggregated",
    "sorted",
    "tokens",
    "near, routed to rounds",
    "near, split clusters",
    "near, signatures",
    "near, against earlier",
    "exact, a column",
    "lines",
    "curated",
    "curated, lines",
)
"""Modes whose steps other modes have too."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=pytest.mark.long if mode in ALIKE else ()) for mode in MODES]
)
def test_rows_on_embedded_flink_are_those_in_process(
    mode: str, embedded_flink: cluster.Running, bench: Bench, report: Report, tmp_path: Path
) -> None:
    arguments = [
        *bench.arguments(mode, WEBTEXT, tmp_path / "out"),
        *launching.on(embedded_flink, 2),
    ]
    seconds = launching.run(MODES[mode].job, arguments, tmp_path / "log")
    there, here = MODES[mode].published(tmp_path / "out"), bench.expected(mode, WEBTEXT)
    report.digest((mode, WEBTEXT, "Flink [local]", "2 pool"), there, here, seconds)
    assert there == here


@pytest.mark.long
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_rows_on_a_cluster_are_those_in_process(
    mode: str,
    setting: Setting,
    flink_cluster: cluster.Running,
    bench: Bench,
    report: Report,
    tmp_path: Path,
) -> None:
    workers = launching.by_process(tmp_path) if setting.workers == "PROCESS" else []
    flags = launching.on(flink_cluster, setting.parallelism, workers)
    arguments = [*bench.arguments(mode, setting.source, tmp_path / "out"), *flags]
    seconds = launching.run(MODES[mode].job, arguments, tmp_path / "log")
    there, here = MODES[mode].published(tmp_path / "out"), bench.expected(mode, setting.source)
    how = f"{setting.parallelism} {setting.workers}"
    report.digest((mode, setting.source, "Flink, 2 task managers", how), there, here, seconds)
    assert there == here
