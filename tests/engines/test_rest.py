"""What is read from Flink's REST, and how its refusals are told, against a stand-in for it."""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from apache_beam.coders import VarIntCoder

from beam_etl.engines.flink.rest import (
    FlinkError,
    FlinkRest,
    JobLine,
    Overview,
    UnknownJobError,
    UnreachableError,
    stage_label,
)
from tests.engines.stub_flink import StubFlink, failure, task, vertex


@pytest.fixture
def stub() -> Iterator[StubFlink]:
    served = StubFlink()
    yield served
    served.stop()


def test_the_overview_tells_what_the_cluster_has(stub: StubFlink) -> None:
    stub.answers["/overview"] = {
        "taskmanagers": 2,
        "slots-total": 4,
        "slots-available": 3,
        "jobs-running": 1,
        "flink-version": "1.19.0",
    }
    assert FlinkRest(stub.address).overview() == Overview(
        task_managers=2, slots=4, free_slots=3, version="1.19.0"
    )


def test_the_newest_of_several_jobs_of_a_name_is_found(stub: StubFlink) -> None:
    stub.add_job("b", "dedup-1", "RUNNING", start=30)
    stub.add_job("a", "dedup-1", "FINISHED", start=10)
    stub.add_job("c", "dedup-12", "RUNNING", start=40)
    rest = FlinkRest(stub.address)
    assert rest.find("dedup-1") == JobLine("b", "dedup-1", "RUNNING", start_ms=30, duration_ms=1500)
    assert rest.find("dedup") is None
    earlier = rest.find("dedup-1", besides=["b"])
    assert earlier is not None
    assert earlier.id == "a"
    assert rest.find("dedup-1", besides=["a", "b"]) is None
    assert [job.id for job in rest.jobs()] == ["a", "b", "c"]


def test_a_job_has_its_stages_and_is_asked_for_no_failures_while_it_had_none(stub: StubFlink) -> None:
    stub.add_job(
        "a",
        "j",
        "RUNNING",
        vertices=(vertex("Read", end=-1, status="RUNNING"), vertex("Sum", "CREATED", -1, -1)),
    )
    status = FlinkRest(stub.address).job("a")
    assert [(stage.name, stage.state, stage.start_ms, stage.end_ms) for stage in status.stages] == [
        ("Read", "RUNNING", 1000, None),
        ("Sum", "CREATED", None, None),
    ]
    assert (status.restarts, [stage.attempts for stage in status.stages]) == (0, [0, 0])
    assert not any("exceptions" in path for path in stub.asked)


def test_the_state_of_a_job_is_newer_than_its_stages(stub: StubFlink) -> None:
    stub.add_job("a", "j", "FINISHED")["state"] = "RUNNING"
    assert FlinkRest(stub.address).job("a").state == "FINISHED"


def test_restarts_are_counted_without_the_failure_that_ended_the_job(stub: StubFlink) -> None:
    details = stub.add_job("a", "j", "RUNNING", restarting=5000)
    details["state"] = "RUNNING"
    history: list[dict[str, Any]] = [failure("one"), failure("two")]
    stub.answers["/jobs/a/exceptions"] = {"root-exception": "x", "exceptionHistory": {"entries": history}}
    assert FlinkRest(stub.address).job("a").restarts == 2
    history.append(failure("three"))
    details["state"] = "FAILED"
    assert FlinkRest(stub.address).job("a").restarts == 2


def test_restarts_are_asked_for_again_only_when_there_was_another(stub: StubFlink) -> None:
    details = stub.add_job("a", "j", "RUNNING", restarting=5000)
    history: list[dict[str, Any]] = [failure("one")]
    stub.answers["/jobs/a/exceptions"] = {"root-exception": "x", "exceptionHistory": {"entries": history}}
    rest = FlinkRest(stub.address)
    details["state"] = "RESTARTING"
    assert rest.job("a").restarts == 1
    history.append(failure("a second task fails meanwhile"))
    details["state"] = "RUNNING"
    assert [rest.job("a").restarts, rest.job("a").restarts] == [2, 2]
    assert sum("exceptions" in path for path in stub.asked) == 2
    details["timestamps"]["RESTARTING"] = 9000
    history.append(failure("three"))
    assert rest.job("a").restarts == 3


def test_repeated_tasks_are_counted_over_all_stages(stub: StubFlink) -> None:
    stub.add_job("a", "j", "FINISHED", vertices=(vertex("Read"), vertex("Sum")), restarting=5000)
    stub.answers["/jobs/a/exceptions"] = {"exceptionHistory": {"entries": [failure("one")]}}
    stub.answers["/jobs/a/vertices/Read"] = {"subtasks": [task(0), task(1)]}
    stub.answers["/jobs/a/vertices/Sum"] = {"subtasks": [task(3), task(1)]}
    rest = FlinkRest(stub.address)
    assert rest.attempts("a") == 5
    assert [stage.attempts for stage in rest.job("a").stages] == [1, 3]


def test_metrics_of_all_tasks_are_told_by_step(stub: StubFlink) -> None:
    def info(
        step: str, name: str, *values: int, urn: str = "beam:metric:user:sum_int64:v1"
    ) -> dict[str, Any]:
        labels = {"PTRANSFORM": step, "NAMESPACE": "beam_etl", "NAME": name}
        payload = b64encode(b"".join(map(VarIntCoder().encode, values))).decode()
        return {"urn": urn, "type": "beam:metrics:sum_int64:v1", "payload": payload, "labels": labels}

    def spread(step: str, *values: int) -> dict[str, Any]:
        return info(step, "size", *values, urn="beam:metric:user:distribution_int64:v1")

    def accumulator(*infos: dict[str, Any]) -> dict[str, str]:
        value = json.dumps({"metrics": {"attempted": infos}})
        return {"name": "__metricscontainers", "type": "MetricsAccumulator", "value": value}

    other = info("Read", "rows", 7, urn="beam:metric:ptransform_execution_time:total_msecs:v1")
    stub.answers["/jobs/a/accumulators"] = {
        "job-accumulators": [],
        "user-task-accumulators": [
            {"name": "n", "type": "LongCounter", "value": "3"},
            accumulator(info("Read", "rows", 5_000_000_000), info("Sum", "rows", 0), other),
            accumulator(info("Read", "rows", 300), info("Sum", "change", -2)),
            accumulator(spread("Sum", 2, 1_000, 300, 700), spread("Read", 0, 0, 2**63 - 1, -(2**63))),
            accumulator(spread("Sum", 3, 900, -5, 800)),
            {"name": "__metricscontainers", "type": "MetricsAccumulator", "value": '{"metrics": {}}'},
        ],
    }
    found = FlinkRest(stub.address).user_metrics("a")
    assert found.counters == {
        ("Read", "beam_etl", "rows"): 5_000_000_300,
        ("Sum", "beam_etl", "rows"): 0,
        ("Sum", "beam_etl", "change"): -2,
    }
    assert found.distributions == {("Sum", "beam_etl", "size"): (5, 1_900, -5, 800)}


def test_settings_and_the_smallest_heap_are_read(stub: StubFlink) -> None:
    stub.answers["/jobmanager/config"] = [{"key": "heartbeat.timeout", "value": "8000"}]
    managers = [{"memoryConfiguration": {"taskHeap": size}} for size in (512 << 20, 256 << 20)]
    stub.answers["/taskmanagers"] = {"taskmanagers": managers}
    rest = FlinkRest(stub.address)
    assert rest.settings() == {"heartbeat.timeout": "8000"}
    assert rest.heap_bytes() == 256 << 20
    managers.clear()
    assert rest.heap_bytes() is None


def test_only_a_failed_job_has_a_cause(stub: StubFlink) -> None:
    stub.answers["/jobs/a/exceptions"] = {"root-exception": None, "exceptionHistory": {"entries": []}}
    stub.answers["/jobs/b/exceptions"] = {
        "root-exception": "java.io.IOException: no disk\n\tat a.B.c(B.java:1)"
    }
    rest = FlinkRest(stub.address)
    assert rest.failure("a") is None
    assert rest.failure("b") == "IOException: no disk"


def test_cancelling_a_job_that_has_ended_is_no_error(stub: StubFlink) -> None:
    stub.add_job("a", "j", "RUNNING")
    stub.add_job("b", "j", "FINISHED")
    rest = FlinkRest(stub.address)
    rest.cancel("a")
    rest.cancel("b")
    assert stub.asked == ["PATCH /jobs/a?mode=cancel", "PATCH /jobs/b?mode=cancel"]


def test_an_address_where_nobody_listens_is_told(stub: StubFlink) -> None:
    stub.stop()
    with pytest.raises(UnreachableError, match=rf"no Flink answers at {stub.address}: .*refused.*start"):
        FlinkRest(stub.address).overview()


def test_an_address_that_accepts_and_stays_silent_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=f"no Flink answers at {address}: timed out"):
            FlinkRest(address, timeout_seconds=0.2).overview()


def test_a_job_manager_that_isnt_ready_counts_as_unreachable(stub: StubFlink) -> None:
    stub.status_code = 503
    with pytest.raises(
        UnreachableError, match=f"{stub.address} answers /overview with 503: Service temporarily"
    ):
        FlinkRest(stub.address).overview()


def test_an_unknown_job_is_told_by_its_id(stub: StubFlink) -> None:
    with pytest.raises(UnknownJobError, match=f"{stub.address} knows no job 0123: ") as refused:
        FlinkRest(stub.address).cancel("0123")
    assert "AbstractHandler" not in str(refused.value)


def test_a_refusal_is_told_in_a_line(stub: StubFlink) -> None:
    stub.status_code = 400
    with pytest.raises(FlinkError, match=r"with 400: Service temporarily unavailable due to an election\.$"):
        FlinkRest(stub.address).jobs()


def test_what_isnt_flink_is_told_apart(stub: StubFlink) -> None:
    stub.answers["/overview"] = b"<html>a proxy says hello</html>"
    with pytest.raises(FlinkError, match=f"what answers at {stub.address} isn't Flink's REST"):
        FlinkRest(stub.address).overview()


@pytest.mark.parametrize("form", ["{}", "http://{}", "http://{}/"])
def test_an_address_has_several_forms(stub: StubFlink, form: str) -> None:
    rest = FlinkRest(form.format(stub.address))
    assert rest.jobs() == []
    assert rest.address == stub.address


def test_a_cluster_behind_a_gateway_has_a_prefix(stub: StubFlink) -> None:
    stub.answers["/flink/overview"] = {
        "taskmanagers": 0,
        "slots-total": 0,
        "slots-available": 0,
        "flink-version": "2.0.0",
    }
    assert FlinkRest(f"http://{stub.address}/flink/").overview().version == "2.0.0"


@pytest.mark.parametrize("address", ["", "[local]", "ftp://127.0.0.1:8081", "127.0.0.1:port"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(FlinkError, match="is no address of Flink's REST: write HOST:PORT"):
        FlinkRest(address)


def test_a_proxy_isnt_asked_for_this_machine(stub: StubFlink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert FlinkRest(stub.address).jobs() == []


GROUPED = "Read documents/Distribute files/Group"
SENT = f"Map (Key Extractor) -> GroupCombine (GroupCombine at GroupCombine: {GROUPED}) -> Map (Key Extractor)"
OUTPUT = "FlatMap (FlatMap at ExtractOutput[3])"
LAMBDA = "Make/FlatMap(<lambda at core.py:4094>)"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (
            f"CHAIN MapPartition (MapPartition at [4]Read documents/{{Files, Unpack}}) -> {OUTPUT} -> {SENT}",
            "Read documents: Files, Unpack",
        ),
        ("MapPartition (MapPartition at [9]{Read, Count tokens, Write})", "Read, Count tokens, Write"),
        ("MapPartition (MapPartition at [1]Write dataset/Commit)", "Write dataset/Commit"),
        (f"CHAIN MapPartition (MapPartition at [1]{LAMBDA}) -> {OUTPUT}", LAMBDA),
        (f"CHAIN Filter (UnionFixFilter) -> {SENT}", f"send {GROUPED}"),
        (f"GroupReduce (GroupReduce at {GROUPED})", f"receive {GROUPED}"),
        (OUTPUT, "output 3"),
        ("DataSource (Impulse)", "start"),
        ("DataSink (DiscardingOutput)", "end"),
        ("Partition", "Partition"),
    ],
)
def test_a_stage_is_named_by_the_steps_of_the_pipeline(name: str, label: str) -> None:
    assert stage_label(name) == label
