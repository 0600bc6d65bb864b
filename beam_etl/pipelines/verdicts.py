"""What speaks against publishing a job's tables because of its rejects, and the exit code of that."""

from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam

from beam_etl.io.judging import TOO_MANY, JudgeRejects
from beam_etl.io.write import FAILURES
from beam_etl.pipelines.config import RejectConfig
from beam_etl.pipelines.execution import FAILED

REJECTED = 3
"""Exit code of a job whose tables aren't published since there are too many rejects."""

REJECTS_TABLE = "rejects"


def judged(tables: Mapping[str, Any], input_bytes: int, config: Any) -> dict[str, Any]:
    """The tables of a job, where its rejects may be a reason against publishing them.

    Args:
      tables: as a job's `build` gives them.
      input_bytes: stored bytes of all that is read.
      config: of the job. One that is no RejectConfig has no rejects.
    """
    if not isinstance(config, RejectConfig) or REJECTS_TABLE not in tables:
        return dict(tables)
    judge = JudgeRejects(
        input_bytes=input_bytes, max_fraction=config.max_reject_fraction, strict=config.strict
    )
    reasons = tables[REJECTS_TABLE] | "Judge rejects" >> judge
    known = [tables[FAILURES]] if FAILURES in tables else []
    return {**tables, FAILURES: [*known, reasons] | "All reasons" >> beam.Flatten()}


def exit_code(reasons: Iterable[str]) -> int:
    """Of a run that wasn't published, and why."""
    told = list(reasons)
    return REJECTED if told and all(reason.startswith(TOO_MANY) for reason in told) else FAILED
