"""Finding Java, and downloading jars: what lacks is told, and nothing is left half done."""

import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from beam_etl.engines.flink import jars, processes
from beam_etl.engines.flink.jars import Jars, Java, SetupError
from tests.engines.clusters import wait_until


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def java_home(folder: Path, version: str, tools: tuple[str, ...] = ("java", "javac")) -> Path:
    for tool in tools:
        script(folder / "bin" / tool, f"echo 'openjdk version \"{version}\"' >&2")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/beam_etl/flink"


def told(text: str) -> None:
    assert text


@pytest.mark.parametrize(("version", "expected"), [("17.0.15", 17), ("11.0.2", 11), ("17", 17)])
def test_java_home_goes_first(
    version: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = java_home(tmp_path / "jdk", version)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert jars.find_java() == Java(home, expected)


def test_a_java_on_the_path_is_found_by_its_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = java_home(tmp_path / "jdk", "17.0.1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/javac").symlink_to(home / "bin/javac")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert jars.find_java() == Java(home, 17)


UNSUITABLE = {
    "none": ([], "found: no Java"),
    "too new": ([("21.0.2", ("java", "javac"))], "found: 21 at"),
    "too old": ([("1.8.0_402", ("java", "javac"))], "found: 8 at"),
    "no compiler": ([("17.0.15", ("java",))], r"found: 17 at .* \(no JDK: no javac\)"),
}


@pytest.mark.parametrize(("homes", "message"), UNSUITABLE.values(), ids=UNSUITABLE)
def test_a_missing_or_wrong_java_is_told_with_the_way_to_install_one(
    homes: list[tuple[str, tuple[str, ...]]], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [java_home(tmp_path / version, version, tools) for version, tools in homes]
    monkeypatch.setattr(jars, "_homes", lambda: [*made, tmp_path / "nothing here"])
    with pytest.raises(SetupError, match=message) as error:
        jars.find_java()
    assert "needs a JDK 11 or 17" in str(error.value)
    assert "apt-get install openjdk-17-jdk-headless maven" in str(error.value)


@pytest.fixture
def with_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Java that runs nothing; returns the folder that is the PATH."""
    found = Java(java_home(tmp_path / "jdk", "17.0.15"), 17)
    monkeypatch.setattr(jars, "find_java", lambda: found)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(
        jars.shutil, "which", lambda name: next(map(str, (tmp_path / "bin").glob(name)), None)
    )
    return tmp_path / "bin"


def test_without_a_home_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(SetupError, match="set XDG_CACHE_HOME=PATH"):
        jars.cache_folder()


def test_without_maven_it_says_so(with_java: Path, cache: Path) -> None:
    with pytest.raises(SetupError, match="no mvn.*apt-get install"):
        jars.install(told)
    assert [path.name for path in cache.iterdir()] == ["jars.lock"]


def test_a_failed_download_tells_mavens_reason_and_leaves_nothing(with_java: Path, cache: Path) -> None:
    script(
        with_java / "mvn",
        "echo '[INFO] Scanning'; echo '[ERROR] Failed to execute goal: no route to host'; echo '[ERROR]'; "
        "echo '[ERROR] Re-run Maven using the -X switch'; echo '[ERROR] [Help 1] elsewhere'; exit 1",
    )
    with pytest.raises(SetupError) as error:
        jars.install(told)
    assert str(error.value) == "Maven could not download Flink:\nFailed to execute goal: no route to host"
    assert [path.name for path in cache.iterdir()] == ["jars.lock"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_download_leaves_nothing(
    number: signal.Signals, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_home(tmp_path / "jdk", "17.0.15")
    started = tmp_path / "started"
    script(
        tmp_path / "bin/mvn",
        f"sleep 0.3; echo $$ > {started}.new; mv {started}.new {started}; exec sleep 600",
    )
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    line = [sys.executable, "-m", "beam_etl.engines.flink", "start", f"--folder={tmp_path / 'cluster'}"]
    with subprocess.Popen(line, stderr=subprocess.DEVNULL) as starting:
        try:
            wait_until(started.exists)
            starting.send_signal(number)
            assert starting.wait(60) == 130
        finally:
            starting.kill()
    assert processes.birth(int(started.read_text())) == ""
    assert [path.name for path in cache.iterdir()] == ["jars.lock"]
    assert not (tmp_path / "cluster").exists()


def test_what_a_killed_download_left_is_removed_by_the_next(with_java: Path, cache: Path) -> None:
    (cache / "unfinished-abc/jars").mkdir(parents=True)
    script(with_java / "mvn", "exit 1")
    with pytest.raises(SetupError):
        jars.install(told)
    assert [path.name for path in cache.iterdir()] == ["jars.lock"]


def test_what_does_not_compile_is_not_kept(with_java: Path, cache: Path) -> None:
    script(with_java / "mvn", 'for last; do :; done; mkdir -p "${last#-DoutputDirectory=}"')
    script(with_java.parent / "jdk/bin/javac", "echo 'package org.apache does not exist' >&2; exit 1")
    with pytest.raises(SetupError, match="javac failed:\npackage org.apache does not exist"):
        jars.install(told)
    assert [path.name for path in cache.iterdir()] == ["jars.lock"]


STREAMING = "org/apache/beam/runners/flink/translation/wrappers/streaming"

REWRITTEN = {
    "servers": (
        "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory",
        ["beametl/Loopback.forPort"],
        "NettyServerBuilder.forPort",
    ),
    "beginning of a bundle": (
        "org/apache/beam/runners/fnexecution/control/SdkHarnessClient$BundleProcessor",
        ["beametl/Drain.registerReceiver", "beametl/Drain.createOutboundAggregator", "beametl/Lost.handle"],
        "FnDataService.registerReceiver",
    ),
    "end of a bundle": (
        "org/apache/beam/runners/fnexecution/control/SdkHarnessClient$BundleProcessor$ActiveBundle",
        ["beametl/Drain.accept", "beametl/Drain.awaitCompletion", "beametl/Drain.close"],
        "BeamFnDataInboundObserver.awaitCompletion",
    ),
    "sending to a worker": (
        "org/apache/beam/sdk/fn/stream/DirectStreamObserver",
        ["bipush        1\n", "beametl/Lost.isReady", "beametl/Lost.awaitAdvanceInterruptibly"],
        "bipush        100\n",
    ),
    "data of a worker": (
        "org/apache/beam/runners/fnexecution/data/GrpcDataService",
        ["beametl/Lost.getInboundObserver", "beametl/Lost.registerConsumer", "beametl/Lost.get:"],
        "BeamFnDataGrpcMultiplexer.getInboundObserver",
    ),
    "the rest of a source": (
        "org/apache/beam/runners/fnexecution/control/BundleCheckpointHandlers$StateAndTimerBundleCheckpointHandler",
        ["beametl/Residuals.value", "beametl/Residuals.state"],
        "StateTags.value",
    ),
    "going on with a source": (
        f"{STREAMING}/ExecutableStageDoFnOperator$SdkHarnessDoFnRunner",
        ["beametl/Residuals.value", "beametl/Residuals.state"],
        "StateTags.value",
    ),
    "going on in batch": (
        "org/apache/beam/runners/flink/translation/functions/FlinkExecutableStageFunction",
        ["beametl/Residuals.value", "beametl/Residuals.state"],
        "StateTags.value",
    ),
    "control of a worker": (
        "org/apache/beam/runners/fnexecution/environment/ExternalEnvironmentFactory",
        ["beametl/Lost.take"],
        "ControlClientPool$Source.take",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ours", "beams"), REWRITTEN.values(), ids=REWRITTEN)
def test_beams_classes_are_ours_on_the_class_path(
    name: str, ours: list[str], beams: str, flink_jars: Jars
) -> None:
    first, *others = flink_jars.class_path.split(os.pathsep)
    holders = [path for path in (first, *others) if f"{name}.class" in zipfile.ZipFile(path).namelist()]
    assert holders[0] == first
    assert len(holders) == 2
    javap = Path(flink_jars.java).with_name("javap")
    code = subprocess.run(
        [javap, "-c", "-p", "-cp", flink_jars.class_path, name.replace("/", ".")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [call for call in ours if call not in code] == []
    assert beams not in code


LOST = {
    "before its control stream": "IllegalStateException: worker 1-1 opened no control stream in PT2M",
    "before its output has a taker": "IllegalStateException: the service is closed",
    "before its stream of data": "IllegalStateException: the control stream broke",
    "while it is sent to": "StatusRuntimeException: CANCELLED: call already cancelled",
    "while it sends": "IllegalStateException: the worker was lost before all output of its bundle had come",
}


@pytest.mark.slow
def test_a_bundle_whose_worker_is_lost_fails_and_never_stands_still(flink_jars: Jars) -> None:
    source = Path(__file__).parent / "java/LostWorker.java"
    command = [flink_jars.java, "-XX:TieredStopAtLevel=1", "-cp", flink_jars.class_path, source]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    found = dict(line.split("\t", 1) for line in ran.stdout.splitlines() if "\t" in line)
    assert found.keys() == LOST.keys(), ran.stderr
    assert [(point, end) for point, end in found.items() if LOST[point] not in end] == []


@pytest.mark.slow
def test_jars_that_are_there_need_no_maven(flink_jars: Jars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_build", None)
    assert jars.install(told) == flink_jars
