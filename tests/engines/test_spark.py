"""The same rows on Spark as in process, and verdicts told: batch jobs, through Beam's job server for Spark.

Spark runs inside the job server, two tasks at a time. Streams don't work there.
"""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from beam_etl.engines.flink import jars, processes
from beam_etl.engines.flink.jars import Jars
from beam_etl.io import manifest
from tests.engines import launching
from tests.engines.bench import WEBTEXT, Bench
from tests.engines.faults import wait_for
from tests.engines.modes import MODES
from tests.engines.report import Report

POM = Path(__file__).parent / "spark/pom.xml"
HOST = "127.0.0.1"

OPENED = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic"),
    *("sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar"),
)
"""Packages whose private fields Spark 3.5 reads. Spark's own commands open them; nobody does here."""

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.host": HOST,
    "spark.driver.bindAddress": HOST,
}

CASES = [
    *((mode, "pool") for mode in ("tokens and documents", "near, verified", "near, in rounds")),
    *((mode, "pool") for mode in ("near, signatures", "exact")),
    ("near, verified", "PROCESS"),
    ("tokens and documents", "LOOPBACK"),
]


@dataclass(frozen=True)
class Server:
    """Beam's job server with Spark inside."""

    process: "subprocess.Popen[bytes]"
    endpoint: str


@pytest.fixture(scope="module")
def server(flink_jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, (port,) = tmp_path_factory.mktemp("spark"), processes.free_ports(1)
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command(flink_jars, folder, port), stdout=out, stderr=out, cwd=folder)
    try:

        def listens() -> bool | None:
            assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
            with socket.socket() as client:
                return True if client.connect_ex((HOST, port)) == 0 else None

        wait_for("the job server", listens)
        yield Server(process, f"{HOST}:{port}")
    finally:
        process.terminate()
        process.wait(60)


def command(flink_jars: Jars, folder: Path, port: int) -> list[str]:
    loopback = flink_jars.class_path.split(os.pathsep)[0]  # Beam's servers as ours are: on this machine only
    settings = {**SETTINGS, "spark.local.dir": str(folder), "java.io.tmpdir": str(folder)}
    return [
        flink_jars.java,
        "-Xmx1g",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
        *(f"-D{name}={value}" for name, value in settings.items()),
        *("-cp", os.pathsep.join([loopback, *spark_jars()])),
        "org.apache.beam.runners.spark.SparkJobServerDriver",
        "--spark-master-url=local[2]",
        f"--job-port={port}",
        "--artifact-port=0",
        "--expansion-port=-1",
        f"--artifacts-dir={folder / 'artifacts'}",
    ]


def spark_jars() -> list[str]:
    folder = jars.fetch(jars.find_java(), POM, "Spark", print)
    return sorted(map(str, folder.glob("*.jar")))


@contextmanager
def workers(kind: str, folder: Path) -> Iterator[list[str]]:
    """Flags of workers of a kind; inside, they can be had."""
    if kind == "pool":
        with launching.own_pool(folder / "pool.log", {}) as flags:
            yield flags
    elif kind == "PROCESS":
        # Else every stage starts a Python anew. A killed worker would then be met by every retry.
        yield [*launching.by_process(folder), "--environment_cache_millis=1000"]
    else:
        yield ["--environment_type=LOOPBACK"]


@pytest.mark.long
@pytest.mark.parametrize(("mode", "kind"), CASES)
def test_rows_on_spark_are_those_in_process(
    mode: str, kind: str, server: Server, bench: Bench, report: Report, tmp_path: Path
) -> None:
    arguments = bench.arguments(mode, WEBTEXT, tmp_path / "out")
    with workers(kind, tmp_path) as flags:
        on_spark = ["--runner=spark", f"--job_endpoint={server.endpoint}", *flags]
        seconds = launching.run(MODES[mode].job, [*arguments, *on_spark], tmp_path / "log")
    there, here = MODES[mode].published(tmp_path / "out"), bench.expected(mode, WEBTEXT)
    report.digest((mode, WEBTEXT, "Spark local[2]", kind), there, here, seconds)
    assert there == here


@pytest.mark.long
def test_a_verdict_ends_a_job_on_spark(server: Server, bench: Bench, tmp_path: Path) -> None:
    arguments = bench.arguments("near", WEBTEXT, tmp_path / "out")
    verdict = ["--max_cluster_size=2", "--oversized=fail"]
    with workers("pool", tmp_path) as flags:
        on_spark = ["--runner=spark", f"--job_endpoint={server.endpoint}", *flags]
        launched = launching.launch("dedup", [*arguments, *verdict, *on_spark], tmp_path / "log")
        assert launched.wait() == 1
    assert "above --max_cluster_size=2" in launched.said
    assert manifest.latest(str(tmp_path / "out")) is None


@pytest.mark.long
def test_its_job_server_is_open_to_this_machine_only(server: Server) -> None:
    addresses = [address for address, _ in processes.listening(server.process.pid)]
    assert len(addresses) >= 2  # jobs and artifacts
    assert all(map(processes.is_loopback, addresses))
