import fcntl
import os
import struct
import sys
import termios
from pathlib import Path

import pytest

from beam_etl.observe.progress import progress


def test_nothing_is_drawn_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(100, 2, lambda: (50, 1, 0)):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_bytes_files_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with os.fdopen(follower, "w") as terminal, os.fdopen(leader, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress(2_000_000, 4, lambda: (1_000_000, 2, 0)):
            pass
        terminal.write("\nend")
        terminal.flush()
        drawn = ""
        while "end" not in drawn:
            drawn += screen.read(4096).decode()
    assert "50%" in drawn
    assert "1.00M/2.00M" in drawn
    assert "2 of 4 files" in drawn


def test_reading_counts_what_progress_shows(tmp_path: Path) -> None:
    from beam_etl.pipelines.token_count import run
    from beam_etl.transforms import metrics

    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"language": "en", "text": "some words"}\n' * 10)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert run([f"--input={tmp_path}/*.jsonl", f"--output={tmp_path}/out"]) == 0
    assert (metrics.live(metrics.BYTES_READ), metrics.live(metrics.FILES_READ)) == (size, 2)


def test_a_second_read_is_shown(tmp_path: Path) -> None:
    from beam_etl.pipelines.dedup import run
    from beam_etl.transforms import metrics

    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "some words"}\n' * 10)
    assert run([f"--input={path}", f"--output={tmp_path}/out"]) == 0
    assert metrics.live(metrics.BYTES_READ_AGAIN) == path.stat().st_size
