"""A process that is killed while it replaces a dataset: the old version is there whole, or the new one."""

import multiprocessing
from collections.abc import Iterator

import pytest

from beam_etl.io import manifest
from beam_etl.io.commit import PUBLISHED
from beam_etl.pipelines import clean
from tests.attempts import OTHER, RUN, rows_of
from tests.cloud import Cloud, in_environment
from tests.kills import PUBLISHED_FROM, STEPS, killed_attempts
from tests.places import OBJECTS, attempt, digest, left, listed, seen

AGAIN = "cccccccccccc"


@pytest.fixture(scope="module", params=OBJECTS)
def killed(request: pytest.FixtureRequest, clouds: dict[str, Cloud]) -> Iterator[list[str]]:
    """Datasets whose replacement was killed, by the number of the step."""
    with in_environment(clouds[request.param]) as cloud:
        datasets = [f"{cloud.root}/killed/{number}" for number in range(len(STEPS))]
        process = multiprocessing.get_context("spawn").Process(target=killed_attempts, args=(datasets,))
        process.start()
        process.join()
        assert process.exitcode == 0
        yield datasets


@pytest.mark.parametrize("step", STEPS)
def test_what_a_kill_leaves_is_whole_and_the_next_run_gets_on(step: str, killed: list[str]) -> None:
    number = list(STEPS).index(step)
    dataset = killed[number]
    there = OTHER if number >= PUBLISHED_FROM else RUN
    assert listed(dataset) == rows_of(there)
    assert attempt(dataset, AGAIN, manifest.latest(dataset)) == PUBLISHED
    assert digest([row[12:] for row in listed(dataset)]) == digest([row[12:] for row in rows_of(RUN)])
    assert listed(dataset) == rows_of(AGAIN)
    assert clean.run([dataset, "--idle_hours=0"]) == 0
    assert seen(dataset) == rows_of(AGAIN)
    assert left(dataset) == []
