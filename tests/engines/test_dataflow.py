"""What a job on Dataflow is given besides what its user said, and what is missing."""

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
)
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.transforms.window import FixedWindows

from beam_etl.engines import dataflow
from beam_etl.pipelines.runners import make_runner

ENOUGH = ("--project=some-project", "--region=here", "--temp_location=gs://b/t", "--sdk_container_image=i")


def filled(*flags: str, given: Sequence[str] = ENOUGH) -> PipelineOptions:
    return PipelineOptions(dataflow.fill([*given, *flags], "token_count-0123456789ab"))


def test_a_job_is_named_by_its_run_and_takes_nothing_along() -> None:
    options = filled("--experiments=some")
    assert options.view_as(GoogleCloudOptions).job_name == "token-count-0123456789ab"
    assert options.view_as(SetupOptions).save_main_session is False
    assert options.view_as(DebugOptions).experiments == ["some", "disable_logging_submission_environment"]


def test_what_the_user_says_stays() -> None:
    options = filled("--job_name=mine", "--save_main_session", "--staging_location=gs://b/s")
    assert options.view_as(GoogleCloudOptions).job_name == "mine"
    assert options.view_as(SetupOptions).save_main_session is True
    assert options.view_as(GoogleCloudOptions).staging_location == "gs://b/s"


def test_the_region_is_that_of_the_environment_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSDK_COMPUTE_REGION", "there")
    given = [flag for flag in ENOUGH if not flag.startswith("--region")]
    assert filled(given=given).view_as(GoogleCloudOptions).region == "there"


INSTEAD = {
    "where files are staged": ("--temp_location=gs://b/t", "--staging_location=gs://b/s"),
    "code that workers install": ("--sdk_container_image=i", "--extra_package=etl.tar.gz"),
}


@pytest.mark.parametrize(("left_out", "flag"), INSTEAD.values(), ids=INSTEAD)
def test_what_does_as_well(left_out: str, flag: str) -> None:
    options = filled(flag, given=[each for each in ENOUGH if each != left_out])
    assert str(options.view_as(GoogleCloudOptions).temp_location).startswith("gs://b/")


def test_all_that_is_missing_is_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataflow, "_usual_region", lambda: None)
    with pytest.raises(dataflow.RefusedError) as refused:
        filled("--temp_location=/tmp", given=())
    for flag in ("--project=", "--region=", "--temp_location=gs://", "--sdk_container_image="):
        assert flag in str(refused.value)


@pytest.mark.parametrize("with_context", [False, True])
def test_no_window_closes_with_a_pane_that_brings_nothing(
    with_context: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        dataflow_runner.DataflowRunner,
        "run_pipeline",
        lambda _, pipeline, *__: pipeline.to_runner_api(return_context=with_context),
    )
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create([1]) | beam.WindowInto(FixedWindows(60))
    found: Any = make_runner("dataflow").run_pipeline(pipeline, pipeline.options)
    submitted = found[0] if with_context else found
    assert {each.closing_behavior for each in submitted.components.windowing_strategies.values()} == {
        beam_runner_api_pb2.ClosingBehavior.EMIT_IF_NONEMPTY
    }
