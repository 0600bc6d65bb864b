"""Launching a job on a stream: the same build, windows around it, a sink of panes, and what a person sees of it."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult

from beam_etl.engines.flink.savepoints import DRAINED, END
from beam_etl.io import panes, staging
from beam_etl.io.pane_restart import launch_of, restart
from beam_etl.io.stores import is_local
from beam_etl.io.write import FAILURES, check_output
from beam_etl.io.write_panes import WritePanes
from beam_etl.kernels.disorder import disorder_note
from beam_etl.kernels.windows import Firing, WindowSpec
from beam_etl.observe.plan import plan
from beam_etl.observe.text import format_seconds
from beam_etl.pipelines.flags import UsageError, folders_of
from beam_etl.pipelines.launching import (
    about,
    counted_totals,
    make_pipeline,
    on_cluster,
    refuse_files_of_this_machine,
    service_of,
    tell_of_files_in_images,
)
from beam_etl.pipelines.pane_progress import PaneProgress, published_lines
from beam_etl.pipelines.runners import DATAFLOW, FLINK, make_options, runner_name
from beam_etl.pipelines.stream_config import SCHEMES
from beam_etl.pipelines.stream_execution import CHECKPOINTS, SAVEPOINT, StreamExecution, tell_failures
from beam_etl.pipelines.stream_sources import open_stream
from beam_etl.pipelines.stream_support import IN_PROCESS_STREAM
from beam_etl.pipelines.window_config import WindowConfig
from beam_etl.pipelines.windowed import WindowedSource, window_columns
from beam_etl.transforms import metrics
from beam_etl.transforms.metrics import RECORDS_REJECTED, ROWS_READ
from beam_etl.transforms.windows import ARRIVALS, LATE, ON_TIME, TOO_LATE, beam_trigger

DONE = 0

_STORAGE = "--state_backend_storage_path"
"""Beam's flag for where checkpoints go."""

_OF_STREAM = re.compile(rf"{staging.FOLDER}/([0-9a-f]{{{staging.RUN_LETTERS}}})/")
"""In the path of a savepoint: its stream."""


def launch_stream(job: Any, config: Any, rest: Sequence[str]) -> int:
    """Builds and runs a job on a stream, until its source ends or somebody stops it; the exit code.

    Args:
      job: a Job.
      config: what was asked of it.
      rest: flags for Beam.

    Raises:
      UsageError, DatasetError, InputError: it can't be started so.
    """
    spec = _windows(job.name, config)
    savepoint, updates = _savepoint(rest), _updates(config, rest)
    if not config.plan:
        refuse_files_of_this_machine(config.runner, (*folders_of(config), *config.others, *_watched(config)))
        tell_of_files_in_images(config.runner, "kafka_config", config.kafka_config)
    stream = _stream(job.name, config, savepoint, updates)
    flags = ["--streaming", *_checkpoint_flags(config, stream), *rest]
    own = [f"--{name}" for name in config.to_json()]
    if config.plan and runner_name(config.runner) == FLINK:  # for which no job server is asked what it knows
        own += [SAVEPOINT, _STORAGE]
    name = None if config.plan else f"{job.name}-{stream}"
    options = make_options(config.runner, flags, own, name)
    pipeline = make_pipeline(config.runner, options, planned=config.plan is not None)
    source = open_stream(pipeline, config)
    source.end = os.path.join(staging.staging_folder(config.output, stream), END)
    told = about(job.name, config, source)
    launch = launch_of(config.output, stream) if updates else str(config.run)
    tables = build_stream(job, config, source, stream, told, launch)
    if config.plan:
        drawn, cluster = plan(pipeline), config.described_cluster
        print(drawn.to_json(cluster) if config.plan == "json" else drawn.to_text(cluster))
        return DONE
    if savepoint is None and not updates:
        panes.register(
            config.output,
            stream,
            job.name,
            {table: {} for table in tables if table != FAILURES},
            lateness=spec.allowed_lateness,
            about=told,
        )
    elif savepoint is not None:
        restart(config.output, stream, savepoint, told, str(config.run))
        folder = staging.staging_folder(config.output, stream)
        staging.remove(os.path.join(folder, mark) for mark in (END, DRAINED))
    return _Streaming(job, config, stream, savepoint, updates).run(pipeline)


def build_stream(
    job: Any, config: Any, source: Any, stream: str, told: Mapping[str, Any], launch: str | None
) -> dict[str, beam.PCollection[Any]]:
    """Builds a job on a stream, and the sink of its tables; the tables.

    Args:
      job: a Job.
      config: of a WindowConfig, with --window.
      source: the stream.
      stream: its name in the dataset.
      told: what manifests tell of the job.
      launch: as of `WritePanes`.
    """
    spec = _windows(job.name, config)
    windowed = WindowedSource(source, spec, config.disorder)
    found = job.build(windowed, config)
    tables = window_columns(
        {name: table for name, table in found.items() if not name.startswith("_") or name == FAILURES},
        streaming=True,
    )
    if windowed.arrivals is not None:
        tables[ARRIVALS] = windowed.arrivals
    sink = WritePanes(
        output=config.output,
        stream=stream,
        launch=launch,
        trigger=beam_trigger(_at_the_sink(spec)),
        format=config.output_format,
        file_bytes=config.file_bytes,
        about=told,
    )
    _ = tables | "Write panes" >> sink
    return tables


def _windows(job: str, config: Any) -> WindowSpec:
    spec = config.window_spec if isinstance(config, WindowConfig) else None
    if not isinstance(config, WindowConfig):
        raise UsageError(f"{job} takes no stream: it works on input that ends")
    if spec is None:
        raise UsageError(
            "a stream is published window by window: say how long they are, such as --window=fixed:10m"
        )
    if not is_local(config.output) and runner_name(config.runner) == FLINK:
        raise UsageError(
            f"{config.output}: the checkpoints of a stream on Flink lie beside its panes, on a local or mounted "
            "filesystem; --output needs a folder"
        )
    if config.overwrite or config.strict:
        raise UsageError(
            f"--{'overwrite' if config.overwrite else 'strict'}=true is for input that ends: a stream adds to a "
            "dataset, and its rejects are a table of it"
        )
    return spec


def _at_the_sink(spec: WindowSpec) -> WindowSpec:
    """Panes of the tables are published as they come, or together within the time that they may take anyway."""
    early, late = (
        Firing(count=1) if firing and firing.count else firing
        for firing in (spec.early_firing, spec.late_firing)
    )
    return replace(spec, early_firing=early, late_firing=late)


def _savepoint(rest: Sequence[str]) -> str | None:
    given = [flag.partition("=")[2] for flag in rest if flag.startswith(f"{SAVEPOINT}=")]
    return given[-1] if given else None


def _updates(config: Any, rest: Sequence[str]) -> bool:
    """Whether the job takes the place of one on Dataflow, whose state it goes on with."""
    on_dataflow = runner_name(config.runner) == DATAFLOW
    return on_dataflow and bool(PipelineOptions(list(rest)).view_as(GoogleCloudOptions).update)


def _watched(config: Any) -> list[str]:
    """Files that the stream is read from."""
    scheme = SCHEMES["watch"]
    is_watched = config.input[0].startswith(scheme)
    return [pattern.removeprefix(scheme) for pattern in config.input] if is_watched else []


def _stream(job: str, config: Any, savepoint: str | None, updates: bool) -> str:
    """The name of the stream: that of this run, or of the one that goes on."""
    present = savepoint is not None or updates or config.append
    check_output(config.output, present)
    if updates:
        return panes.stream_in(config.output, None, job)
    if savepoint is None:
        return str(config.run)
    found = _OF_STREAM.search(savepoint)
    stream = panes.stream_in(config.output, found[1] if found else None, job)
    if runner_name(config.runner) != FLINK:
        raise UsageError(
            f"{SAVEPOINT}: savepoints are Flink's; --runner={config.runner} can't go on from one"
        )
    return stream


def _checkpoint_flags(config: Any, stream: str) -> list[str]:
    """Checkpoints lie beside what they name: in the stream's staging folder, which all workers see."""
    if runner_name(config.runner) != FLINK:
        return []
    return [f"{_STORAGE}=file://{staging.staging_folder(config.output, stream)}/{CHECKPOINTS}"]


class _Streaming:
    """A stream that was built, while it runs."""

    def __init__(self, job: Any, config: Any, stream: str, savepoint: str | None, updates: bool) -> None:
        self._job = job
        self._config = config
        self._stream = stream
        self._savepoint = savepoint
        self._updates = updates
        self._in_process = runner_name(config.runner) == IN_PROCESS_STREAM

    def run(self, pipeline: beam.Pipeline) -> int:
        """Runs it to its end; the exit code."""
        start = time.monotonic()
        metrics.reset_live()
        execution = StreamExecution(
            job=self._job.name,
            folders=(self._config.output,),
            run=self._stream,
            on_cluster=on_cluster(pipeline.options),
            in_process=self._in_process,
            progress=PaneProgress(self._config.output, self._stream),
            savepoint=self._savepoint,
            updates=self._updates,
            service=service_of(self._config.runner, pipeline.options),
        )
        result = execution(pipeline)
        if isinstance(result, int):
            return result
        if reasons := panes.failures_of(self._config.output, self._stream):
            return tell_failures(self._job.name, reasons)
        for line in self._closing(result, time.monotonic() - start):
            print(line)
        if told := execution.keep_or_clean(result):
            print(told)
        return DONE

    def _closing(self, result: PipelineResult, seconds: float) -> Iterator[str]:
        counted = metrics.added() if self._in_process else counted_totals(result)[0]
        read, rejected = counted.get(ROWS_READ, 0), counted.get(RECORDS_REJECTED, 0)
        yield f"read {read:,} documents in {format_seconds(seconds)}; {rejected:,} rejected"
        yield (
            f"rows in windows: {counted.get(ON_TIME, 0):,} on time, {counted.get(LATE, 0):,} late, "
            f"{counted.get(TOO_LATE, 0):,} too late"
        )
        if note := disorder_note(counted, self._config.max_disorder):
            yield note
        yield from self._job.notes(self._config, counted)
        yield from published_lines(self._config.output, self._stream)
