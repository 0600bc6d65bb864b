"""Jobs on Dataflow in tests: their flags, a service and a store that take them, and what came of them."""

import getpass
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import apache_beam as beam

from beam_etl.io.stores import store_of
from beam_etl.pipelines import job
from tests.cloud import Cloud
from tests.templates.dataflow_service import Service, Submitted
from tests.templates.driving import Launch, Launched, drive
from tests.templates.executing import Pipeline, staged_pipeline
from tests.templates.image import Image
from tests.templates.workers import container

PROJECT, REGION, IMAGE = "some-project", "europe-west4", "europe-docker.pkg.dev/some-project/etl/beam-etl:1.0"

USER, SECRET = "somebody-of-this-machine", "a-secret-of-this-machine"


@dataclass
class Place:
    """Where jobs are launched, and where they go."""

    image: Image
    cloud: Cloud
    service: Service

    def flags(self, name: str) -> list[str]:
        """What a job needs for Dataflow. Its name tells where it stages, by which it is found again."""
        return [
            "--runner=dataflow",
            f"--project={PROJECT}",
            f"--region={REGION}",
            f"--temp_location={self.cloud.root}/tmp/{name}",
            f"--sdk_container_image={IMAGE}",
            f"--dataflow_endpoint={self.service.url}",
            "--no_auth",
        ]

    def launch(self, launches: Sequence[Launch]) -> dict[str, Launched]:
        """Launches jobs from the image, as a user of another name, who has a secret."""
        user = {"HOME": f"/home/{USER}", "LOGNAME": USER, "SOME_TOKEN": SECRET}
        told = container(self.image, {**self.cloud.environment, **user})
        return drive(self.image.python, launches, told)

    def submitted(self, name: str) -> Submitted:
        """The job of a launch."""
        folder = f"{self.cloud.root}/tmp/{name}/"
        (found,) = [job for job in self.service.jobs if job.options["pipelineUrl"].startswith(folder)]
        return found

    def pipeline(self, name: str) -> Pipeline:
        """What it is to run."""
        return staged_pipeline(self.submitted(name))

    def put(self, path: str, rows: Sequence[dict[str, Any]]) -> str:
        """Writes documents as JSON; where."""
        whole = f"{self.cloud.root}/{path}"
        store_of(whole).create(whole, "".join(json.dumps(row) + "\n" for row in rows).encode())
        return whole

    def staged(self, name: str) -> dict[str, bytes]:
        """All that a launch has staged, by name."""
        folder = f"{self.cloud.root}/tmp/{name}"
        return {
            os.path.basename(at.path): store_of(folder).read(at.path) for at in store_of(folder).files(folder)
        }


def built(run: Any, argv: Sequence[str]) -> Pipeline:
    """The pipeline that `--plan` reads, made in this process."""
    made: list[beam.Pipeline] = []
    make = job.make_pipeline

    def making(*given: Any, **named: Any) -> beam.Pipeline:
        made.append(make(*given, **named))
        return made[-1]

    with mock.patch.object(job, "make_pipeline", making):
        assert run(argv) == 0
    proto: Pipeline = made[0].to_runner_api()
    return proto


def of_this_machine() -> list[str]:
    """What a job must not tell."""
    folders = {os.getcwd(), os.path.expanduser("~"), os.path.dirname(os.path.dirname(beam.__path__[0]))}
    users = {getpass.getuser()} - {"root"}  # a word of graphs, too
    return [USER, SECRET, *folders, *users]
