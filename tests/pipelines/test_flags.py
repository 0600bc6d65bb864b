import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions

from beam_etl.pipelines import dedup_config, token_count
from beam_etl.pipelines.flags import UsageError, flag, parse, parser
from beam_etl.pipelines.runners import make_options, make_runner, runner_name


@dataclass(frozen=True, kw_only=True)
class Config:
    input: tuple[str, ...] = flag("what to read")
    size: int = flag("bytes of a part", default=64 << 20, unit="bytes")
    rate: float | None = flag("documents a second", default=None)
    keep: bool = flag("keep the input", default=False)
    order: str = flag("first or last", default="first", choices=("first", "last"))
    plan: str | None = flag("print and stop", default=None, choices=("text", "json"), bare="text")

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"--rate must be above 0, got {self.rate}")


def parsed(*argv: str) -> tuple[Config, list[str]]:
    return parse(Config, argv, "job", "A job.")


def test_values_have_their_types_and_what_is_unknown_is_left_for_beam() -> None:
    config, rest = parsed(
        "--input=a.parquet, b/*.jsonl",
        "--keep=true",
        "--size=1.5GiB",
        "--rate=2",
        "--plan",
        "--max_num_workers=3",
    )
    assert config == Config(
        input=("a.parquet", "b/*.jsonl"), keep=True, size=3 << 29, rate=2.0, order="first", plan="text"
    )
    assert rest == ["--max_num_workers=3"]


WRONG = {
    "missing": ([], "--input"),
    "no boolean": (["--input=a", "--keep=yes"], "'yes' is neither true nor false"),
    "no size": (["--input=a", "--size=big"], "'big' is no size: write bytes, or 64MiB, or 1GB"),
    "no choice": (["--input=a", "--order=middle"], "invalid choice: 'middle'"),
    "refused by the config": (["--input=a", "--rate=-1"], "--rate must be above 0, got -1.0"),
    "an abbreviation": (["--inp=a"], "--input"),
}


@pytest.mark.parametrize(("argv", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_command_line_is_told_what_is_wrong(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parsed(*argv)


def test_help_shows_units_and_defaults() -> None:
    text = parser(Config, "job", "A job.").format_help()
    for part in (
        "--size BYTES",
        "(default: 67.1 MB)",
        "(required)",
        "first|last",
        "(default: false)",
        "--name=value",
    ):
        assert part in text


RUNNERS = {"direct": "FnApiRunner", "DirectRunner": "FnApiRunner", "FnApiRunner": "FnApiRunner"}


@pytest.mark.parametrize(("name", "made"), RUNNERS.items())
def test_the_in_process_runner_has_several_names_and_never_is_prism(name: str, made: str) -> None:
    assert type(make_runner(name)).__name__ == made


def test_all_cores_work_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_etl.pipelines.runners.cores", lambda: 7)
    assert make_options("direct", []).view_as(DirectOptions).direct_num_workers == 7
    assert make_options("direct", ["--direct_num_workers=3"]).view_as(DirectOptions).direct_num_workers == 3
    assert make_options("direct", []).view_as(DirectOptions).direct_running_mode == "in_memory"


@pytest.mark.parametrize(
    ("name", "beam"), {"flink": "FlinkRunner", "dataflow": "DataflowRunner", "spark": "SparkRunner"}.items()
)
def test_engines_have_short_names(name: str, beam: str) -> None:
    assert runner_name(name) == beam


def test_an_unknown_runner_or_flag_is_an_error_with_a_hint() -> None:
    with pytest.raises(UsageError, match=r"--runner=flnik.*Use direct, flink"):
        make_runner("flnik")
    with pytest.raises(UsageError, match=r"unknown flag --max_num_worker\. Did you mean --max_num_workers"):
        make_options("direct", ["--max_num_worker=3"])
    with pytest.raises(UsageError, match=r"unknown flag --ouput\. Did you mean --output"):
        make_options("direct", ["--ouput=x"], own=["--output"])


SPARK_REFUSED = {
    "a stream": ([], ["--streaming"], "says RUNNING for ever"),
    "no workers": (["--job_endpoint=host:8099"], [], "say how executors get Python workers"),
    "no workers, by master": (["--spark_master_url=spark://host:7077"], [], "beam_etl.engines.pool"),
    "an image without beam_etl": ([], ["--environment_type=DOCKER"], "has no beam_etl"),
}


@pytest.mark.parametrize(("where", "more", "reason"), SPARK_REFUSED.values(), ids=SPARK_REFUSED.keys())
def test_what_hangs_or_fails_on_spark_is_refused(where: list[str], more: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make_options("spark", [*where, *more])
    assert make_options("spark", [*where, "--environment_type=EXTERNAL", "--environment_config=host:5000"])


def test_folders_are_absolute_wherever_a_worker_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["--input=in", "--output=out/../made", "--against=a,s3://bucket/b", "--write_signatures=s"]
    config, _ = parse(dedup_config.Config, argv, "dedup", "")
    assert config.output == f"{tmp_path}/made"
    assert config.against == (f"{tmp_path}/a", "s3://bucket/b")
    assert config.write_signatures == f"{tmp_path}/s"


SECRETS = {
    "an input": ["--input=in.jsonl,s3://user:hunter2@bucket/a", "--output=out"],
    "a secret with a slash": ["--input=in.jsonl", "--output=s3://user:hun/hunter2@bucket/out"],
    "a secret with a comma": ["--input=s3://user:hunter2,more@bucket/in", "--output=out"],
    "an output": ["--input=in.jsonl", "--output=gs://user:hunter2@bucket/out"],
    "a wrong flag": ["--imput=https://user:hunter2@host/a"],
    "a list of files": ["--input=@s3://user:hunter2@bucket/list.txt", "--output=out"],
    "in a list of files": ["--input=@{folder}/list.txt", "--output=out"],
}


@pytest.mark.parametrize("flags", SECRETS.values(), ids=SECRETS)
def test_a_url_with_credentials_is_refused_and_masked(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("s3://user:hunter2@bucket/a.jsonl\n")
    assert token_count.run([flag.format(folder=tmp_path) for flag in flags]) == 2
    told = "".join(capsys.readouterr())
    assert re.search(r"://\*\*\*@.*: a url with credentials in it is not taken", told)
    assert "hunter2" not in told
    assert "user" not in told
