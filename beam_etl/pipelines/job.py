"""Launching a job: flags, source, build, commit, and what a person sees of it."""

import functools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult

from beam_etl.engines.flink.runner import FlinkResult
from beam_etl.io import manifest, publishing, staging
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import FileEntry
from beam_etl.io.stores import is_local
from beam_etl.io.stores.urls import mask
from beam_etl.io.write import WriteDataset, check_output
from beam_etl.kernels.vocabularies import VocabularyError
from beam_etl.observe.cluster import Cluster
from beam_etl.observe.cost import cost
from beam_etl.observe.plan import Plan, plan
from beam_etl.observe.progress import progress
from beam_etl.observe.report import PREPARING
from beam_etl.observe.summary import Summary
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines import flags
from beam_etl.pipelines.config import JobConfig, RunConfig
from beam_etl.pipelines.execution import FAILED, Execution
from beam_etl.pipelines.interrupt import give_up
from beam_etl.pipelines.launching import (
    about,
    counted_totals,
    make_pipeline,
    on_cluster,
    refuse_files_of_this_machine,
    service_of,
)
from beam_etl.pipelines.memory import refuse_too_large
from beam_etl.pipelines.run_report import RUNNING, Clock, Drawn
from beam_etl.pipelines.runners import DATAFLOW, IN_PROCESS, make_options, runner_name
from beam_etl.pipelines.stream_job import launch_stream
from beam_etl.pipelines.stream_sources import is_stream, open_stream
from beam_etl.pipelines.surviving import surviving
from beam_etl.pipelines.tell_report import Ran, tell_report
from beam_etl.pipelines.verdicts import exit_code, judged
from beam_etl.pipelines.windowed import build_windowed
from beam_etl.transforms import metrics

DONE, USAGE, INTERRUPTED = 0, 2, 130
"""Exit codes, beside FAILED and REJECTED: done; a command line or an input that can't be run as it is; Ctrl-C."""

AFTER = "_after"
"""Instead of a table's name: a function of the verdict of WriteDataset, which builds what waits for it."""

NEEDED = "_needed"
"""Instead of a table's name: folders below `_staging`, named by no run, that this one needs while it goes on."""

PARTITIONING = "_partitioning"
"""Instead of a table's name: what WriteDataset takes as `partitioning`."""

Config = TypeVar("Config", bound=RunConfig)


class Source(Protocol):
    """What a job reads."""

    @property
    def files(self) -> Sequence[FileEntry]:
        """All files."""

    @property
    def input_bytes(self) -> int:
        """Stored bytes of them."""


def read_documents(pipeline: beam.Pipeline, config: Any) -> Any:
    """The source of a job whose Config is a JobConfig."""
    asked: JobConfig = config
    if is_stream(asked.input):
        return open_stream(pipeline, asked)
    tolerated = asked.max_reject_fraction
    return FileSource(pipeline, asked.input, asked.columns, asked.format, tolerated=tolerated)


@dataclass(frozen=True)
class Job(Generic[Config]):
    """A pipeline module as it is launched."""

    name: str
    summary: str
    config: type[Config]
    build: Callable[[Any, Config], Mapping[str, Any]]
    """From the source: the tables, as WriteDataset takes them; PARTITIONING; NEEDED; and where the job has more to
    write then, AFTER."""
    notes: Callable[[Config, Mapping[str, int]], Sequence[str]] = lambda config, counters: ()
    """What else the closing lines say, from the totals of our counters."""
    explain: Callable[[Any, Config], Sequence[str]] = lambda source, config: ()
    """What else the plan says, from the source and the configuration."""
    source: Callable[[beam.Pipeline, Config], Source] = read_documents
    """Opens what `build` takes."""
    spelled: Callable[[Sequence[str]], Sequence[str]] = tuple
    """From the flags as they were given to all that they stand for, before they are parsed."""

    def run(self, argv: Sequence[str] | None) -> int:
        """Parses, builds, runs and publishes; the exit code.

        Args:
          argv: flags; None for those of this process, which is for the job alone then and may be forked for it.
        """
        clock = Clock(argv)
        try:
            given = self.spelled(sys.argv[1:] if argv is None else argv)
            config, rest = flags.parse(self.config, given, f"beam-etl {self.name}", self.summary)
            launch = functools.partial(self._launch, config, rest, clock)
            alone = argv is None and runner_name(config.runner) == IN_PROCESS and not is_stream(config.input)
            return surviving(launch, self.name) if alone else launch()
        except (flags.UsageError, InputError, VocabularyError, manifest.DatasetError) as error:
            print(f"{self.name}: {mask(str(error))}", file=sys.stderr)
            return USAGE
        except KeyboardInterrupt:  # before the run, which has a handler of its own
            print("interrupted before anything was written", file=sys.stderr)
            return INTERRUPTED

    def _launch(self, config: Config, rest: Sequence[str], clock: Clock) -> int:
        if is_stream(config.input):
            return launch_stream(self, config, rest)
        own = [f"--{name}" for name in config.to_json()]
        name = None if config.plan else f"{self.name}-{config.run}"
        options = make_options(config.runner, rest, own, name)
        pipeline = make_pipeline(config.runner, options, planned=config.plan is not None)
        if not config.plan:
            refuse_files_of_this_machine(config.runner, (*flags.folders_of(config), *config.others))
        source = self.source(pipeline, config)
        if not config.plan:
            refuse_files_of_this_machine(config.runner, (file.path for file in source.files))
        for folder in config.folders:
            _refuse_overlap(source, folder)
        # before `build` looks at what an earlier run has left: whoever publishes meanwhile takes that away
        base = check_output(config.output, config.overwrite or config.append)
        tables = judged(build_windowed(self.build, source, config), source.input_bytes, config)
        after, partitioning = tables.pop(AFTER, None), tables.pop(PARTITIONING, {})
        needed: Sequence[str] = tables.pop(NEEDED, ())
        write = WriteDataset(
            output=config.output,
            overwrite=config.overwrite,
            append=config.append,
            keep_versions=config.keep_versions,
            format=config.output_format,
            file_bytes=config.file_bytes,
            about=about(self.name, config, source),
            run=config.run,
            partitioning=partitioning,
            base=base,
        )
        verdict = tables | "Write dataset" >> write
        if after is not None:
            after(verdict)
        drawn, cluster = plan(pipeline), config.described_cluster
        if config.plan:
            on_dataflow = runner_name(config.runner) == DATAFLOW
            price = cost(drawn, self.name, source.input_bytes, config.assumptions) if on_dataflow else None
            lines = [*self.explain(source, config), *([price.to_text()] if price else [])]
            shown = _planned(source, drawn, cluster) + "".join(f"\n{line}" for line in lines)
            told = {"cost": price.to_json()} if price else {}
            print(drawn.to_json(cluster, told) if config.plan == "json" else shown)
            return DONE
        if runner_name(config.runner) == IN_PROCESS and not config.force:
            refuse_too_large(drawn)
        # before a step puts something beside tables, which would stay there
        staging.mark_begun(config.output, config.run, config.append)
        for folder in needed:
            staging.mark_owner(folder, config.run)
        return self._execute(pipeline, source, config, clock, base.number if base else 0)

    def _execute(
        self, pipeline: beam.Pipeline, source: Source, config: Config, clock: Clock, earlier: int
    ) -> int:
        """Runs and publishes; the exit code. `earlier`: the number of the version that was there, or 0."""
        drawn, in_process = Drawn.of(pipeline), runner_name(config.runner) == IN_PROCESS
        metrics.reset_live()
        clock.mark(PREPARING)
        start = time.monotonic()
        execution = Execution(
            job=self.name,
            folders=config.folders,
            run=config.run,
            on_cluster=on_cluster(pipeline.options),
            in_process=in_process,
            progress=progress(source.input_bytes, len(source.files), _read_so_far)
            if in_process
            else nullcontext(),
            service=service_of(config.runner, pipeline.options),
        )
        result = execution(pipeline)
        clock.mark(RUNNING)
        if isinstance(result, int):
            if result == FAILED and not config.append and _is_overtaken(config, earlier):
                print(f"{self.name}: {_overtaken(config)}", file=sys.stderr)
            return result
        ran = Ran(self.name, config, source.input_bytes, result, pipeline.options)
        if code := self._unpublished(config):
            tell_report(ran, drawn, clock)
            return code
        try:
            self._close(config, source, result, time.monotonic() - start)
            tell_report(ran, drawn, clock)
        except KeyboardInterrupt:
            print(f"interrupted after {config.output} was published; it stays", file=sys.stderr)
            return INTERRUPTED
        return DONE

    def _unpublished(self, config: Config) -> int:
        """The exit code of a run that isn't published as a whole, which is told and removed; DONE for others."""
        for folder in config.folders:
            publishing.refresh(folder)
        missing = [folder for folder in config.folders if not publishing.is_published(folder, config.run)]
        reasons = [
            reason
            for folder in missing
            for reason in staging.verdict(folder, config.run) or [_overtaken(config, folder)]
        ]
        for reason in reasons:
            print(f"{self.name}: {reason}", file=sys.stderr)
        if missing and config.output not in missing:
            print(
                f"{self.name}: {config.output} is published, {', '.join(missing)} is not. Run again with "
                f"--overwrite=true to have both.",
                file=sys.stderr,
            )
        kept = [folder for folder in missing if staging.is_kept(folder, config.run)]
        for folder in kept:
            print(
                f"{self.name}: `beam-etl append {folder} --run={config.run}` adds them to what is there now, if they "
                f"fit; `beam-etl clean {folder}` removes them after a day.",
                file=sys.stderr,
            )
        if missing and not kept:
            give_up(config.folders, config.run, runner_name(config.runner) == IN_PROCESS)
        return exit_code(reasons) if missing else DONE

    def _close(self, config: Config, source: Source, result: PipelineResult, seconds: float) -> None:
        published, (counted, skews) = manifest.latest(config.output), counted_totals(result)
        assert published is not None
        written = published.of_run(config.run) if config.append else published
        summary = Summary(
            rows_read=counted.get(metrics.ROWS_READ),
            input_bytes=source.input_bytes,
            tables={name: written.rows(name) for name in written.schemas},
            output_bytes=written.stored_bytes,
            seconds=seconds,
            output=config.output,
            crossed_bytes=counted.get(metrics.BYTES_CROSSED),
            slices=counted.get(metrics.ELEMENTS_OUT, 0),
            skipped_bytes=counted.get(metrics.BYTES_SKIPPED, 0) + getattr(source, "skipped_bytes", 0),
            skews=skews,
        )
        print(summary.to_text())
        repeated = result.retries() if isinstance(result, FlinkResult) else None
        for note in [*([repeated] if repeated else []), *self.notes(config, counted)]:
            print(note)
        for warning in (warning for skew in skews for warning in skew.warnings()):
            print(f"{self.name}: {warning}", file=sys.stderr)


def _is_overtaken(config: RunConfig, version: int) -> bool:
    """Whether another run has published a later version."""
    publishing.refresh(config.output)
    later = max(manifest.numbers(config.output), default=0) > version
    return later and not publishing.is_published(config.output, config.run)


def _overtaken(config: RunConfig, folder: str | None = None) -> str:
    """Why a run has published nothing to a folder, where no reason is known."""
    where = folder or config.output
    return f"another job published to {where} while this one ran; nothing of it was touched. {config.after_another}"


def _planned(source: Source, drawn: Plan, cluster: Cluster | None) -> str:
    files = "1 file" if len(source.files) == 1 else f"{len(source.files):,} files"
    return f"input: {files}, {format_bytes(source.input_bytes)}\n{drawn.to_text(cluster)}"


def _refuse_overlap(source: Source, output: str) -> None:
    """Publishing deletes what it replaces: that must not be the input."""
    if not is_local(output):
        for file in source.files:
            if file.path.startswith(f"{output.rstrip('/')}/"):
                raise _overlap(file, output)
        return
    if not os.path.exists(output):
        return
    inside = os.path.join(os.path.realpath(output), "")
    folder = functools.cache(os.path.realpath)  # a million files lie in a few thousand folders
    for file in source.files:
        parent, name = os.path.split(file.path)
        linked = os.path.islink(file.path)
        if (os.path.realpath(file.path) if linked else os.path.join(folder(parent), name)).startswith(inside):
            raise _overlap(file, output)


def _overlap(file: FileEntry, output: str) -> manifest.DatasetError:
    return manifest.DatasetError(f"the input {file.path} lies in the output {output}: use another --output")


def _read_so_far() -> tuple[int, int, int]:
    read = (metrics.BYTES_READ, metrics.FILES_READ, metrics.BYTES_READ_AGAIN)
    return metrics.live(read[0]), metrics.live(read[1]), metrics.live(read[2])
