"""A stream on Flink: stopped with a savepoint, started again with late data waiting, and drained."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.cluster import Running
from beam_etl.engines.flink.jars import Jars
from tests.engines.streams import Arriving, control, documents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(flink_jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = str(tmp_path_factory.mktemp("flink") / "cluster")
    try:
        yield cluster.start(folder, task_managers=1, slots=2, say=print)
    finally:
        cluster.stop(folder)


def test_every_document_is_in_one_place_when_a_stream_is_stopped_and_goes_on(
    running: Running, tmp_path: Path
) -> None:
    arriving = Arriving(tmp_path, rows=200)
    arriving.arrive(0, 25)
    launched = arriving.start(running, "first")
    arriving.wait_for(10, "on time")
    savepoint = control(running, "savepoint", "--stop=true")
    launched.succeed()
    before = arriving.counted()
    arriving.arrive(0, 10)
    again = arriving.start(running, "again", f"--savepoint_path={savepoint}")
    arriving.wait_for(0, "late")
    assert before.keys() <= arriving.counted().keys()
    control(running, "drain")
    again.succeed()
    late = {minute for minute, timing in arriving.panes() if timing == "late"}
    assert late == {0}  # the others aren't published again when they expire
    assert arriving.counted() == arriving.counted_at_once()
    assert documents(arriving.counted()) == arriving.documents


def test_a_signal_stops_a_stream_with_a_savepoint_and_says_what_is_published(
    running: Running, tmp_path: Path
) -> None:
    arriving = Arriving(tmp_path, rows=100)
    arriving.arrive(0, 25)
    launched = arriving.start(running, "stopped")
    arriving.wait_for(10, "on time")
    launched.process.terminate()
    assert launched.wait() == 128 + 15
    assert "published: 2 windows from 2026-01-01T00:00:00Z to 2026-01-01T00:20:00Z" in launched.said
    there = r"savepoints/savepoint-\S+"
    if "no savepoint: " in launched.said:  # on a busy machine it took longer than a launcher may
        there = rf"({there}|checkpoints/\S+/chk-\d+)"
    assert re.search(rf"--savepoint_path=file:\S+/_staging/[0-9a-f]{{12}}/{there}", launched.said)
