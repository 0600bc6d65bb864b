"""The cost on Dataflow: the formula of docs/dataflow.md, the table that replaces the usual one, and measured bytes."""

import json
from pathlib import Path

import pytest

from beam_etl.observe.cost import OTHERS, Assumptions, cost, read_assumptions
from beam_etl.observe.plan import Plan, ShuffleStep
from beam_etl.pipelines import dedup, token_count

TB, GB = 10**12, 10**9

STEPS = (
    ShuffleStep("one hop", ("a",), 4, 1, 100 * GB),
    ShuffleStep("two hops", ("b",), 4, 2, 50 * GB),
    ShuffleStep("as files", ("c",), 4, 1, TB, by_files=True),
    ShuffleStep("if it must", ("d",), 4, 1, TB, if_needed=True),
    ShuffleStep("nobody knows", (), None, 1, None),
)


def test_the_price_is_that_of_the_formula() -> None:
    found = cost(Plan((), STEPS, ()), "dedup", TB, Assumptions())
    hours = 1000 * 90 / 0.5 / 3600
    assert found.vcpu_hours == pytest.approx(hours) == 50
    assert found.shuffle_bytes == 200 * GB
    assert found.unknown == ("nobody knows",)
    by_hand = hours * (0.056 + 4 * 0.003557 + 25 / 4 * 0.000054) + 200 * 2 * 0.011
    assert found.price == pytest.approx(by_hand)
    assert "50 vCPU-hours and 200 GB shuffled, 7.93 USD" in found.to_text()
    assert "unknown: nobody knows" in found.to_text()


def test_a_file_replaces_some_of_the_assumptions(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"shuffle_gb": 0.02, "vcpu_seconds_per_gb": {"dedup": 1}, "currency": "EUR"}))
    found, usual = read_assumptions(str(path)), Assumptions()
    assert (found.shuffle_gb, found.currency, found.vcpu_hour) == (0.02, "EUR", usual.vcpu_hour)
    assert found.vcpu_seconds_per_gb == {**usual.vcpu_seconds_per_gb, "dedup": 1}
    assert OTHERS in found.vcpu_seconds_per_gb


WRONG = {
    "unknown": '{"shufle_gb": 1}',
    "negative": '{"vcpu_hour": -1}',
    "text": '{"vcpu_hour": "1"}',
    "never busy": '{"busy": 0}',
    "a list": "[]",
    "a list of rates": '{"vcpu_seconds_per_gb": []}',
    "no JSON": "vcpu_hour = 1",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_table_that_makes_no_sense_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    given = [f"--input={path}", f"--output={tmp_path}/out", "--runner=dataflow", "--plan"]
    assert token_count.run([*given, f"--prices={path}"]) == 2
    assert f"{path}: " in capsys.readouterr().err


def test_the_bytes_are_near_those_that_cross(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Near is a factor of 4: by so much may an estimate be wrong that partitions are laid out by."""
    source = tmp_path / "in.jsonl"
    words = [f"w{number}" for number in range(200)]
    lines = [
        {
            "id": str(n),
            "text": " ".join(words[n % 50 : n % 50 + 90]),
            "domain": f"d{n % 9}.org",
            "language": "en",
        }
        for n in range(3000)
    ]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = [f"--input={source}", f"--output={tmp_path}/out", "--threshold=0.8"]
    assert dedup.run([*given, "--runner=dataflow", "--plan=json"]) == 0
    planned = json.loads(capsys.readouterr().out)["cost"]
    assert dedup.run(given) == 0
    manifests = tmp_path / "out" / "_manifests"
    (report,) = manifests.glob("*.report.json")
    crossed = sum(shuffle["bytes"] for shuffle in json.loads(report.read_text())["shuffles"])
    assert crossed / 4 <= planned["shuffle_bytes"] <= crossed * 4
    assert planned["price"] > planned["parts"]["vcpu"] > 0
