"""What runs again when a process of a job is lost: batches are counted by step, over all attempts."""

import pytest

from tests.engines.fragile import FORCED, Fragile, Run

TOKENS, NEAR = "tokens", "near, verified"
BEFORE = {
    TOKENS: ("Read documents/Read", "Count tokens/Count", "Count tokens/Sum/Shuffle/Cut"),
    NEAR: ("Read documents/Read", "Find duplicates/Sign", "Find duplicates/Link", "Second read/Attach"),
}
"""Steps up to a shuffle that is complete when the point is reached."""

pytestmark = [pytest.mark.slow, pytest.mark.long]


def batches(run: Run, steps: tuple[str, ...]) -> dict[str, int]:
    return {step: run.batches(step) for step in steps}


@pytest.mark.parametrize("flags", [(), (FORCED,)], ids=["as Flink plans", "forced"])
@pytest.mark.parametrize(("mode", "point"), [(TOKENS, "writing"), (NEAR, "copying")], ids=[TOKENS, NEAR])
def test_a_lost_worker_behind_a_shuffle_makes_nobody_read_again(
    mode: str, point: str, flags: tuple[str, ...], fragile: Fragile
) -> None:
    calm = fragile.undisturbed(mode, "pool", flags)
    run = fragile.launch(mode, "pool", [point], flags)
    fragile.kill("SDK worker", run.faults.meet(point))
    run.faults.let_go(point)
    run.launched.succeed()
    first = BEFORE[mode] if flags else BEFORE[mode][:1]
    assert batches(run, first) == batches(calm, first)
    assert fragile.job(run).restarts == 1


def test_a_lost_task_manager_takes_along_what_it_has_shuffled(fragile: Fragile) -> None:
    calm = fragile.undisturbed(NEAR, "pool")
    run = fragile.launch(NEAR, "pool", ["copying"])
    fragile.kill("task manager", run.faults.meet("copying"))
    run.faults.let_go("copying")
    run.launched.succeed()
    once, both = calm.processed(), run.processed()
    assert run.batches("Read documents/Read") > calm.batches("Read documents/Read")
    restarts = fragile.job(run).restarts
    assert restarts <= 2  # one when it is gone, one when what it had is missed
    for step, counted in both.items():
        assert counted["rows out"] <= (1 + restarts) * once[step]["rows out"], step


def test_a_lost_task_manager_without_tasks_costs_nothing(fragile: Fragile) -> None:
    calm = fragile.undisturbed(TOKENS, "pool", ("--parallelism=1",))
    run = fragile.launch(TOKENS, "pool", ["reading"], ("--parallelism=1",))
    busy = fragile.owner(run.faults.meet("reading"))
    (idle,) = set(fragile.task_managers()) - {busy}
    fragile.kill_process(fragile.task_managers()[idle])
    fragile.restart(fragile.task_managers()[idle])
    run.faults.let_go("reading")
    run.launched.succeed()
    assert fragile.job(run).restarts == 0
    assert {step: dict(counted) for step, counted in run.processed().items()} == {
        step: dict(counted) for step, counted in calm.processed().items()
    }
