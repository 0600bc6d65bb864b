"""Starts the pipeline of a template with the parameters that its user gave, in the image of templates/Dockerfile.

Dataflow's launcher runs it in a container, as `python launch.py --pipeline=dedup --input=... --runner=DataflowRunner
--template_location=gs://...`; the job that it writes there is what the service starts.
"""

import importlib
import os
import sys
from collections.abc import Sequence

from beam_etl.pipelines import PIPELINES

USAGE = 2
"""Exit code of parameters that start nothing."""

PIPELINE = "pipeline"
"""The parameter that says which pipeline a template starts: all of them have the same image."""

IMAGE = "BEAM_ETL_IMAGE"
"""The environment variable of an image that has its own name."""

_WORKERS = "--sdk_container_image"


def run(argv: Sequence[str]) -> int:
    """Builds the job, and doesn't wait for it; the exit code.

    Args:
      argv: parameters as flags, `--name=value`, and the launcher's own.
    """
    first = f"--{PIPELINE}="
    name = next((flag.removeprefix(first) for flag in reversed(argv) if flag.startswith(first)), "")
    module = importlib.import_module(f"beam_etl.pipelines.{name}") if name in PIPELINES else None
    if module is None or not hasattr(module, "JOB"):
        print(f"{PIPELINE}={name}: no template starts that; see templates/metadata", file=sys.stderr)
        return USAGE
    rest = [flag for flag in argv if not flag.startswith(first)]
    if not any(flag.partition("=")[0] == _WORKERS for flag in rest):
        image = os.environ.get(IMAGE)
        if not image:
            print(
                "this image doesn't know its name, and workers need the same image: build it with "
                f"--build-arg=IMAGE=NAME:TAG, or add the parameter {_WORKERS.lstrip('-')}",
                file=sys.stderr,
            )
            return USAGE
        rest.append(f"{_WORKERS}={image}")
    code: int = module.run(["--runner=dataflow", *rest])
    return code
