"""What `--resume` takes over is what the run was asked for, whatever others do meanwhile."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from beam_etl.io import staging
from beam_etl.io.commit import PUBLISHED
from beam_etl.pipelines import curate, extract, extract_config, put_down
from tests.attempts import OTHER, rows_of
from tests.places import attempt, listed
from tests.resuming import numbered
from tests.stored import write


def fail(*_: Any) -> None:
    raise RuntimeError("it ends here")


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Flags of a job over a small file."""
    [content] = numbered(files=1, rows=9).values()
    return [f"--input={write(tmp_path, 'in.jsonl', content)}", f"--output={tmp_path}/out"]


def test_who_publishes_while_bytes_are_checked_overtakes(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*given, "--detect_language=false", "--direct_num_workers=1", "--resume=true"]
    with monkeypatch.context() as patch:
        patch.setattr("beam_etl.io.write.settle", fail)
        assert extract.run(given) == 1
    finding = put_down.find_spilled

    def overtaken(*args: Any, **named: Any) -> Any:
        found = finding(*args, **named)
        assert found.files
        assert len(staging.owners(staging.entries(args[0]))) == 2  # `clean` leaves it from here on
        assert attempt(f"{tmp_path}/out", OTHER) == PUBLISHED
        shutil.rmtree(tmp_path / "out/_staging")
        return found

    monkeypatch.setattr(put_down, "find_spilled", overtaken)
    capsys.readouterr()
    assert extract.run(given) == 1
    assert f"extract: another job published to {tmp_path}/out while this one ran" in capsys.readouterr().err
    assert listed(f"{tmp_path}/out") == rows_of(OTHER)
    monkeypatch.setattr(put_down, "find_spilled", fail)  # not asked where nothing may be published
    assert extract.run(given) == 2
    assert "is a dataset already" in capsys.readouterr().err


@pytest.mark.parametrize("edited", ["nothing", "a list"])
@pytest.mark.parametrize("job", ["extract", "curate"])
def test_a_list_that_is_edited_while_it_is_read_ends_the_run(
    job: str,
    edited: str,
    given: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else what is made by one list could be taken over by a run with the other."""
    words = write(tmp_path, "words", b"number")
    reading = extract_config.read_items

    def read(items: tuple[str, ...]) -> tuple[str, ...]:
        found = reading(items)
        if edited == "a list" and items:
            words.write_bytes(b"text")
        return found

    monkeypatch.setattr(extract_config, "read_items", read)
    monkeypatch.setattr("beam_etl.pipelines.job.Job._execute", lambda *_: 0)
    if job == "extract":
        flags = ["--detect_language=false", "--resume=true", f"--required_words=@file://{words}"]
        code = extract.run([*given, *flags])
    else:
        steps = write(
            tmp_path, "steps.toml", f'[words]\nrequired_words = ["@file://{words}"]\n[exact]\n'.encode()
        )
        code = curate.run([*given, f"--config={steps}"])
    assert code == (0 if edited == "nothing" else 2)
    told = f"{job}: file://{words} changed while it was read. Run again."
    assert (told in capsys.readouterr().err) == (edited == "a list")
