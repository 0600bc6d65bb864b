"""What a launcher says of files before it starts a job."""

import pytest

from beam_etl.pipelines.launching import tell_of_files_in_images

CASES = {
    "of this machine or the image": ("dataflow", "/etc/kafka.conf", True),
    "in Cloud Storage": ("dataflow", "gs://bucket/kafka.conf", False),
    "none": ("dataflow", None, False),
    "on workers that share this machine's files": ("flink", "/etc/kafka.conf", False),
}


@pytest.mark.parametrize(("runner", "path", "told"), CASES.values(), ids=CASES)
def test_a_file_that_workers_of_dataflow_find_in_their_image_only_is_told(
    runner: str, path: str | None, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_of_files_in_images(runner, "kafka_config", path)
    assert ("--kafka_config=/etc/kafka.conf: workers of Dataflow" in capsys.readouterr().err) == told
