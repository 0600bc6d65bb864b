"""Our pipelines without what they do against skew, to show what that is worth. In process only.

python -m benchmarks.without_measures aggregate|join|inverted_index FLAGS_OF_THE_PIPELINE

aggregate: rows cross as they are, not combined before. join: no key is spread. inverted_index: no term is split.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module

import pyarrow as pa

from beam_etl.kernels import split_terms
from beam_etl.kernels.aggregating import merge_states, summarize_rows
from beam_etl.kernels.aggregations import StatePlan
from beam_etl.kernels.answers import finish_states
from beam_etl.kernels.join_salts import HotKeys
from beam_etl.pipelines import join_sides
from beam_etl.transforms.aggregate_columns import AggregateColumns
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.gathering import combine_all
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Shuffle


def aggregate() -> None:
    """Shuffles the rows themselves."""

    def expand(self: AggregateColumns, batches: Batches) -> Batches:
        shuffled = batches | "Shuffle" >> Shuffle(by=self.by)
        return shuffled | "Group" >> MapPartitions(kernel=partial(_grouped, plan=self.state))

    AggregateColumns.expand = expand  # type: ignore[method-assign]


def _grouped(batches: Iterable[pa.RecordBatch], plan: StatePlan) -> Iterator[pa.RecordBatch]:
    states = (summarize_rows(batch, plan) for batch in batches)
    return combine_all(states, partial(merge_states, plan=plan), partial(finish_states, plan=plan))


def join() -> None:
    """Finds no hot keys."""
    join_sides.find_hot_keys = lambda *_: HotKeys()


def inverted_index() -> None:
    """Finds no term too large."""
    split_terms.SPLIT_BYTES = 1 << 60


WITHOUT: dict[str, Callable[[], None]] = {job.__name__: job for job in (aggregate, join, inverted_index)}

if __name__ == "__main__":
    WITHOUT[sys.argv[1]]()
    sys.exit(import_module(f"beam_etl.pipelines.{sys.argv[1]}").run(sys.argv[2:]))
