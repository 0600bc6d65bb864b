"""The number of shuffles of each pipeline: the bill. A change of it is a change of the design."""

import importlib
import json
from pathlib import Path

import pytest

from beam_etl.pipelines import PIPELINES

SHUFFLES = {"token_count": [["language", "is_total"]]}
"""For each pipeline with its default flags, the key of each shuffle."""


def test_every_pipeline_is_pinned() -> None:
    assert set(SHUFFLES) == set(PIPELINES)


@pytest.mark.parametrize(("name", "keys"), SHUFFLES.items())
def test_the_plan_shows_these_shuffles(
    name: str, keys: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "a", "language": "en", "text": "some words"}))
    pipeline = importlib.import_module(f"beam_etl.pipelines.{name}")
    assert pipeline.run([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", "--plan=json"]) == 0
    assert [shuffle["by"] for shuffle in json.loads(capsys.readouterr().out)["shuffles"]] == keys
    assert not (tmp_path / "out").exists()
