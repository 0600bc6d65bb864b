"""Where the report of a run goes: some closing lines, JSON beside the manifest, and a page where one was asked for."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from beam_etl.engines.flink.rest import FlinkError
from beam_etl.io import manifest
from beam_etl.io.errors import one_line
from beam_etl.io.formats.warc import PASSED_OVER
from beam_etl.io.reject_reasons import reject_reasons
from beam_etl.io.run_reports import write_report
from beam_etl.observe.page import page
from beam_etl.observe.report import CLOSING, RunReport
from beam_etl.pipelines.config import RunConfig
from beam_etl.pipelines.run_report import (
    Clock,
    Counted,
    Drawn,
    counted_by_step,
    graph_of,
    sampled_by_step,
    shuffles_of,
    stages_of,
    workers_of,
)
from beam_etl.pipelines.runners import runner_name
from beam_etl.pipelines.shuffle_skews import shuffle_skews
from beam_etl.transforms.metrics import BYTES_READ, RECORDS_REJECTED, ROWS_READ


@dataclass(frozen=True)
class Ran:
    """A run that has ended, whether it has published or not."""

    job: str
    config: RunConfig
    input_bytes: int
    result: PipelineResult
    options: PipelineOptions


def tell_report(ran: Ran, drawn: Drawn, clock: Clock) -> None:
    """Prints and writes the report. The run is done: what goes wrong here is told, and changes nothing."""
    try:
        found = _report(ran, drawn, clock)
    except (FlinkError, manifest.DatasetError, OSError) as error:
        print(f"{ran.job}: no report of the run: {one_line(error)}", file=sys.stderr)
        return
    print(found.to_text())
    try:
        if found.number is not None and (
            path := write_report(found.output, found.number, found.run, found.to_json())
        ):
            print(f"report: {path}")
        if ran.config.report is not None:
            with open(ran.config.report, "w", encoding="utf-8") as file:
                file.write(page(found))
            print(f"page: {ran.config.report}")
    except OSError as error:
        print(f"{ran.job}: the report of the run can't be written: {one_line(error)}", file=sys.stderr)


def _report(ran: Ran, drawn: Drawn, clock: Clock) -> RunReport:
    config = ran.config
    published = manifest.latest(config.output)
    lineage = published.lineage if published else ()
    number = next((number for number, run in lineage if run == config.run), None)
    written = published.of_run(config.run) if published and number is not None else None
    found = ran.result.metrics()
    counted, workers = counted_by_step(found), workers_of(config.runner, ran.options)
    rejects = reject_reasons(config.output, written, config.run) if written else {}
    clock.mark(CLOSING)
    stages, around = stages_of(drawn, counted, sampled_by_step(ran.result), clock, workers)
    return RunReport(
        job=ran.job,
        run=config.run,
        output=config.output,
        number=number,
        runner=runner_name(config.runner),
        workers=workers,
        seconds=clock.total,
        around=around,
        stages=stages,
        shuffles=shuffles_of(drawn, counted, shuffle_skews(found)),
        input_bytes=ran.input_bytes,
        rows=_rows(counted),
        tables={name: written.rows(name) for name in written.schemas} if written else {},
        output_bytes=written.stored_bytes if written else 0,
        rejects=rejects,
        passed_over=_passed_over(counted),
        graph=graph_of(drawn, stages),
    )


def _passed_over(counted: Counted) -> Mapping[str, int]:
    """Records of archives that are no documents, by type, of the steps that read an input for the first time."""
    found = Counter[str]()
    for counters in counted.values():
        for name, count in counters.items() if BYTES_READ in counters else ():
            if name.startswith(PASSED_OVER):
                found[name.removeprefix(PASSED_OVER)] += count
    return dict(sorted(found.items()))


def _rows(counted: Counted) -> Mapping[str, int]:
    """Of reading; none where nothing was counted."""
    totals: dict[str, Any] = {
        name: sum(counters.get(name, 0) for counters in counted.values())
        for name in (ROWS_READ, RECORDS_REJECTED)
    }
    if not counted:
        return {}
    read, rejected = totals[ROWS_READ], totals[RECORDS_REJECTED]
    return {"started": read + rejected, "rejected": rejected, "read": read}
