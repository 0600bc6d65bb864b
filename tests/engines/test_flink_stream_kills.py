"""Streams on Flink whose workers, task managers and brokers are killed: each document is in one place in the end."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_etl.engines.flink import cluster
from beam_etl.engines.flink.cluster import Running
from beam_etl.engines.flink.jars import Jars
from beam_etl.engines.flink.rest import FlinkRest
from tests.engines.faults import is_running, kill, wait_for
from tests.engines.report import Report
from tests.engines.streams import Arriving, Sent, control, documents, missing, workers
from tests.kafka_broker import Broker, broker

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROUND = 50
"""Minutes of event time between two rounds of kills."""

WORKER_KILLS = 9
"""In a row: the cluster gives a job up after ten that come without a rest."""

CHECKPOINTS, CHECKPOINT_BYTES = 160, 1 << 20
"""Beam's own runner would have added 2 MB by then."""

BROKER_SECONDS = 5
"""That there is none."""


@pytest.fixture
def running(flink_jars: Jars, tmp_path: Path) -> Iterator[Running]:
    """A cluster that is damaged."""
    folder = str(tmp_path / "cluster")
    try:
        yield cluster.start(folder, task_managers=1, slots=2, say=print)
    finally:
        cluster.stop(folder)


@pytest.fixture
def real(flink_jars: Jars, tmp_path: Path) -> Iterator[Broker]:
    (tmp_path / "kafka").mkdir()
    with broker(tmp_path / "kafka") as started:
        yield started


def kill_worker(running: Running) -> None:
    """That of the stream, once there is one."""

    def newest() -> int | None:
        worker = workers(running)[-1]
        return worker if is_running(worker) else None

    kill(wait_for("a worker", newest))


def interrupt(real: Broker) -> None:
    real.stop()
    time.sleep(BROKER_SECONDS)
    real.start()


def kill_task_manager(running: Running) -> None:
    now = cluster.running(running.folder)
    assert now is not None
    kill(now.process("taskmanager-1").pid)
    cluster.restart(running.folder, "taskmanager-1")


def kill_in_turn(running: Running, arriving: Arriving, minute: int, after_worker: Callable[[], None]) -> None:
    """A worker and a task manager are killed while documents of the minutes from this one on come."""
    arriving.arrive(minute + 25, minute + 45)
    kill_worker(running)
    after_worker()
    arriving.wait_for(minute + 30, "on time")
    arriving.arrive(minute + 45, minute + 75)
    kill_task_manager(running)
    arriving.wait_for(minute + 60, "on time")


def finish(running: Running, arriving: Arriving, tasks: int) -> None:
    """Stops the stream, goes on with late documents waiting, and drains it."""
    savepoint = control(running, "savepoint", "--stop=true")
    before = arriving.counted()
    arriving.arrive(0, 20)
    again = arriving.start(running, "again", f"--savepoint_path={savepoint}", tasks=tasks)
    arriving.wait_for(0, "late")
    assert before.keys() <= arriving.counted().keys()
    arriving.wait_for_all()
    control(running, "drain")
    again.succeed()
    late = {minute for minute, timing in arriving.panes() if timing == "late"}
    assert late <= {0, 10}  # some may be told no more; a window that got nothing more isn't published again


def restarts(running: Running) -> int:
    rest = FlinkRest(running.rest)
    return sum(rest.job(job.id).restarts for job in rest.jobs())


def outlive(
    running: Running,
    arriving: Arriving,
    rounds: int,
    tasks: int = 1,
    after_worker: Callable[[], None] = lambda: None,
) -> int:
    """A stream from its first documents to its end, with kills in so many rounds: how often it was started again."""
    launched = arriving.start(running, "first", tasks=tasks)
    arriving.wait_for(10, "on time")
    for minute in range(0, rounds * ROUND, ROUND):
        kill_in_turn(running, arriving, minute, after_worker)
    restarted = restarts(running)
    finish(running, arriving, tasks)
    launched.succeed()
    return restarted


def tell(report: Report, arriving: Arriving, source: str, killed: str, began: float, restarts: int) -> None:
    """Compares what is there in the end with a batch."""
    found, expected = arriving.counted(), arriving.counted_at_once()
    lost, doubled = missing(expected, found), missing(found, expected)
    seconds = time.monotonic() - began
    report.stream(source, killed, arriving.documents, documents(found), lost, doubled, restarts, seconds)
    assert found == expected
    assert documents(found) == arriving.documents


def test_files_come_once_whatever_is_killed(running: Running, tmp_path: Path, report: Report) -> None:
    arriving, rounds, began = Arriving(tmp_path, 20_000, by="id"), 3, time.monotonic()
    arriving.arrive(0, 25)
    restarted = outlive(running, arriving, rounds)
    killed = f"SDK worker and task manager, {rounds} times each; savepoint"
    tell(report, arriving, "files", killed, began, restarted)


def test_messages_come_once_whatever_is_killed(
    running: Running, real: Broker, tmp_path: Path, report: Report
) -> None:
    arriving = Sent(tmp_path, 20_000, by="id", brokers=real.address, topic="documents")
    real.create(arriving.topic, arriving.partitions)
    rounds, began = 2, time.monotonic()
    arriving.arrive(0, 25)
    arriving.sent()
    restarted = outlive(running, arriving, rounds, tasks=2, after_worker=lambda: interrupt(real))
    killed = f"SDK worker, broker and task manager, {rounds} times each; savepoint"
    tell(report, arriving, "Kafka", killed, began, restarted)


def test_a_stream_goes_on_after_each_of_many_lost_workers(running: Running, tmp_path: Path) -> None:
    arriving = Arriving(tmp_path, 200)
    arriving.arrive(0, 25)
    launched = arriving.start(running, "first")
    arriving.wait_for(10, "on time")
    for minute in range(0, WORKER_KILLS * 20, 20):
        arriving.arrive(minute + 25, minute + 45)
        kill_worker(running)
        arriving.wait_for(minute + 30, "on time")
    control(running, "drain")
    launched.succeed()
    assert arriving.counted() == arriving.counted_at_once()


def test_checkpoints_of_a_stream_with_nothing_to_read_stay_small(running: Running, tmp_path: Path) -> None:
    arriving, rest = Arriving(tmp_path, 200), FlinkRest(running.rest)
    arriving.arrive(0, 25)
    launched = arriving.start(running, "idle")
    arriving.wait_for(10, "on time")
    [job] = rest.jobs()

    def told() -> dict[str, int] | None:
        found = rest.ask(f"/jobs/{job.id}/checkpoints")["latest"]["completed"]
        return found if found["id"] > CHECKPOINTS else None

    assert wait_for("checkpoints", told)["state_size"] < CHECKPOINT_BYTES
    control(running, "drain")
    launched.succeed()
