"""Which engine a job runs on, and Beam's options for it."""

import difflib
import logging
import os
from collections.abc import Sequence
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.runners.runner import PipelineRunner, create_runner

from beam_etl.pipelines.flags import UsageError

View = TypeVar("View", bound=PipelineOptions)

IN_PROCESS = "FnApiRunner"
FLINK = "FlinkRunner"
DATAFLOW = "DataflowRunner"
SPARK = "SparkRunner"

_SHORT = {
    "direct": IN_PROCESS,
    "directrunner": IN_PROCESS,
    "flink": FLINK,
    "flinkrunner": FLINK,
    "dataflow": DATAFLOW,
    "dataflowrunner": DATAFLOW,
    "spark": SPARK,
    "sparkrunner": SPARK,
}


class _Options(PipelineOptions):
    """Beam's options, whose views are made once.

    Beam asks for some at each step of a pipeline, and each would parse all flags again: a tenth of a second of a job.
    """

    def view_as(self, cls: type[View]) -> View:
        views: dict[type[PipelineOptions], Any] = self.__dict__.setdefault("views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        found: View = views[cls]
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "views"}


def runner_name(name: str) -> str:
    """Beam's name of a runner, given that or a short one.

    DirectRunner is FnApiRunner: Beam's own would try to download Prism, which loses data where a stage has two splits.
    """
    return _SHORT.get(name.lower(), name)


def make_runner(name: str) -> PipelineRunner:
    """The runner of this name.

    Raises:
      UsageError: Beam doesn't know it.
    """
    if runner_name(name) == FLINK:
        from beam_etl.engines.flink.runner import FlinkRunner

        return FlinkRunner()
    try:
        if runner_name(name) == DATAFLOW:
            from beam_etl.engines.dataflow_runner import DataflowRunner

            return DataflowRunner()
        if runner_name(name) == IN_PROCESS:
            from beam_etl.engines.in_process import FnApiRunner

            return FnApiRunner()
        return create_runner(runner_name(name))
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner={name}: {error}. Use direct, flink, dataflow or spark.") from error


def make_options(
    name: str, arguments: Sequence[str], own: Sequence[str] = (), job: str | None = None
) -> PipelineOptions:
    """Beam's options from what was left of the command line.

    Args:
      name: of the runner, as the user gave it.
      arguments: flags that the job doesn't know.
      own: the job's flags, to suggest one where a name is misspelt.
      job: the name of the run on a cluster; None where nothing will be run.

    In process, all cores that this process may use work, as threads: kernels release the GIL. On Flink and Dataflow,
    what they need is filled in.

    Raises:
      UsageError: a flag that neither the job nor Beam knows, or that the cluster can't take.
    """
    if runner_name(name) == FLINK and job is not None:
        arguments = _on_flink(arguments, own, job)
    else:
        _refuse_unknown(arguments, own)
    if runner_name(name) == DATAFLOW and job is not None:
        arguments = _on_dataflow(arguments, job)
    # What Beam for Python doesn't know by then, its job server does.
    logging.getLogger("apache_beam.options.pipeline_options").addFilter(
        lambda record: "Unparseable argument" not in record.getMessage()
    )
    options = _Options(list(arguments), runner=runner_name(name))
    if runner_name(name) == SPARK:
        _refuse_on_spark(options)
    direct = options.view_as(DirectOptions)
    if runner_name(name) == IN_PROCESS and not any(
        flag.startswith("--direct_num_workers") for flag in arguments
    ):
        direct.direct_num_workers = cores()
    # Beam warns that `in_memory` wants one worker. It runs several as threads, without a socket, and that is wanted.
    logging.getLogger("apache_beam.runners.portability.fn_api_runner.fn_runner").addFilter(
        lambda record: "direct_num_workers" not in record.getMessage()
    )
    return options


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_flink(arguments: Sequence[str], own: Sequence[str], job: str) -> list[str]:
    from beam_etl.engines.flink import options as flink
    from beam_etl.engines.flink.rest import FlinkError

    try:
        named = flink.with_cluster(arguments)
        endpoint = PipelineOptions(named).view_as(PortableOptions).job_endpoint
        known = flink.job_server_flags(endpoint) if endpoint else ()
        _refuse_unknown(named, [*own, *known])
        return flink.fill(named, job)
    except (flink.RefusedError, FlinkError) as error:
        raise UsageError(f"--runner=flink: {error}") from error


def _on_dataflow(arguments: Sequence[str], job: str) -> list[str]:
    from beam_etl.engines import dataflow

    try:
        return dataflow.fill(arguments, job)
    except dataflow.RefusedError as error:
        raise UsageError(f"--runner=dataflow: {error}") from error


def _refuse_on_spark(options: PipelineOptions) -> None:
    portable = options.view_as(PortableOptions)
    kind, master = portable.environment_type, options.view_as(SparkRunnerOptions).spark_master_url
    if options.view_as(StandardOptions).streaming:
        raise UsageError(
            "--runner=spark: a stream says RUNNING for ever there and does nothing. Use --runner=flink."
        )
    if not kind and (
        portable.job_endpoint or not master.startswith("local")
    ):  # LOOPBACK, or Beam's own image
        raise UsageError(
            "--runner=spark: say how executors get Python workers that have beam_etl: --environment_type=EXTERNAL "
            "with --environment_config=127.0.0.1:PORT of `python -m beam_etl.engines.pool` on each machine"
        )
    if kind == "DOCKER" and not portable.environment_config:
        raise UsageError(
            "--runner=spark: --environment_type=DOCKER takes Beam's own image, which has no beam_etl. Name one that "
            "has it in --environment_config."
        )


def _refuse_unknown(arguments: Sequence[str], own: Sequence[str]) -> None:
    parser = _BeamArgumentParser(allow_abbrev=False, add_help=False)
    for options in _subclasses(PipelineOptions):
        if "_add_argparse_args" in vars(options):
            options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(arguments))
    unknown = [flag.split("=", 1)[0] for flag in unknown]
    if strange := [flag for flag in unknown if flag not in own]:
        flag = strange[0]
        known = [*own, *(name for action in parser._actions for name in action.option_strings)]
        close = difflib.get_close_matches(flag, known, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"unknown flag {flag}.{hint} --help lists the job's flags.")


def _subclasses(kind: type[PipelineOptions]) -> list[type[PipelineOptions]]:
    found: list[type[PipelineOptions]] = []
    for child in kind.__subclasses__():
        found += [child, *_subclasses(child)]
    return found
