"""WriteDataset: batches to files of tables, and the commit that makes them a dataset."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import EllipsisType
from typing import Any, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.typehints.decorators import no_annotations
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl.io import manifest, staging
from beam_etl.io.append import misfits
from beam_etl.io.commit import PUBLISHED, settle
from beam_etl.io.data_files import Finished, OpenFile, pack_finished, stored_rows, unpack_finished
from beam_etl.io.errors import one_line
from beam_etl.io.formats import Format, format_named
from beam_etl.io.stores import is_local, is_object, store_of
from beam_etl.io.stores.urls import mask
from beam_etl.io.strangers import find_strangers
from beam_etl.io.transient import patiently
from beam_etl.io.write_partitioned import WritePartitioned
from beam_etl.kernels.partitioning import Partitioning
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.metrics import BYTES_OUT, NAMESPACE, ROWS_OUT, UNPUBLISHED, StepMetrics
from beam_etl.transforms.shuffle import Gather

FILE_BYTES = 512 << 20
"""A file is closed when it has this many bytes: large enough to list and open few, small enough to split and retry."""

FAILURES = "_failures"
"""Instead of a table's name: a PCollection of reasons, as text, for which nothing may be published."""

FINDINGS = "_findings"
"""Instead of a table's name: a PCollection of dicts, what the job found out, which the manifest tells with `about`."""

PARTITIONED = "_partitioned"
"""Instead of a table's name: a PCollection of dicts, table to JSON of its Partitioning, where that shows in the run."""

Table: TypeAlias = (
    Batches | beam.PCollection[Finished] | beam.PCollection[str] | beam.PCollection[dict[str, Any]]
)
"""Batches, or files of the same run that are written already, or what FAILURES, FINDINGS or PARTITIONED names."""


@dataclass(eq=False, kw_only=True)
class WriteDataset(beam.PTransform):
    """Writes named tables as one dataset, published in one atomic step. No shuffle, but for tables of `partition`.

    Input: a dict of table name to Table. Output: one element, the verdict: see `commit`.
    Files have unique names, `table/part-PPPPP-RUN-ATTEMPT.ext`, and are written under `_staging/RUN` first, but in an
    object store, which shows whole files only. Which
    attempt's files count is decided behind a grouping, so those of a bundle that was tried again never do. One step
    moves them into place and publishes them, whatever attempts at it there are (see `commit`). The column `address` is
    left out: it means something inside one run only.

    Args:
      output: folder of the dataset, on a local or mounted filesystem, or in an object store (s3://, gs://).
      overwrite: replace the dataset that is there; its files are deleted after the commit.
      append: add to the dataset that is there, or make it. What is there isn't touched. Columns, format and
        partitioning of a table must be those that it has; others may add to it at the same time (see `append`).
      format: parquet, avro, jsonl or text.
      file_bytes: close a file at this many bytes.
      keep_versions: with `overwrite`, how many versions stay readable, this one among them.
      about: what the manifest tells of the job; must be JSON.
      partitioning: what it tells of tables whose files are partitioned already: JSON of a Partitioning.
      partition: how tables of batches are to be partitioned. See WritePartitioned: one shuffle each.
      base: of `check_output`, where that was asked before; not given, it is asked when the pipeline is made.

    Raises:
      DatasetError: when the pipeline is made: a dataset is there and `overwrite` isn't set, the folder holds something
        else, or the filesystem can't commit; or the dataset can't be added to.
    """

    output: str
    overwrite: bool = False
    append: bool = False
    keep_versions: int = 1
    format: str = "parquet"
    file_bytes: int = FILE_BYTES
    about: Mapping[str, Any] = field(default_factory=dict)
    run: str = field(default_factory=staging.new_run)
    partitioning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    partition: Mapping[str, Partitioning] = field(default_factory=dict)
    base: manifest.Manifest | EllipsisType | None = ...

    def __post_init__(self) -> None:
        super().__init__()
        if self.file_bytes < 1:
            raise ValueError(f"file_bytes must be at least 1, got {self.file_bytes}")
        if self.append and self.overwrite:
            raise ValueError("a run either adds to a dataset or replaces it: append or overwrite, not both")
        if self.keep_versions < 1:
            raise ValueError(f"keep_versions must be at least 1, got {self.keep_versions}")
        self._format = format_named(self.format)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for a dict of PCollections
    def expand(self, tables: Mapping[str, Table]) -> beam.PCollection[str]:
        base = self.base
        if isinstance(base, EllipsisType):
            base = check_output(self.output, self.overwrite or self.append)
        tables = self._partitioned(tables)
        names = tuple(sorted(name for name in tables if name not in _TOLD))
        made = self._manifest(base, names)
        if self.append and base:
            known = replace(made, partitioning=base.partitioning) if PARTITIONED in tables else made
            _refuse_misfits(self.output, base, known, self._format)
        run = _Run(self.output, made, self.file_bytes)
        written = [self._files(tables[name], name, run) for name in names]
        told: dict[str, Any] = {
            argument: beam.pvalue.AsSingleton(tables[name] | f"Gather {argument}" >> Gather())
            for name, argument in _TOLD.items()
            if name in tables
        }
        return (
            written
            | "Files" >> beam.Flatten()
            | "Pack" >> beam.ParDo(_Pack()).with_output_types(bytes)
            | "Gather" >> Gather()
            | "Commit" >> beam.Map(_commit, run=run, **told)
        )

    def _partitioned(self, tables: Mapping[str, Table]) -> dict[str, Table]:
        """The tables, where those of `partition` are files, and what is told of them."""
        made = dict(tables)
        for name, partitioning in self.partition.items():
            written = _in_one_window(made[name], name) | f"Partition {name}" >> WritePartitioned(
                partitioning=partitioning,
                output=self.output,
                run=self.run,
                table=name,
                format=self.format,
                file_bytes=self.file_bytes,
                append=self.append,
            )
            made[name] = written.files
            for kind, more in ((FAILURES, written.failures), (PARTITIONED, written.partitioned)):
                known = [made[kind]] if kind in made else []
                made[kind] = [*known, more] | f"{kind} of {name}" >> beam.Flatten()
        return made

    def _manifest(self, base: manifest.Manifest | None, tables: Sequence[str]) -> manifest.Manifest:
        """What the run will publish, without its files."""
        there = (base.number, base.run) if base else None
        return manifest.Manifest(
            number=base.number + 1 if base else 1,
            run=self.run,
            files=(),
            schemas={name: {} for name in tables},
            about=self.about,
            partitioning=self.partitioning,
            appended=((there,) if there else ()) if self.append else None,
            replaced=None if self.append else there,
            keep_versions=self.keep_versions,
        )

    def _files(self, table: Table, name: str, run: "_Run") -> beam.PCollection[Finished]:
        if table.element_type == _WRITTEN:
            return table
        writing = beam.ParDo(_WriteFiles(run, name, self._format)).with_output_types(Finished)
        return _in_one_window(table, name) | f"Write {name}" >> writing


_TOLD = {FAILURES: "failures", FINDINGS: "findings", PARTITIONED: "partitioned"}
"""What isn't a table, and the argument of `_commit` that it is."""

_WRITTEN = convert_to_beam_type(Finished)


def _in_one_window(batches: Batches, name: str) -> Batches:
    """A dataset of a batch job is one commit, whatever the windows of its rows."""
    if batches.windowing.is_default():
        return batches
    return batches | f"All windows of {name}" >> beam.WindowInto(GlobalWindows())


@dataclass(frozen=True)
class _Run:
    """What every step of writing knows of the run."""

    output: str
    made: manifest.Manifest
    """Without files."""
    file_bytes: int

    @property
    def run(self) -> str:
        """Its name."""
        return self.made.run


def _refuse_misfits(output: str, base: manifest.Manifest, made: manifest.Manifest, format_: Format) -> None:
    """What is known before the job of what can't be added."""
    named = [manifest.DataFile(table, f"{table}/name{format_.suffix}", 0, 0, "") for table in made.schemas]
    if reasons := list(misfits(base, replace(made, files=tuple(named)))):
        raise manifest.DatasetError(f"{output}: {'; '.join(reasons)}")


def check_output(output: str, present: bool) -> manifest.Manifest | None:
    """The dataset that is there; None for a new one.

    Args:
      output: its folder.
      present: whether one may be there.

    Raises:
      DatasetError: see WriteDataset.
    """
    if not (is_local(output) or is_object(output)):
        raise manifest.DatasetError(
            f"{mask(output)}: datasets are published on local or mounted filesystems, on s3:// and on gs://; "
            f"write to one of these and copy the folder as it is"
        )
    store = store_of(output)
    try:
        current = manifest.latest(output)
    except OSError as error:
        raise manifest.DatasetError(f"{output} can't be looked into: {one_line(error)}") from error
    if current is not None and not present:
        raise manifest.DatasetError(
            f"{output} is a dataset already (manifest {current.number}, {len(current.files)} files). "
            f"Use --overwrite=true to replace it, or another --output."
        )
    if not store.has_folders or os.path.exists(output):
        _refuse_strangers(output)
    if reason := store.refusal(output):
        raise manifest.DatasetError(f"{output} can't be published: {reason}")
    return current


def _refuse_strangers(output: str) -> None:
    """Only a dataset, or what an unfinished run left behind, is written into."""
    if is_local(output) and not os.path.isdir(output):
        raise manifest.DatasetError(f"{output} is a file; a dataset needs a folder. Use another --output.")
    if strangers := find_strangers(output):
        raise manifest.DatasetError(
            f"{output} holds something that is no dataset ({', '.join(strangers[:3])}). Use another --output."
        )


class _WriteFiles(beam.DoFn):
    """Writes a bundle's batches of one table into files of bounded size."""

    def __init__(self, run: _Run, table: str, format_: Format) -> None:
        self._run = run
        self._table = table
        self._format = format_
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._attempt = staging.new_attempt()
        self._parts = 0
        self._file: OpenFile | None = None

    def process(self, batch: pa.RecordBatch) -> Iterator[Finished]:
        with self._metrics.timing():
            finished = self._write(stored_rows(batch))
        if finished is not None:
            yield finished

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._file is not None:
            with self._metrics.timing():
                finished = self._close(self._file)
            yield WindowedValue(finished, MIN_TIMESTAMP, (GlobalWindow(),))

    def _write(self, batch: pa.RecordBatch) -> Finished | None:
        """The file, where it has become large enough."""
        self._metrics.took_in(batch)
        if self._file is None:
            self._open(batch.schema)
        assert self._file is not None
        self._file.writer.write(batch)
        self._rows += batch.num_rows
        return self._close(self._file) if self._file.size >= self._run.file_bytes else None

    def _open(self, columns: pa.Schema) -> None:
        name = staging.file_name(self._parts, self._run.run, self._attempt, self._format.suffix)
        self._parts += 1
        self._rows = 0
        writer = partial(self._format.writer, columns=columns)
        path, append = f"{self._table}/{name}", self._run.made.appended is not None
        self._file = OpenFile(self._run.output, self._run.run, path, columns, writer, append)

    def _close(self, file: OpenFile) -> Finished:
        self._file = None
        finished = file.close(self._rows)
        self._metrics.add("files_out", 1)
        self._metrics.add(ROWS_OUT, finished[0].rows)
        self._metrics.add(BYTES_OUT, finished[0].bytes)
        return finished


class _Pack(beam.DoFn):
    """The files of a bundle as one element: what is gathered is one record, in which an engine takes some 32 MiB."""

    def start_bundle(self) -> None:
        self._finished: list[Finished] = []

    def process(self, finished: Finished) -> None:
        self._finished.append(finished)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._finished:
            yield WindowedValue(pack_finished(self._finished), MIN_TIMESTAMP, (GlobalWindow(),))


def _commit(
    packed: list[bytes],
    run: _Run,
    failures: Sequence[str] = (),
    findings: Sequence[Mapping[str, Any]] = (),
    partitioned: Sequence[Mapping[str, Mapping[str, Any]]] = (),
) -> str:
    finished = sorted(unpack_finished(packed), key=lambda pair: pair[0].path)
    schemas: dict[str, dict[str, str]] = {table: {} for table in run.made.schemas}
    for file, columns in finished:
        schemas[file.table].update(columns)
    files = tuple(file for file, _ in finished)
    about = {**run.made.about, **{name: value for found in findings for name, value in found.items()}}
    shown = {name: told for found in partitioned for name, told in found.items()}
    made = replace(
        run.made, files=files, schemas=schemas, about=about, partitioning={**run.made.partitioning, **shown}
    )
    with StepMetrics().timing():
        verdict = patiently(lambda: settle(run.output, made, failures))
    Metrics.counter(NAMESPACE, UNPUBLISHED).inc(verdict != PUBLISHED)
    return verdict
