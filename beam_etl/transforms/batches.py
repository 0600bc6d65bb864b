"""The element of every PCollection: its coder, its bounds, and MapBatches, the operation that costs no shuffle."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam import coders
from apache_beam.coders import registry

from beam_etl import schema
from beam_etl.kernels.byte_size import byte_size
from beam_etl.kernels.compaction import compact
from beam_etl.kernels.halving import by_halves
from beam_etl.kernels.ipc import decode, encode
from beam_etl.kernels.mergeable import mergeable
from beam_etl.kernels.process import NotOfRowsError
from beam_etl.kernels.rejecting import reject_documents
from beam_etl.transforms.clock import Stopwatch, add_encoded
from beam_etl.transforms.metrics import StepMetrics

Batches: TypeAlias = beam.PCollection[pa.RecordBatch]
Kernel: TypeAlias = Callable[[pa.RecordBatch], pa.RecordBatch | Iterable[pa.RecordBatch] | None]
"""A pure function from a batch to a batch, to several, or to none."""

MAX_ROWS = 16_384
"""Rows of a batch: enough that the cost of a Python call (some 50 us) is nothing beside the rows."""

MAX_BYTES = 4 << 20
"""Bytes of a batch: smaller ones pay for calls, larger ones for memory that isn't in the cache (docs/design.md)."""

MAX_FAILING = 100
"""Rows of a batch that a kernel may fail on: with more it's the kernel that is wrong, and the job fails."""


class RecordBatchCoder(coders.Coder):
    """A RecordBatch as one Arrow IPC stream: a slice costs its own bytes, not its parent's.

    Equal batches can differ in padding and in bitmaps of no nulls, so it isn't deterministic: a batch is no key.
    """

    def encode(self, value: pa.RecordBatch) -> bytes:
        """The bytes of an IPC stream with one batch. About 8 us, and a copy."""
        watch = Stopwatch()
        encoded = encode(value)
        add_encoded(watch.stop())
        return encoded

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """The batch. Its columns are views of `encoded`."""
        return decode(encoded)

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Bytes, near enough for Beam's sampling, without encoding."""
        return byte_size(value)

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> type:
        return pa.RecordBatch

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


registry.register_coder(pa.RecordBatch, RecordBatchCoder)


class KernelError(RuntimeError):
    """A kernel failed. The message names the kernel, the file and the rows; Beam adds the step."""


@dataclass(eq=False, kw_only=True)
class MapBatches(beam.PTransform):
    """`kernel` over each batch. No shuffle.

    The kernel may return a batch, an iterable of batches (a generator is read as it goes), or None. Empty batches are
    dropped and large ones cut (see `split_batch`). Rows and bytes in and out and the time are counted under the step's
    name (see `metrics`).

    Raises:
      TypeError: the kernel is not callable.
      KernelError: while running, when the kernel raises.
    """

    kernel: Kernel = field(kw_only=False)

    def __post_init__(self) -> None:
        super().__init__()
        if not callable(self.kernel):
            raise TypeError(f"MapBatches needs a function from batch to batch, got {self.kernel!r}")

    def expand(self, batches: Batches) -> Batches:
        return batches | "Map" >> beam.ParDo(_Map(self.kernel)).with_output_types(pa.RecordBatch)


class _Map(beam.DoFn):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._metrics = StepMetrics()

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        self._metrics.took_in(batch)
        for out in self._metrics.timed(run_kernel(self._kernel, batch)):
            for bounded in split_batch(out):
                self._metrics.gave_out(bounded)
                yield bounded


def run_kernel(kernel: Kernel, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The kernel's batches, whatever form it returns them in; a failure becomes a KernelError that tells where.

    Raises:
      KernelError: the kernel failed.
      NotOfRowsError: it can't do its work, which is no matter of the batch.
    """
    try:
        result = kernel(batch)
        if result is None:
            return
        if isinstance(result, pa.RecordBatch):
            yield result
            return
        for out in result:
            if not isinstance(out, pa.RecordBatch):
                raise TypeError(
                    f"a kernel returns RecordBatch, an iterable of them or None, got {type(out).__name__}"
                )
            yield out
    except NotOfRowsError:
        raise
    except Exception as error:
        raise KernelError(
            f"{_name(kernel)} failed on {_place(batch)}: {type(error).__name__}: {error}"
        ) from error


def run_or_reject(
    kernel: Kernel, batch: pa.RecordBatch, stage: str
) -> tuple[list[pa.RecordBatch], pa.RecordBatch | None]:
    """What a kernel makes of documents, and the rejects of those that it fails on; None where there are none.

    Raises:
      KernelError: it fails on more than MAX_FAILING.
      NotOfRowsError: the kernel can't do its work, whatever the documents; they aren't rejected for that.
    """
    made: list[pa.RecordBatch] = []
    reasons: dict[int, str] = {}

    def run(start: int, stop: int) -> list[pa.RecordBatch]:
        return list(run_kernel(kernel, batch.slice(start, stop - start)))

    for start, _, result in by_halves(run, 0, batch.num_rows, (KernelError,)):
        if not isinstance(result, Exception):
            made += result
            continue
        cause = result.__cause__
        reasons[start] = f"{type(cause).__name__}: {cause}"
        if len(reasons) > MAX_FAILING:
            raise result
    return made, reject_documents(batch, reasons, stage) if reasons else None


def _name(kernel: Kernel) -> str:
    inner = getattr(kernel, "func", kernel)  # functools.partial
    return f"{getattr(inner, '__module__', '')}.{getattr(inner, '__qualname__', repr(inner))}".strip(".")


def _place(batch: pa.RecordBatch) -> str:
    """Where the rows come from, as far as the batch knows."""
    path = (batch.schema.metadata or {}).get(schema.FILE_METADATA, b"").decode("utf-8", "replace")
    rows = f"a batch of {batch.num_rows} rows and {batch.nbytes} bytes"
    if schema.ADDRESS in batch.schema.names and batch.num_rows:
        addresses = batch.column(schema.ADDRESS)
        first, last = (addresses[i].as_py() for i in (0, -1))
        source = path or f"file number {first >> schema.POSITION_BITS}"
        return f"{source}, positions {first & schema.MAX_POSITION} to {last & schema.MAX_POSITION} ({rows})"
    return f"{path}, {rows}" if path else rows


def split_batch(
    batch: pa.RecordBatch, rows: int = MAX_ROWS, size: int = MAX_BYTES
) -> Iterator[pa.RecordBatch]:
    """Slices of at most `rows` rows and `size` bytes each, in order; a single larger row is a slice of its own.

    Bytes are those of the slice's own rows: one that shares a larger dictionary or view buffer gets a copy of its part.
    """
    while batch.num_rows > rows:
        middle = min(rows, batch.num_rows // 2)
        yield from _halves(batch.slice(0, middle), size)
        batch = batch.slice(middle)
    yield from _halves(batch, size)


def tagged(tag: str, batches: Iterable[pa.RecordBatch]) -> Iterator[beam.pvalue.TaggedOutput]:
    """Batches for a DoFn's output `tag`, in the slices of `split_batch`."""
    for batch in batches:
        for part in split_batch(batch):
            yield beam.pvalue.TaggedOutput(tag, part)


def _halves(batch: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
    """The batch, cut in the middle until each part has at most `size` bytes or one row."""
    if byte_size(batch) > size:
        batch = compact(batch)
        if batch.num_rows > 1 and byte_size(batch) > size:
            middle = batch.num_rows // 2
            yield from _halves(batch.slice(0, middle), size)
            yield from _halves(batch.slice(middle), size)
            return
    if batch.num_rows:
        yield batch


def merge_batches(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """All rows in one batch, in order.

    The schema is the first batch's, without the file it came from and in types that Arrow can join and take rows from
    (see `mergeable`), the same for one batch as for many.

    Raises:
      TypeError: the batches' columns differ. The message names the first that does, and both types.
    """
    bare = _alike(batches)
    return bare[0] if len(bare) == 1 else pa.concat_batches(bare)


def join_batches(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """All rows, in order, as `merge_batches` gives them, each batch where it is: nothing is copied.

    Raises:
      TypeError: as `merge_batches`.
    """
    return pa.Table.from_batches(_alike(batches))


def _alike(batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches in the schema that `merge_batches` gives."""
    bare: list[pa.RecordBatch] = []
    found = joined = None
    for batch in batches:
        if found is None or batch.schema != found:
            found = batch.schema
            joined = mergeable(found)
        bare.append(batch.replace_schema_metadata(None) if found == joined else batch.cast(joined))
        if joined != bare[0].schema:
            raise TypeError(difference(bare[0].schema, joined))
    return bare


def difference(one: pa.Schema, other: pa.Schema) -> str:
    """The first column in which two schemas differ, in words."""
    described = [
        [
            f"{column.name!r} of type {column.type}{'' if column.nullable else ' not null'}"
            for column in columns
        ]
        for columns in (one, other)
    ]
    pairs = zip_longest(*described, fillvalue="none")
    here, there = next((pair for pair in pairs if pair[0] != pair[1]), (one, other))
    return f"batches have different columns: one has {here}, another {there}"
