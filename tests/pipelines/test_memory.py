"""A job that doesn't fit into memory is refused before it starts, with the figures and what to do."""

from pathlib import Path

import pytest

from beam_etl.observe.plan import Plan, ShuffleStep
from beam_etl.pipelines import memory, sort, token_count
from beam_etl.pipelines.flags import UsageError
from beam_etl.pipelines.memory import free_memory, refuse_too_large
from tests.stored import documents, json_lines, write


def plan_of(*shuffles: tuple[int | None, int]) -> Plan:
    steps = [ShuffleStep(f"step {n}", ("key",), 1, hops, size) for n, (size, hops) in enumerate(shuffles)]
    return Plan((), tuple(steps), ())


@pytest.mark.parametrize(
    ("shuffles", "fits"),
    [
        ([], True),
        ([(600, 1)], True),
        ([(601, 1)], False),
        ([(301, 2)], False),
        ([(300, 1), (None, 1), (301, 1)], False),
        ([(None, 2)], True),
    ],
    ids=str,
)
def test_what_crosses_has_to_fit_into_three_fifths(
    shuffles: list[tuple[int | None, int]], fits: bool
) -> None:
    if fits:
        refuse_too_large(plan_of(*shuffles), 1000)
    else:
        with pytest.raises(
            UsageError, match=r"of which 1 KB are free: 60% of that may be used\. Use --runner=flink"
        ):
            refuse_too_large(plan_of(*shuffles), 1000)


def test_free_memory_is_some_of_the_machine() -> None:
    free = free_memory()
    assert free is not None
    assert 1 << 20 < free < 1 << 50


def test_a_job_is_refused_unless_it_is_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "in/a.jsonl", json_lines(documents(20)))
    monkeypatch.setattr(memory, "free_memory", lambda: 10)
    flags = [f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--by=id"]
    assert token_count.run(flags) == 2
    assert "--force=true runs it all the same" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert token_count.run([*flags, "--force=true"]) == 0


def test_rows_that_cross_as_files_need_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "in/a.jsonl", json_lines(documents(20)))
    monkeypatch.setattr(memory, "free_memory", lambda: 10)
    assert sort.run([f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--by=id"]) == 0
