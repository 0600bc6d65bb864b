"""What --runner=flink fills in, and what it refuses."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from beam_etl.engines.flink import options
from beam_etl.engines.flink.options import RefusedError

POOL = ["--environment_type=EXTERNAL", "--environment_config=127.0.0.1:5000"]
NAMED = ["--flink_master=127.0.0.1:8081", "--job_endpoint=127.0.0.1:8099", *POOL]
RESTARTS = {"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "3 s"}


@dataclass
class Cluster:
    """What Flink's REST would say."""

    slots: int = 4
    heap: int | None = 512 << 20
    configured: dict[str, str] = field(default_factory=lambda: dict(RESTARTS))

    def __call__(self, address: str) -> "Cluster":
        return self

    def overview(self) -> SimpleNamespace:
        return SimpleNamespace(slots=self.slots, task_managers=2)

    def settings(self) -> dict[str, str]:
        return self.configured

    def heap_bytes(self) -> int | None:
        return self.heap


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(options, "FlinkRest", made)
    return made


def filled(arguments: list[str]) -> dict[str, str]:
    complete = options.fill(arguments, "dedup-1a2b")
    pairs = [flag.removeprefix("--").partition("=") for flag in complete]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}


def test_what_a_job_needs_is_filled_in(cluster: Cluster) -> None:
    flags = filled(NAMED)
    assert flags["job_name"] == "dedup-1a2b"
    assert flags["parallelism"] == "4"
    assert 0 < int(flags["environment_cache_millis"]) < 3000
    assert int(flags["element_processing_timeout_minutes"]) > 0
    assert "finish_bundle_before_checkpointing" not in flags


def test_what_the_user_says_stays(cluster: Cluster) -> None:
    flags = filled([*NAMED, "--parallelism=2", "--environment_cache_millis=500", "--job_name=mine"])
    assert (flags["parallelism"], flags["environment_cache_millis"], flags["job_name"]) == (
        "2",
        "500",
        "mine",
    )


STORED = "--state_backend_storage_path=file:///mnt/checkpoints"


def test_a_stream_has_checkpoints_before_which_bundles_end(cluster: Cluster) -> None:
    flags = filled([*NAMED, "--streaming", STORED])
    assert "finish_bundle_before_checkpointing" in flags
    assert flags["state_backend"] == "rocksdb"
    assert 0 < int(flags["checkpointing_interval"]) <= 60_000
    mine = filled(
        [*NAMED, "--streaming", STORED, "--checkpointing_interval=500", "--state_backend=filesystem"]
    )
    assert (mine["checkpointing_interval"], mine["state_backend"]) == ("500", "filesystem")


REFUSED = {
    "no workers": ([], "beam_etl.engines.pool"),
    "workers in the launcher": (["--environment_type=LOOPBACK"], "hangs when it is lost"),
    "workers of no known kind": (["--environment_type=BLA"], "there is EXTERNAL, PROCESS"),
    "a process of no command": (
        ["--environment_type=PROCESS", "--environment_config={}"],
        "needs --environment_config",
    ),
    "an image without beam_etl": (["--environment_type=DOCKER"], "has no beam_etl"),
    "retries that do nothing": ([*POOL, "--number_of_execution_retries=3"], "restart-strategy"),
    "checkpoints in memory": ([*POOL, "--streaming"], "--state_backend_storage_path"),
    "a backend that Beam refuses": ([*POOL, "--streaming", STORED, "--state_backend=hashmap"], "rocksdb and"),
    "no checkpoints": ([*POOL, "--streaming", STORED, "--checkpointing_interval=-1"], "begins again after"),
    "a stream that nobody can stop": (
        [*POOL, "--streaming", STORED, "--flink_master=[local]"],
        "can't be stopped, drained or gone on with.*--task_managers=1",
    ),
    "sources that stall": (
        [*POOL, "--streaming", STORED, "--finish_bundle_before_checkpointing=false"],
        "sources stop at the first checkpoint",
    ),
    "workers kept longer than the delay": ([*POOL, "--environment_cache_millis=3000"], "after 3000 ms"),
    "more tasks than slots": ([*POOL, "--parallelism=5"], "the cluster has 4"),
}


@pytest.mark.parametrize(("given", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_flags_that_do_harm_are_refused_with_the_reason(
    given: list[str], reason: str, cluster: Cluster
) -> None:
    with pytest.raises(RefusedError, match=reason):
        options.fill(["--flink_master=127.0.0.1:8081", "--job_endpoint=127.0.0.1:8099", *given], "job")


DELAYS = {
    "milliseconds": ("fixed-delay", "900 ms"),
    "millis": ("fixed-delay", "500 millis"),
    "a second by default": ("fixed-delay", None),
    "failure rate": ("failure-rate", "1s"),
    "exponential": ("exponential-delay", "1 s"),
    "ISO 8601": ("fixed-delay", "PT0.9S"),
}


@pytest.mark.parametrize(("kind", "delay"), DELAYS.values(), ids=DELAYS.keys())
def test_a_restart_before_workers_are_gone_is_refused(kind: str, delay: str | None, cluster: Cluster) -> None:
    key = {"exponential-delay": "initial-backoff"}.get(kind, "delay")
    cluster.configured = {"restart-strategy.type": kind}
    if delay:
        cluster.configured[f"restart-strategy.{kind}.{key}"] = delay
    with pytest.raises(RefusedError, match="restart strategy"):
        options.fill(NAMED, "job")


def test_minutes_are_longer_than_milliseconds(cluster: Cluster) -> None:
    cluster.configured["restart-strategy.fixed-delay.delay"] = "1 min"
    assert filled([*NAMED, "--environment_cache_millis=59000"])


@pytest.mark.parametrize(("slots", "heap"), [(4, 200), (8, 600)], ids=["in all", "for the slots"])
def test_a_small_heap_is_refused(slots: int, heap: int, cluster: Cluster) -> None:
    cluster.slots, cluster.heap = slots, heap << 20
    with pytest.raises(RefusedError, match=f"{heap} MiB of task heap; keys of 32 MiB in {slots // 2} slots"):
        options.fill(NAMED, "job")


def test_a_cluster_that_grows_takes_more_tasks_than_slots(cluster: Cluster) -> None:
    cluster.configured["kubernetes.cluster-id"] = "etl"
    assert filled([*NAMED, "--parallelism=50"])["parallelism"] == "50"


def test_without_a_name_the_cluster_of_this_machine_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/beam-etl-boot").touch()
    monkeypatch.setattr(options.sys, "prefix", str(tmp_path))
    here = SimpleNamespace(flags=lambda: ["--flink_master=here", "--job_endpoint=here", *POOL])
    monkeypatch.setattr(options.cluster, "running", lambda: here)
    assert options.with_cluster(["--parallelism=2"]) == ["--parallelism=2", *here.flags()]
    of_its_own = options.with_cluster(["--environment_type=PROCESS"])
    assert {"--environment_type=PROCESS", "--flink_master=here", "--job_endpoint=here"} < set(of_its_own)
    assert [flag for flag in of_its_own if "beam-etl-boot" in flag and "_config=" in flag]
    assert not set(POOL) & set(of_its_own)
    assert options.with_cluster(NAMED) == NAMED


def test_no_cluster_and_no_address_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options.cluster, "running", lambda: None)
    with pytest.raises(RefusedError, match="engines.flink start"):
        options.with_cluster([])
    with pytest.raises(RefusedError, match="--flink_master=HOST:PORT, the REST address"):
        options.with_cluster(["--job_endpoint=localhost:8099"])
