"""What a person is told of a job's failure: stacks as Flink and Beam make them."""

import pytest

from beam_etl.engines.flink.causes import cause

BEAM = "/opt/lib/python3.11/site-packages/apache_beam/runners/worker"
FRAMES = "\n\tat org.apache.beam.runners.fnexecution.control.Client.handle(Client.java:180)\n\t... 1 more\n"
SUPPRESSED = (
    "org.apache.flink.runtime.JobException: Recovery is suppressed by FixedDelayRestartBackoffTimeStrategy"
    "(maxNumberRestartAttempts=10, backoffTimeMS=3000)"
)

RAISED = f'''Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "/job/steps.py", line 12, in process
    raise ValueError(f"bad row {{row}}")
ValueError: bad row 3

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "{BEAM}/sdk_worker.py", line 310, in _execute
    response = task()
               ^^^^^^
  File "/job/steps.py", line 12, in process
    raise ValueError(f"bad row {{row}}")
ValueError: bad row 3 [while running 'Count tokens/Count']
'''


def java(*messages: str) -> str:
    """A stack whose first message wraps the next, and so on."""
    return f"{FRAMES}Caused by: ".join(messages) + FRAMES


def test_an_exception_in_python_is_told_by_its_message_its_step_and_the_places_in_the_users_code() -> None:
    harness = f"java.lang.RuntimeException: Error received from SDK harness for instruction 7: {RAISED}"
    stack = java(SUPPRESSED, f"java.util.concurrent.ExecutionException: {harness}", harness)
    assert cause(stack).splitlines() == [
        "ValueError: bad row 3 [while running 'Count tokens/Count']",
        '  File "/job/steps.py", line 12, in process',
        '    raise ValueError(f"bad row {row}")',
    ]


def test_a_message_of_several_lines_is_told_as_a_whole() -> None:
    raised = (
        "Error received from SDK harness for instruction 1: Traceback (most recent call last):\n"
        f'  File "{BEAM}/sdk_worker.py", line 310, in _execute\n    response = task()\n'
        "RuntimeError: <_InactiveRpcError:\n\tstatus = UNAVAILABLE\n> [while running 'Write']\n"
    )
    assert (
        cause(java(f"java.lang.RuntimeException: {raised}"))
        == "RuntimeError: <_InactiveRpcError:\n\tstatus = UNAVAILABLE\n> [while running 'Write']"
    )


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        pytest.param(
            [
                SUPPRESSED,
                "org.apache.flink.JobMasterException: TaskManager with id 7 is no longer reachable.",
            ],
            "JobMasterException: TaskManager with id 7 is no longer reachable.",
            id="task manager lost",
        ),
        pytest.param(
            [
                "java.lang.RuntimeException: java.io.IOException: Serialized size exceeds JVM heap space",
                "java.io.IOException: Serialized size exceeds JVM heap space",
                "java.lang.OutOfMemoryError: Java heap space",
            ],
            "IOException: Serialized size exceeds JVM heap space\n  caused by OutOfMemoryError: Java heap space",
            id="repeated by its wrapper",
        ),
        pytest.param(
            ["java.lang.RuntimeException: stage failed", "java.lang.NullPointerException"],
            "RuntimeException: stage failed\n  caused by NullPointerException",
            id="without a message",
        ),
        pytest.param([SUPPRESSED], f"JobException: {SUPPRESSED.partition(': ')[2]}", id="nothing else told"),
    ],
)
def test_another_failure_is_told_by_its_messages_each_once(messages: list[str], told: str) -> None:
    assert cause(java(*messages)) == told


def test_a_worker_that_ended_is_told_in_words() -> None:
    stack = java(
        "java.util.concurrent.ExecutionException: io.grpc.StatusRuntimeException: CANCELLED: client cancelled",
        "io.grpc.StatusRuntimeException: CANCELLED: client cancelled",
    )
    first, second = cause(stack).splitlines()
    assert first.startswith("an SDK worker ended")
    assert second == "StatusRuntimeException: CANCELLED: client cancelled"
