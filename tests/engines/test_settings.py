"""What a cluster is started with: memory by the stated formula, and files that stay in its folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from beam_etl.engines.flink import settings
from beam_etl.engines.flink.jars import Jars
from beam_etl.engines.flink.settings import Memory, Plan

MIB = 1 << 20
PORTS = dict.fromkeys(settings.PORTS, 1)
PLAN = Plan("/where/the cluster is", 2, 2, 1 << 30, True, PORTS)


@pytest.mark.parametrize(
    ("mebibytes", "slots", "expected"),
    [(1024, 2, (384, 128, 512)), (683, 1, (256, 85, 342)), (4096, 8, (1536, 512, 2048))],
)
def test_memory_is_divided_by_the_formula(mebibytes: int, slots: int, expected: tuple[int, int, int]) -> None:
    memory = Memory.of(mebibytes * MIB, slots)
    assert memory.heap + memory.network + memory.managed == mebibytes * MIB
    assert tuple(round(part / MIB) for part in (memory.heap, memory.network, memory.managed)) == expected


@pytest.mark.parametrize(
    ("mebibytes", "slots", "least"),
    [(682, 1, 683), (0, 1, 683), (1023, 2, 1024), (4095, 8, 4096)],
    ids=["one slot", "nothing", "two slots", "eight slots"],
)
def test_too_little_memory_is_refused_with_the_least_that_is_enough(
    mebibytes: int, slots: int, least: int
) -> None:
    with pytest.raises(ValueError, match=f"give at least {least}MiB"):
        Memory.of(mebibytes * MIB, slots)
    Memory.of(least * MIB, slots)


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 16])
def test_the_default_memory_is_enough(slots: int) -> None:
    Memory.of(settings.default_memory(slots), slots)


@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, task_managers=0)], ids=["cluster", "embedded"])
def test_temporary_files_stay_in_the_folder(plan: Plan) -> None:
    inside = plan.folder + "/"
    configured = settings.flink_settings(plan)
    assert str(configured["io.tmp.dirs"]).startswith(inside)
    assert settings.environment(plan)["TMPDIR"].startswith(inside)
    for name in plan.names[:-1]:  # the last one, the pool, is Python: TMPDIR
        line = settings.command(plan, name, Jars("/bin/java", "/lib/a.jar"))
        (folder,) = (flag.partition("=")[2] for flag in line if flag.startswith("-Djava.io.tmpdir="))
        assert folder.startswith(inside)


def test_settings_are_written_as_flink_reads_them(tmp_path: Path) -> None:
    plan = replace(PLAN, folder=str(tmp_path / 'a "b" #c'))
    settings.write_files(plan)
    lines = plan.path("conf/config.yaml").read_text().splitlines()
    assert f'io.tmp.dirs: "{tmp_path}/a \\"b\\" #c/tmp"' in lines
    assert "web.submit.enable: false" in lines
    assert "heartbeat.timeout: 8000" in lines
