"""Members that are a record each are read at once: that changes nothing, whatever is in the others."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io.access import open_file
from beam_etl.io.formats import FileEntry
from beam_etl.io.formats.archives import records as reading
from beam_etl.io.formats.base import LIMITS, Limits, Split
from tests.archives import PACKED, records
from tests.io.fuzzing import mutated
from tests.stored import write

MADE = records(3)
ODD = (b"", b"\r\n", b"garbage\n", b"\nWARC/1.0\r\n", MADE[0] + MADE[1])
"""Members that aren't a record, or more than one."""

ALONE = {"gzip by record", "gzip with padding", "zstd by record", "zstd with skippable frames"}


def found(path: Path, limits: Limits) -> list[Any]:
    size = os.path.getsize(path)
    with open_file(str(path)) as file:
        return list(reading.read_records(file, Split(FileEntry(0, str(path), size), 0, size), limits))


def damaged(pack: Callable[[list[bytes]], bytes], chance: random.Random) -> bytes:
    """An archive that is changed here and there, outside of its members or in them."""
    if chance.random() < 0.5:
        return mutated(pack(MADE), chance)
    made = [mutated(one, chance) if chance.random() < 0.3 else one for one in MADE]
    chance.shuffle(made)
    made.insert(chance.randrange(len(made)), chance.choice(ODD))
    return pack(made)


@pytest.mark.parametrize("count", [30, pytest.param(5000, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", PACKED)
def test_records_and_rejects_are_those_of_the_careful_reader(
    how: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, pack = PACKED[how]
    quick: list[int] = []
    alone = reading.records_alone

    def counted(*arguments: Any) -> Any:
        records = alone(*arguments)
        while True:
            try:
                record = next(records)
            except StopIteration as end:
                return end.value
            quick.append(record.position)
            yield record

    for number in range(count):
        chance = random.Random(f"{how} {number}")
        path = write(tmp_path, name, damaged(pack, chance))
        limits = chance.choice((LIMITS, LIMITS._replace(record_bytes=500)))
        monkeypatch.setattr(reading, "records_alone", counted)
        at_once = found(path, limits)
        monkeypatch.setattr(reading, "records_alone", lambda *_: iter(()))
        assert at_once == found(path, limits), f"file {number}"
    assert bool(quick) == (how in ALONE)


ARC = b"filedesc://a 0.0.0.0 20240501120000 text/plain 4\n1 0\n\n"

SHARED = {
    "several records a member": [one + other for one, other in zip(MADE[::2], MADE[1::2], strict=True)],
    "several records in megabytes": [MADE[1] * 3000, MADE[1] * 3000],
    "an ARC file": [ARC, ARC, ARC],
    "a damaged member": [MADE[0], b"garbage\n", MADE[1], MADE[2]],
    "a record that is too long": [MADE[0], MADE[5], MADE[0]],
}
"""Members, of which some aren't a record alone."""

TRIES = {"a damaged member": 2, "a record that is too long": 2}
"""How often it is tried to read members at once; else once."""


@pytest.mark.parametrize("made", SHARED.values(), ids=SHARED)
def test_members_that_hold_several_records_are_not_read_twice(
    made: list[bytes], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, pack = PACKED["gzip by record"]
    path = write(tmp_path, name, pack(made))
    tries: list[int] = []
    alone = reading.records_alone

    def counted(members: Any, *arguments: Any) -> Any:
        tries.append(members.start)
        return alone(members, *arguments)

    monkeypatch.setattr(reading, "records_alone", counted)
    assert found(path, LIMITS._replace(record_bytes=500))
    assert len(tries) == TRIES.get(request.node.callspec.id, 1)
