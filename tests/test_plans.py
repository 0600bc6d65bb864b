"""The number of shuffles of each pipeline: the bill. A change of it is a change of the design."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

from beam_etl.pipelines import PIPELINES, inverted_index
from tests.vocabularies import SMALL

EXAMPLE = Path(__file__).parents[1] / "examples/texts.toml"

DOCUMENT = {"id": "a", "language": "en", "domain": "one.org", "text": "some words"}

SECOND_READ = [["split"], ["survivor", "salt"], ["domain"]]
"""Of any deduplication: decisions to their splits, removed documents to those that stay, and the report."""

FACTS = [["node"], ["cluster"]]
"""To choose which document of a cluster stays by more than its place."""

ROUND = [["key"], ["node"]]

SHUFFLES: dict[str, list[list[str]]] = {
    "token_count": [["language", "is_total"]],
    "aggregate": [[]],
    "aggregate --by=domain --agg=count,p50:id": [["domain"]],
    "quantiles --columns=id --exact=true": [[]],
    "repartition --partition=value:language": [["partition"]],
    "repartition --partition=range:id:2,hash:domain:3 --order=id": [["partition"]],
    "repartition --partition=hash:domain:2 --max_rows_per_key=1": [["domain"], ["partition"]],
    "sort --by=id": [["partition"]],
    "topk --by=id": [],
    "tokenize --tokenizer=hf:{folder}/small.json": [["partition"]],
    "tokenize --tokenizer=hf:{folder}/small.json --layout=numpy": [["partition"]],
    "join --on=id": [],
    "join --on=id --way=shuffle": [["id"]],
    "compact_index": [["term"], ["term", "range"]],
    "inverted_index": [["term"], ["term", "range"]],
    "curate --config={folder}/texts.toml": [
        ["content_hash"],
        ["node"],  # signatures of what exact removal left
        *(["bucket"], ["node"], ["root"], *FACTS),
        ["node"],  # facts of what both left
        ["domain"],
        *SECOND_READ,
        *SECOND_READ[1:],
        ["domain", "is_total"],
        ["step_number", "domain", "language"],
    ],
    "dedup": [["bucket"], *SECOND_READ],
    "dedup --method=exact": [["content_hash"], *SECOND_READ],
    "dedup --method=exact --key=id --keep=longest": [["content_hash"], *SECOND_READ],
    "dedup --keep=longest": [["bucket"], *FACTS, *SECOND_READ],
    "dedup --threshold=0.8": [["bucket"], ["node"], ["root"], *FACTS, *SECOND_READ],
    "dedup --threshold=0.8 --keep=longest": [["bucket"], ["node"], ["root"], *FACTS, *SECOND_READ],
    "dedup --oversized=split": [["bucket"], ["node"], ["bucket"], *SECOND_READ],
    "dedup --components=rounds --component_rounds=2": [
        ["bucket"],
        *ROUND,
        *ROUND,
        ["key"],
        ["root"],
        *SECOND_READ,
    ],
    "dedup --within=domain --partitioned=true": [],
    "lines": [["line"]],
    "lines --scope=domain --keep=none": [["line"]],
    "decontaminate --evaluations={source}": [],
    "extract --detect_language=false": [],
    "domain_score": [["domain"]],
    "domain_score --min_domain_score=0.5 --max_documents_per_domain=100": [["domain"]],
    "domain_score --documents=true --join=shuffle": [["domain"], ["domain", "beam_etl.salt"]],
    "domain_score --partitioned=true": [],
    "domain_score --partitioned=true --min_domain_score=0.5": [],
}
"""For each pipeline, with its default flags or others, the key of each shuffle."""

NO_JOBS = {
    *("append", "check_index", "clean", "compact", "describe", "index_segments", "score_windows", "search"),
    *("show", "verify"),
}
"""Pipelines that are no Beam jobs, and have no plan."""


def test_every_pipeline_is_pinned() -> None:
    assert {command.split()[0] for command in SHUFFLES} | NO_JOBS == set(PIPELINES)


@pytest.mark.parametrize(("command", "keys"), SHUFFLES.items(), ids=SHUFFLES)
def test_the_plan_shows_these_shuffles(
    command: str, keys: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(DOCUMENT))
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    shutil.copy(EXAMPLE, tmp_path / "texts.toml")
    name, *flags = command.format(folder=tmp_path, source=source).split()
    if name == "compact_index":  # which reads indexes
        assert inverted_index.run([f"--input={source}", f"--output={tmp_path}/index"]) == 0
        source = tmp_path / "index"
        capsys.readouterr()
    pipeline = importlib.import_module(f"beam_etl.pipelines.{name}")
    sources = ["--left", "--right"] if name == "join" else ["--input"]
    given = [f"{flag}={source}" for flag in sources]
    assert pipeline.run([*given, f"--output={tmp_path}/out", "--plan=json", *flags]) == 0
    assert [shuffle["by"] for shuffle in json.loads(capsys.readouterr().out)["shuffles"]] == keys
    assert not (tmp_path / "out").exists()
