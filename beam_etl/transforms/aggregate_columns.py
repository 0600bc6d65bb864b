"""AggregateColumns: counts, sums, limits, distinct values and quantiles of groups of rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_etl.kernels.aggregating import (
    merge_states,
    no_rows,
    summarize_rows,
)
from beam_etl.kernels.aggregations import Aggregation, StatePlan
from beam_etl.kernels.answers import finish_states, wide_columns, widen_columns
from beam_etl.transforms.aggregate import Aggregate
from beam_etl.transforms.batches import Batches, join_batches, merge_batches, split_batch
from beam_etl.transforms.gathering import ROW_BYTES
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Gather

SUMMARY_BYTES = 64 << 20
"""Rows that are summarized at once, with ROW_BYTES for each."""

STATE_BYTES = 64 << 20
"""Partial answers that a bundle holds: the same group comes again, and most often fits."""


@dataclass(eq=False, kw_only=True)
class AggregateColumns(beam.PTransform):
    """Answers about groups of rows. One shuffle, of what each bundle is left with.

    Nothing depends on the order of rows: sums of integers and of doubles are exact, and doubles rounded at the end. Of
    a column whose quantiles or distinct values are asked, a row for each distinct value of a group crosses, and all of
    a group meet in one partition; of approximate quantiles, a row for each of some thousand buckets at most.

    Input: batches, in the global window, with the columns that are asked for. Output: a row a group; see
    `answers.finish_states`. Without a column to group by there is one row, also for no rows.

    Args:
      by: group columns; nulls are a group.
      aggregations: what is asked; see `aggregations.parse_aggregation`.
      input: the columns of batches.
      approximate: quantiles differ by at most log_buckets.RELATIVE_ERROR of them.
      partitions, expected_bytes: as for Shuffle.
      salts: as for Aggregate.

    Raises:
      KeyError, TypeError, ValueError: see StatePlan.
    """

    by: tuple[str, ...] = ()
    aggregations: tuple[Aggregation, ...]
    input: pa.Schema
    approximate: bool = False
    partitions: int | None = None
    expected_bytes: int | None = None
    salts: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.state = StatePlan(self.by, self.aggregations, self.input, self.approximate)

    def expand(self, batches: Batches) -> Batches:
        states = batches | "Summarize" >> beam.ParDo(_Summarize(self.state)).with_output_types(pa.RecordBatch)
        if not self.by:
            none = batches.pipeline | "No rows" >> beam.Create([no_rows(self.state)], reshuffle=False)
            states = (states, none) | "All rows" >> beam.Flatten()
        answers = states | "Merge" >> Aggregate(
            by=self.by,
            merge=partial(merge_states, plan=self.state),
            finish=partial(finish_states, plan=self.state),
            partitions=self.partitions,
            expected_bytes=self.expected_bytes,
            salts=self.salts,
        )
        if not (self.state.whole or self.state.decimals):
            return answers
        wide = answers | "Wide sums" >> beam.FlatMap(wide_columns, plan=self.state) | "Gather" >> Gather()
        return answers | "One type" >> beam.Map(
            _widened, plan=self.state, wide=beam.pvalue.AsSingleton(wide)
        ).with_output_types(pa.RecordBatch)


class _Summarize(beam.DoFn):
    """Partial answers about a bundle: merged while they come, and sent when they are STATE_BYTES, or all there are."""

    def __init__(self, plan: StatePlan) -> None:
        self._plan = plan
        self._metrics = StepMetrics()

    def start_bundle(self) -> None:
        self._rows: list[pa.RecordBatch] = []
        self._row_bytes = 0
        self._states: list[pa.RecordBatch] = []

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        self._metrics.took_in(batch)
        self._rows.append(batch.select(self._plan.needed))
        self._row_bytes += self._rows[-1].nbytes + ROW_BYTES * batch.num_rows
        if self._row_bytes > SUMMARY_BYTES:
            self._summarize()
            if self._states[0].nbytes > STATE_BYTES:
                yield from self._sent()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._rows:
            self._summarize()
        for batch in self._sent():
            yield WindowedValue(batch, MIN_TIMESTAMP, (GlobalWindow(),))

    def _summarize(self) -> None:
        """Rows become partial answers; and these are merged when they are twice as many as they were merged."""
        with self._metrics.timing():
            self._states.append(summarize_rows(join_batches(self._rows), self._plan))
            self._rows, self._row_bytes = [], 0
            first, *others = self._states
            if sum(state.nbytes for state in others) > first.nbytes:
                self._states = [merge_states(merge_batches(self._states), self._plan)]

    def _sent(self) -> Iterator[pa.RecordBatch]:
        states, self._states = self._states, []
        for state in states:  # which Aggregate merges before they travel
            for batch in split_batch(state):
                self._metrics.gave_out(batch)
                yield batch


def _widened(batch: pa.RecordBatch, plan: StatePlan, wide: list[str]) -> pa.RecordBatch:
    return widen_columns(batch, wide, plan)
