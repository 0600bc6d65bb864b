"""`python -m beam_etl.pipelines.quantiles`: quantiles of columns, of everything or of groups."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beam_etl.io.file_source import FileSource
from beam_etl.kernels.aggregations import Aggregation, percent_name
from beam_etl.pipelines.aggregate import GroupConfig, aggregate, open_source
from beam_etl.pipelines.flags import flag
from beam_etl.pipelines.job import Job


@dataclass(frozen=True, kw_only=True)
class Config(GroupConfig):
    """What can be asked of the job."""

    quantile_columns: tuple[str, ...] = flag("columns whose quantiles to tell", name="columns")
    q: tuple[str, ...] = flag("quantiles, from 0 to 1", default=("0.5", "0.9", "0.99"))
    exact: bool = flag(
        "count every distinct value; else a quantile differs from the exact one by at most 0.4% of it",
        default=False,
    )

    @property
    def aggregations(self) -> tuple[Aggregation, ...]:
        try:
            functions = tuple(map(percent_name, self.q))
        except ValueError as error:
            raise ValueError(f"--q={','.join(self.q)}: {error}") from error
        return tuple(
            Aggregation(function, column) for column in self.quantile_columns for function in functions
        )


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables quantiles, a row a group, and rejects. One shuffle."""
    answers, rejects = aggregate(source, config, approximate=not config.exact)
    return {"quantiles": answers, "rejects": rejects}


JOB = Job(
    "quantiles",
    "Quantiles of columns, of everything or of groups.",
    Config,
    build,
    source=open_source,
)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
