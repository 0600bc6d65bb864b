"""The flags that every batch job has."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, FlinkRunnerOptions, PipelineOptions

from beam_etl import schema
from beam_etl.io import staging
from beam_etl.io.columns import Columns
from beam_etl.io.formats import FORMATS
from beam_etl.io.formats.base import LIMITS, MIN_EXPANDED_BYTES, SPLIT_BYTES, FileEntry, Limits
from beam_etl.io.judging import MAX_FRACTION
from beam_etl.io.stores.urls import mask
from beam_etl.io.times import UNITS
from beam_etl.io.write import FILE_BYTES
from beam_etl.kernels.where import Condition
from beam_etl.kernels.where_text import parse_where
from beam_etl.observe.cluster import Cluster, parse_cluster
from beam_etl.observe.cost import Assumptions, read_assumptions
from beam_etl.pipelines.flags import FILE, FOLDER, flag
from beam_etl.pipelines.runners import FLINK, IN_PROCESS, runner_name

_COLUMNS = tuple(name for name in schema.DOCUMENT.names if name != schema.ADDRESS)
_FORMATS = tuple(known.name for known in FORMATS)
MAX_NESTING = 200
"""Of --max_nesting: fastavro follows a schema on a thread's stack, a few KB for each level."""

TABLE_FORMATS = ("parquet", "avro", "jsonl")
"""Formats that hold any table."""


def check_apart(folders: Iterable[tuple[str, str]]) -> None:
    """Replacing a dataset deletes its folders: none may be, or lie in, another that the run writes or reads.

    Args:
      folders: flag and value.

    Raises:
      ValueError: two are not apart.
    """
    real = [(f"--{flag}={folder}", os.path.realpath(folder)) for flag, folder in folders]
    for (first, one), (second, other) in combinations(real, 2):
        if one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/"):
            raise ValueError(f"{first} and {second}: each needs a folder of its own, not in the other")


def check_page(page: str, folders: Iterable[str]) -> None:
    """Whether a page can be written when the run has ended.

    Raises:
      ValueError: there is no such folder, or it is a dataset's.
    """
    above = os.path.realpath(os.path.dirname(os.path.abspath(page)))
    if not os.path.isdir(above) or os.path.isdir(page):
        raise ValueError(f"--report={page}: a file in a folder that is there is needed")
    for folder in map(os.path.realpath, folders):
        if above == folder or above.startswith(f"{folder}/"):
            raise ValueError(f"--report={page} lies in the dataset {folder}: use another folder")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What can be asked of any job that writes a dataset. A job's Config adds its own flags."""

    input: tuple[str, ...] = flag("what to read, comma-separated", unit=FILE)
    output: str = flag("folder of the dataset to write", unit=FOLDER)
    overwrite: bool = flag("replace the dataset that is there", default=False)
    keep_versions: int = flag("with --overwrite, how many versions stay readable, the new one too", default=1)
    runner: str = flag("engine: direct, flink, dataflow, spark, or a name of Beam's", default="direct")
    plan: str | None = flag(
        "print steps, shuffles and the bytes that will cross, and stop",
        default=None,
        choices=("text", "json"),
        bare="text",
    )
    force: bool = flag(
        "run in process though more may cross shuffles than there is memory for", default=False
    )
    report: str | None = flag("write the report of the run as a page, too", default=None, unit=FILE)
    cluster: str | None = flag(
        "with --plan, add each shuffle's network time on nodes=100,nic=25Gbps,bisection=1.0", default=None
    )

    prices: str | None = flag(
        "with --plan and --runner=dataflow, JSON of assumptions to reckon the cost with, in place of the usual ones",
        default=None,
        unit=FILE,
    )

    run: str = field(init=False, default_factory=staging.new_run, compare=False)
    """The name of this run, which all that it writes has in common. Not a flag."""

    def __post_init__(self) -> None:
        if not self.input:
            raise ValueError("--input names no file, folder or glob")
        if self.append and self.overwrite:
            raise ValueError(
                "--append=true adds to a dataset and --overwrite=true replaces it: give one of them"
            )
        if self.keep_versions < 1:
            raise ValueError(f"--keep_versions must be at least 1, got {self.keep_versions}")
        if self.cluster is not None:
            parse_cluster(self.cluster)
        self.assumptions  # noqa: B018 - a file that can't be read is told at once
        if self.report is not None:
            check_page(self.report, self.folders)

    @property
    def append(self) -> bool:
        """Whether the tables are added to the dataset that is there. A job whose tables can be has a flag for it."""
        return False

    @property
    def output_format(self) -> str:
        """Of the tables written."""
        return "parquet"

    @property
    def file_bytes(self) -> int:
        """Size at which an output file is closed."""
        return FILE_BYTES

    @property
    def others(self) -> tuple[str, ...]:
        """What the job is given to read beside its input: paths, and lists with `@` before them."""
        return ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The datasets that the job publishes, in this order."""
        return (self.output,)

    @property
    def after_another(self) -> str:
        """What to do where another job was published in place of this one."""
        return "Run again with --overwrite=true to replace it."

    @property
    def described_cluster(self) -> Cluster | None:
        """The cluster of --cluster."""
        return parse_cluster(self.cluster) if self.cluster else None

    @property
    def assumptions(self) -> Assumptions:
        """What the cost on Dataflow is reckoned with."""
        return read_assumptions(self.prices) if self.prices else Assumptions()

    def to_json(self) -> dict[str, Any]:
        """The configuration for the manifest."""
        told = {name: value for name, value in asdict(self).items() if name != "run"}
        return {name: _masked(value) for name, value in told.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_masked, value))
    return mask(value) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class RejectConfig(RunConfig):
    """What can be asked of a job whose tables have rejects."""

    strict: bool = flag("publish nothing where anything is rejected; the exit code is 3 then", default=False)
    max_reject_fraction: float = flag(
        "publish nothing where more of the bytes read are rejected, 0 to 1; the exit code is 3 then",
        default=MAX_FRACTION,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.max_reject_fraction <= 1:
            raise ValueError(
                f"--max_reject_fraction is between 0 and 1 (0.05 is 5%), got {self.max_reject_fraction}"
            )


@dataclass(frozen=True, kw_only=True)
class JobConfig(RejectConfig):
    """What can be asked of a job that reads documents as well."""

    input: tuple[str, ...] = flag("files, folders, globs or @list.txt to read, comma-separated", unit=FILE)
    format: str | None = flag(
        "format of the input, where its names don't tell", default=None, choices=_FORMATS
    )
    output_format: str = flag("format of the tables written", default="parquet", choices=TABLE_FORMATS)
    file_bytes: int = flag("size at which an output file is closed", default=FILE_BYTES, unit="bytes")
    id_column: str | None = flag("the input's column that is read as id", default=None)
    url_column: str | None = flag("the input's column that is read as url", default=None)
    domain_column: str | None = flag("the input's column that is read as domain", default=None)
    language_column: str | None = flag("the input's column that is read as language", default=None)
    date_column: str | None = flag("the input's column that is read as date", default=None)
    time_column: str | None = flag("the input's column that is read as time", default=None)
    time_unit: str | None = flag(
        "what numbers in the time's column count since 1970 in UTC", default=None, choices=tuple(UNITS)
    )
    text_column: str | None = flag("the input's column that is read as text", default=None)
    where: str | None = flag(
        "read the rows of which this is true, such as \"date >= 2026-01-01 and domain = 'a.example'\"; what partitions "
        "and row groups tell spares reading the others",
        default=None,
    )
    max_record_bytes: int = flag(
        "a larger record or text is a reject", default=LIMITS.record_bytes, unit="bytes"
    )
    max_expansion: int = flag(
        f"what expands to more times its bytes, and to over {MIN_EXPANDED_BYTES >> 20} MiB, is rejected",
        default=LIMITS.expansion,
    )
    max_nesting: int = flag("an Avro schema that nests deeper is rejected", default=LIMITS.nesting)
    max_record_seconds: int = flag(
        "a record that takes more CPU time to read, or ends the process that reads it, is a reject",
        default=LIMITS.record_seconds,
        unit="seconds",
    )
    private_suffixes: bool = flag(
        "where the domain is derived from a url, sites under github.io and the like have a domain each",
        default=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("file_bytes", "max_record_bytes", "max_expansion", "max_nesting", "max_record_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.max_nesting > MAX_NESTING:
            raise ValueError(
                f"--max_nesting is at most {MAX_NESTING}: deeper ones would end the process, got {self.max_nesting}"
            )
        self.condition  # noqa: B018 - a condition that can't be read is told at once

    @property
    def limits(self) -> Limits:
        """What is beyond is rejected."""
        return Limits(self.max_record_bytes, self.max_expansion, self.max_nesting, self.max_record_seconds)

    @property
    def condition(self) -> Condition | None:
        """What --where says."""
        return None if self.where is None else parse_where(self.where)

    @property
    def columns(self) -> Columns:
        """What the job reads. A job's Config says which columns it needs."""
        raise NotImplementedError

    def read_as(
        self, needed: Iterable[str], carry: tuple[str, ...] | str = (), optional: tuple[str, ...] = ()
    ) -> Columns:
        """What to read: these columns, from where the user said; those that aren't shared ones are carried along."""
        wanted = tuple(dict.fromkeys(needed))
        shared = tuple(name for name in wanted if name in _COLUMNS)
        others = tuple(name for name in wanted if name not in _COLUMNS)
        named = {name: getattr(self, f"{name}_column") for name in _COLUMNS}
        optional = tuple(name for name in optional if name not in wanted)
        return Columns(
            needed=shared,
            optional=optional,
            carry=carry or others,
            private_suffixes=self.private_suffixes,
            where=self.condition,
            time_unit=self.time_unit,
            limits=self.limits,
            **named,
        )

    def bundles(self, files: Sequence[FileEntry], options: PipelineOptions) -> int:
        """Bundles that the engine makes of these files: one a worker in process, one a task on Flink, else one a split.

        On Flink the parallelism has to be given: without it, which only a plan can be, it is one a split as well.
        """
        splits = max(1, len(files), math.ceil(sum(file.bytes for file in files) / SPLIT_BYTES))
        workers = {
            IN_PROCESS: options.view_as(DirectOptions).direct_num_workers,
            FLINK: options.view_as(FlinkRunnerOptions).parallelism,
        }.get(runner_name(self.runner), 0)
        return min(workers, splits) if workers > 0 else splits
