"""The paid operation: rows meet across partitions. The only module that groups rows by key."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import registry
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.kernels.partition import (
    SLICE_BYTES,
    Numbers,
    PartitionPlan,
    group_keys,
    hash_partition,
    plan_partitions,
)
from beam_etl.transforms.attached import keys_of, pack_element, unpack_element
from beam_etl.transforms.batches import MAX_BYTES, MAX_ROWS, Batches, merge_batches, split_batch
from beam_etl.transforms.partition_sizes import SIZES, MeasurePartitions
from beam_etl.transforms.slices import CutSlices, Slice
from beam_etl.transforms.windows import accumulates

Partition = tuple[int, Iterable[pa.RecordBatch]]
"""A partition's number and its batches, read as they are iterated, in no order."""

KEY_LIMIT = 32 << 20
"""Bytes of one key that every engine holds: Flink's limit, the smallest (docs/engines.md)."""

Element = TypeVar("Element")


@dataclass(eq=False, kw_only=True)
class Shuffle(beam.PTransform):
    """Rows with equal `by` columns meet in one partition. One shuffle; two hops of it where slices would be tiny.

    Input: batches. Output: (partition number, its batches), one element a partition that has rows; of a stream one for
    each pane of it, in one hop where panes accumulate. The batches are decoded while they are iterated. A bundle
    gathers rows up to GATHER_BYTES and sends one slice a partition, each at most SLICE_BYTES encoded; windows stay, and
    a slice carries the smallest timestamp of its rows. Rows of two kinds meet when their PCollections are flattened
    before: batches of other columns travel apart, a partition has both.

    Args:
      by: key columns. None at all brings every row to one partition.
      partitions: how many; None computes them from `expected_bytes`.
      expected_bytes: bytes that will cross, estimated. Decides partitions and hops, and stands in the plan.
      order_by: columns to sort a partition's rows by, ascending, nulls last; rows that are equal in them all are in no
        order. The partition is then held whole.
      key_limit: bytes that the engine holds for one key.
      measured: whether the sizes of partitions are told (docs/skew.md); not where what crosses only stands for rows.
      if_needed: rows cross only where it turns out while running that they must. Stands in the plan.

    Raises:
      ValueError: partitions or sizes out of range.
    """

    carries_rows: ClassVar[bool] = True  # what `beam_etl.plan` counts as a shuffle

    by: tuple[str, ...]
    partitions: int | None = None
    expected_bytes: int | None = None
    order_by: tuple[str, ...] = ()
    key_limit: int = KEY_LIMIT
    measured: bool = True
    if_needed: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.plan = plan_partitions(self.expected_bytes, self.key_limit, self.partitions)

    def expand(self, batches: Batches) -> beam.PCollection[Partition]:
        if accumulates(batches):
            self.plan = self.plan.in_one_hop()
        number = partial(hash_partition, by=self.by, partitions=self.plan.partitions)
        parts = (
            _first_hop(batches, number, self.plan)
            | "Cut" >> beam.ParDo(CutSlices(number)).with_output_types(Slice)
            | "To partitions" >> beam.GroupByKey()
        )
        if self.measured:
            parts |= _measure(self.by, self.plan.partitions)
        if not self.order_by:
            return parts
        return parts | "Sort" >> beam.Map(_sorted, by=self.order_by).with_output_types(Partition)


@dataclass(eq=False, kw_only=True)
class Rebalance(beam.PTransform):
    """Spreads batches over `partitions` by the address of their first row: one file feeds all workers. One shuffle.

    Input: batches with an address column. Output: the same batches, in no order.

    Raises:
      ValueError: partitions below 1.
    """

    carries_rows: ClassVar[bool] = True
    by: ClassVar[tuple[str, ...]] = (schema.ADDRESS,)

    partitions: int
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.plan = plan_partitions(None, KEY_LIMIT, self.partitions)

    def expand(self, batches: Batches) -> Batches:
        return (
            batches
            | "By address" >> beam.FlatMap(_by_address, partitions=self.partitions).with_output_types(Slice)
            | "To partitions" >> beam.GroupByKey()
            | _measure(self.by, self.partitions)
            | "Batches" >> beam.FlatMap(_values).with_output_types(pa.RecordBatch)
        )


class Distribute(beam.PTransform):
    """Hands small elements (files, splits) out to workers, one by one. Not a shuffle: no rows cross.

    It is also a checkpoint: what an element was decided to be before it (a random name, say) stays decided, whatever
    is retried behind it.
    """

    carries_rows: ClassVar[bool] = False

    def expand(self, elements: beam.PCollection[Element]) -> beam.PCollection[Element]:
        return (
            elements
            | "Key" >> beam.Map(_with_key).with_output_types(tuple[bytes, Any])
            | "Group" >> beam.GroupByKey()
            | "Elements" >> beam.FlatMap(_values).with_output_types(elements.element_type)
        )


class Gather(beam.PTransform):
    """All elements as one list, at one worker, also when there is none. For names and verdicts, never for rows.

    Raises:
      ValueError: the elements are in windows; there is one list of all.
    """

    carries_rows: ClassVar[bool] = False

    def expand(self, elements: beam.PCollection[Element]) -> beam.PCollection[list[Element]]:
        windows = elements.windowing.windowfn
        if windows != GlobalWindows():
            raise ValueError(
                f"what {elements.producer.full_label} gives is in {type(windows).__name__}, and is needed in one list: "
                f"beam.WindowInto(beam.window.GlobalWindows()) has to come before"
            )
        present = elements | "Present" >> beam.Map(lambda element: (0, [element])).with_output_types(
            tuple[int, Any]
        )
        one = elements.pipeline | "One" >> beam.Impulse()
        none = one | "None" >> beam.Map(lambda _: (0, [])).with_output_types(tuple[int, Any])
        return (
            (present, none)
            | "Both" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "List" >> beam.Map(lambda pair: [element for some in pair[1] for element in some])
        )


@dataclass(eq=False, kw_only=True)
class Fold(beam.PTransform):
    """All elements merged into one, at one worker, by way of FOLD_FANOUT others. For what a bundle was left with.

    Input: elements of few bytes, in one window. Output: one element; of none, what `merge` makes of an empty list.

    Args:
      merge: of a list of elements the one that stands for them, whatever their order.
    """

    carries_rows: ClassVar[bool] = False

    merge: Callable[[list[Any]], Any]

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, elements: beam.PCollection[Element]) -> beam.PCollection[Element]:
        kind = elements.element_type
        return (
            elements
            | "Spread" >> beam.Map(_spread).with_output_types(tuple[int, Any])
            | "Group" >> beam.GroupByKey()
            | "Merge some" >> beam.Map(lambda pair: self.merge(list(pair[1]))).with_output_types(kind)
            | "Gather" >> Gather()
            | "Merge all" >> beam.Map(self.merge).with_output_types(kind)
        )


FOLD_FANOUT = 64
"""So that 10,000 bundles of 10 KB each are 2 MB at each worker."""


def _spread(element: Element) -> tuple[int, Element]:
    return _with_key(element)[0][0] % FOLD_FANOUT, element


def _group_keys(
    batch: pa.RecordBatch, number: Callable[[pa.RecordBatch], Numbers], plan: PartitionPlan
) -> Numbers:
    return group_keys(number(batch), plan)


def _first_hop(batches: Batches, number: Callable[[pa.RecordBatch], Numbers], plan: PartitionPlan) -> Batches:
    """Rows of neighbouring partitions together, where the plan says so; else the batches as they are."""
    if plan.hops == 1:
        return batches
    group = partial(_group_keys, number=number, plan=plan)
    return (
        batches
        | "Cut groups" >> beam.ParDo(CutSlices(group)).with_output_types(Slice)
        | "To groups" >> beam.GroupByKey()
        | "Group batches" >> beam.FlatMap(_values).with_output_types(pa.RecordBatch)
    )


def _measure(by: tuple[str, ...], partitions: int | None) -> beam.PTransform:
    return SIZES >> beam.ParDo(MeasurePartitions(by, partitions)).with_output_types(Partition)


def _values(pair: tuple[Any, Iterable[Element]]) -> Iterable[Element]:
    return pair[1]


def _sorted(partition: Partition, by: tuple[str, ...]) -> Partition:
    number, batches = partition
    rows = merge_batches(batches).sort_by([(name, "ascending") for name in by])
    return number, list(split_batch(rows))


def _by_address(batch: pa.RecordBatch, partitions: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    for piece in split_batch(batch, MAX_ROWS, min(MAX_BYTES, SLICE_BYTES)):
        yield int(hash_partition(piece.slice(0, 1), (schema.ADDRESS,), partitions)[0]), piece


def _with_key(element: Element) -> tuple[bytes, Element]:
    return hashlib.blake2b(repr(element).encode("utf-8", "surrogatepass"), digest_size=8).digest(), element


class Attachment(NamedTuple):
    """What `Attach` brings together."""

    elements: beam.PCollection[tuple[int, Any]]
    """Small elements, each with its key. No two have the same."""
    rows: Batches
    """Batches with a uint64 column of keys."""


@dataclass(eq=False, kw_only=True)
class Attach(beam.PTransform):
    """Each small element with the rows that carry its key. One shuffle, of the rows; in two hops as Shuffle.

    Input: Attachment. Output: (element, its batches), each element once, with or without rows. The batches come in no
    order, are decoded while they are iterated, and can be iterated again; each has at most SLICE_BYTES encoded.

    A key is 64 bits. Beam's coder for `int` is signed: an element's key may be the int64 of the same bits.

    Args:
      by: the column of keys, alone in a tuple.
      keys: how many elements there are, estimated. With many, slices of one hop would be tiny.
      expected_bytes: bytes of the rows, estimated.
      measured: as for Shuffle.

    Raises:
      ValueError: several columns, keys or expected_bytes out of range; while running, rows with the key of no element.
    """

    carries_rows: ClassVar[bool] = True

    by: tuple[str, ...]
    keys: int | None = None
    expected_bytes: int | None = None
    measured: bool = True

    def __post_init__(self) -> None:
        super().__init__()
        if len(self.by) != 1:
            raise ValueError(f"Attach needs one column of keys, got {self.by!r}")
        self.plan = plan_partitions(self.expected_bytes, KEY_LIMIT, self.keys)

    @no_annotations  # type: ignore[untyped-decorator]  # Beam takes a tuple of PCollections for a mistake
    def expand(self, inputs: Attachment) -> beam.PCollection[tuple[Any, Iterable[pa.RecordBatch]]]:
        elements, rows = inputs
        coder = registry.get_coder(elements.element_type)
        number = partial(hash_partition, by=self.by, partitions=self.plan.partitions)
        packed = elements | "Pack" >> beam.Map(pack_element, coder=coder).with_output_types(Slice)
        cut = _first_hop(rows, number, self.plan) | "Cut" >> beam.ParDo(
            CutSlices(partial(keys_of, name=self.by[0]))
        ).with_output_types(Slice)
        found = (packed, cut) | "Both" >> beam.Flatten() | "To elements" >> beam.GroupByKey()
        if self.measured:
            found |= _measure(self.by, None)
        return found | "Unpack" >> beam.Map(unpack_element, coder=coder).with_output_types(
            tuple[Any, Iterable[pa.RecordBatch]]
        )
