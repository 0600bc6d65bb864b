"""Datasets of signatures: what a run keeps of its documents, so that later runs find new documents that match them.

Two tables, one Parquet file a partition: `buckets`, by hash of the bucket, and `signatures`, by hash of the document.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache, partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.io import manifest, staging
from beam_etl.io.access import open_file
from beam_etl.io.commit import PUBLISHED
from beam_etl.io.data_files import Finished, OpenFile
from beam_etl.io.errors import InputError
from beam_etl.io.formats import format_named
from beam_etl.io.write import FAILURES, WriteDataset
from beam_etl.kernels.partition import hash_partition, plan_partitions
from beam_etl.kernels.partitioning import hashed
from beam_etl.kernels.unicode_table import UNICODE_VERSION
from beam_etl.transforms.batches import MAX_ROWS, Batches, MapBatches
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import KEY_LIMIT, Partition, Shuffle

BUCKETS, SIGNATURES = "buckets", "signatures"
"""Names of the tables."""

KEYS = {BUCKETS: "bucket", SIGNATURES: schema.NUMBER}
"""The column by whose hash each table is partitioned and sorted."""

_ORDER = {table: tuple(dict.fromkeys((key, schema.NUMBER))) for table, key in KEYS.items()}

ABOUT = "signatures"
"""Where a manifest has the parameters."""

VERSION = 1
"""Of how they are stored, and of how buckets and low bytes are computed."""

MAX_PARTITIONS = 1 << 20
"""As many files of a table as a run reads."""

MAIN_FAILED = "the documents were not published, so neither are their signatures"


@dataclass(frozen=True, kw_only=True)
class SignatureParameters:
    """What two runs must have in common for their signatures to be compared."""

    ngram: int
    bands: int
    rows: int
    num_perm: int
    seed: int
    low_bits: int = 0
    """Of each minimum, kept to verify candidates by; 0 for none. More than a later run needs do no harm."""
    within: str | None = None
    scheme: str = "affine32"
    """Of datasketch's permutations."""
    tokenizer: str = "words"
    unicode: str = UNICODE_VERSION
    """The version of Unicode that tells what a word is."""

    def schema_of(self, table: str) -> pa.Schema:
        """The columns of a table."""
        if table == BUCKETS:
            return schema.SIGNATURE_BUCKET
        low = [pa.field("low", pa.binary(self.num_perm * self.low_bits // 8))] if self.low_bits else []
        return pa.schema([*schema.SIGNATURE, *low])


_FLAGS = {"ngram": "ngram", "bands": "bands", "rows": "band_rows", "seed": "seed", "within": "within"}
"""Parameters that a user sets, and by which flag."""


def signature_partitions(expected_bytes: int | None) -> int:
    """Partitions of a table of an expected size: a power of two, so that datasets of other numbers go together.

    Each is held whole while it is sorted, and crosses as one key: about KEY_LIMIT / 8 to KEY_LIMIT / 4, more from
    MAX_PARTITIONS on. Where the size is unknown, as many as a Shuffle takes.
    """
    wanted = plan_partitions(expected_bytes, KEY_LIMIT).partitions
    return min(1 << (wanted - 1).bit_length(), MAX_PARTITIONS)


@dataclass(eq=False, kw_only=True)
class WriteSignatures(beam.PTransform):
    """Writes a dataset of signatures, and publishes it after that of the documents. Two shuffles: a table each.

    Input: a dict of the batches `buckets` (schema.SIGNATURE_BUCKET) and `signatures` (`parameters.schema_of`), in any
    order, with further columns or without. Output: one element, the verdict, as of WriteDataset.

    Signatures of documents that were never kept would make later runs remove what is nowhere: so the commit waits for
    `after`. A crash between both commits leaves documents without signatures, which the launcher tells.

    Args:
      output, overwrite, about, run: as of WriteDataset.
      parameters: of the signatures.
      after: the verdict of the documents' WriteDataset.
      expected_bytes: of each table, for `signature_partitions` and the plan.
      partitions: how many of each table, a power of two; None computes them.

    Raises:
      ValueError: partitions are no power of two.
      DatasetError: when the pipeline is made, as of WriteDataset.
    """

    output: str
    parameters: SignatureParameters
    after: beam.PCollection[str]
    overwrite: bool = False
    expected_bytes: Mapping[str, int] = field(default_factory=dict)
    partitions: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    run: str = field(default_factory=staging.new_run)

    def __post_init__(self) -> None:
        super().__init__()
        if self.partitions is None:
            self.partitions = max(signature_partitions(self.expected_bytes.get(table)) for table in KEYS)
        _check_power(self.partitions)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for a dict of PCollections
    def expand(self, tables: Mapping[str, Batches]) -> beam.PCollection[str]:
        written: dict[str, Any] = {table: self._write(tables[table], table) for table in KEYS}
        written[FAILURES] = self.after | "After" >> beam.FlatMap(_reasons).with_output_types(str)
        parameters = {"version": VERSION, **asdict(self.parameters), "partitions": self.partitions}
        return written | "Dataset" >> WriteDataset(
            output=self.output,
            overwrite=self.overwrite,
            about={**self.about, ABOUT: parameters},
            run=self.run,
            partitioning={
                table: hashed((key,), self.partitions or 1, _ORDER[table]).to_json()
                for table, key in KEYS.items()
            },
        )

    def _write(self, batches: Batches, table: str) -> beam.PCollection[Finished]:
        columns, key = self.parameters.schema_of(table), KEYS[table]
        shuffle = Shuffle(
            by=(key,),
            partitions=self.partitions,
            expected_bytes=self.expected_bytes.get(table),
            order_by=_ORDER[table],
        )
        write = beam.ParDo(_WritePartition(self.output, self.run, table, columns))
        return (
            batches
            | f"Columns of {table}" >> MapBatches(partial(_select, columns=columns))
            | f"Partition {table}" >> shuffle
            | f"Write {table}" >> write.with_output_types(Finished)
        )


def _check_power(partitions: int) -> None:
    if partitions < 1 or partitions & (partitions - 1):
        raise ValueError(f"signatures need a power of two as the number of partitions, got {partitions}")


def _reasons(verdict: str) -> list[str]:
    return [] if verdict == PUBLISHED else [MAIN_FAILED]


def _select(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    return batch.select(columns.names).cast(columns)


class _WritePartition(beam.DoFn):
    """Writes each partition into one file that has its number."""

    def __init__(self, output: str, run: str, table: str, columns: pa.Schema) -> None:
        self._output = output
        self._run = run
        self._table = table
        self._columns = columns
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._attempt = staging.new_attempt()

    def process(self, partition: Partition) -> Iterator[Finished]:
        with self._metrics.timing():
            finished = self._write(*partition)
        yield finished

    def _write(self, number: int, batches: Iterable[pa.RecordBatch]) -> Finished:
        parquet = format_named("parquet")
        name = staging.file_name(number, self._run, self._attempt, parquet.suffix)
        writer = partial(parquet.writer, columns=self._columns)
        file = OpenFile(self._output, self._run, f"{self._table}/{name}", self._columns, writer)
        rows = 0
        for batch in batches:
            self._metrics.took_in(batch)
            file.writer.write(batch)
            rows += batch.num_rows
        self._metrics.add("files_out", 1)
        return file.close(rows)


@dataclass(frozen=True)
class EarlierSignatures:
    """A dataset of signatures that is there. Small and picklable: workers look into its manifest themselves."""

    folder: str
    number: int
    """Of its manifest."""
    run: str
    """That made it."""
    partitions: int
    rows: Mapping[str, int]
    """Of each table."""
    bytes: Mapping[str, int]
    """Stored, of each table."""
    low_bits: int

    def read(
        self, table: str, partition: int, partitions: int, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one partition, if there were `partitions` of them. Each file's are sorted by the key.

        Args:
          table: BUCKETS or SIGNATURES.
          partition: below `partitions`.
          partitions: any power of two. As KEYS are hashed modulo it, more than there are files read files in part,
            fewer read several.
          columns: those wanted; None for all.

        Raises:
          ValueError: a partition that can't be.
          DatasetError: the dataset was replaced since it was opened.
        """
        _check_power(partitions)
        if not 0 <= partition < partitions:
            raise ValueError(f"no partition {partition} of {partitions}")
        key, cut = KEYS[table], partitions > self.partitions
        step = min(partitions, self.partitions)
        files = _files(self.folder, self.number, self.run, table)
        for number in range(partition % step, self.partitions, step):
            for batch in _read(files[number], key, columns) if number in files else ():
                mine = _of_partition(batch, key, partition, partitions) if cut else batch
                if mine.num_rows:
                    yield mine if columns is None else mine.select(columns)


@lru_cache(maxsize=64)
def _files(folder: str, number: int, run: str, table: str) -> dict[int, str]:
    """The file of each partition that has rows."""
    try:
        found = manifest.Manifest.read(manifest.manifest_path(folder, number))
    except FileNotFoundError:
        found = None
    if found is None or found.run != run:
        raise manifest.DatasetError(f"{folder}: the dataset was replaced after this run began to read it")
    return {_partition(file.path): f"{folder.rstrip('/')}/{file.path}" for file in found.table(table)}


def _of_partition(batch: pa.RecordBatch, key: str, partition: int, partitions: int) -> pa.RecordBatch:
    return batch.filter(pa.array(hash_partition(batch, (key,), partitions) == partition))


def _partition(path: str) -> int:
    return int(path.rpartition("/")[2].split("-")[1])


def _read(path: str, key: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    names = None if columns is None else list(dict.fromkeys((key, *columns)))
    with open_file(path) as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
        yield from file.iter_batches(MAX_ROWS, columns=names)


def open_signatures(folders: Sequence[str], expected: SignatureParameters) -> list[EarlierSignatures]:
    """Datasets that `--write_signatures` wrote, when this run's signatures can be compared with theirs.

    Args:
      folders: of the datasets.
      expected: this run's parameters.

    Raises:
      InputError: a folder isn't such a dataset, or its parameters differ: the message names them, both values, and
        what to set.
      DatasetError: a manifest is damaged.
    """
    return [_open(folder, expected) for folder in folders]


def _open(folder: str, expected: SignatureParameters) -> EarlierSignatures:
    found = manifest.latest(folder)
    if found is None or ABOUT not in found.about:
        what = (
            "no dataset" if found is None else f"a dataset of {', '.join(found.schemas)}, without signatures"
        )
        raise InputError(f"{folder}: {what}. --against takes folders that --write_signatures wrote.")
    stored = found.about[ABOUT]
    if stored["version"] != VERSION:
        raise InputError(
            f"{folder}: signatures of version {stored['version']}, this code has {VERSION}. Write them anew."
        )
    names = [item.name for item in fields(expected)]
    differences = [
        _difference(name, stored.get(name), getattr(expected, name))
        for name in names
        if _differs(name, stored.get(name), getattr(expected, name))
    ]
    if differences:
        raise InputError(
            f"{folder}: its signatures can't be compared with this run's: {'; '.join(differences)}"
        )
    return EarlierSignatures(
        folder,
        found.number,
        found.run,
        stored["partitions"],
        {table: found.rows(table) for table in KEYS},
        {table: sum(file.bytes for file in found.table(table)) for table in KEYS},
        stored["low_bits"],
    )


def _differs(name: str, theirs: Any, ours: Any) -> bool:
    return ours not in (0, theirs) if name == "low_bits" else ours != theirs


def _difference(name: str, theirs: Any, ours: Any) -> str:
    if name == "low_bits":
        return (
            f"they have {theirs} bits to verify candidates by, this run needs {ours}. Leave out --threshold, or write "
            f"them anew with it"
        )
    if name in _FLAGS:
        flag = _FLAGS[name]
        remedy = f"Use --{flag}={theirs}" if theirs is not None else f"Leave out --{flag}"
    elif name == "num_perm":
        remedy = "It follows from --bands and --band_rows"
    else:
        remedy = "Write them anew with this version"
    return f"{name} is {theirs} there, {ours} here. {remedy}"
