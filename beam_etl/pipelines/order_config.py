"""What jobs have in common that put rows in an order."""

from dataclasses import dataclass

import pyarrow as pa

from beam_etl.io.columns import ALL, Columns
from beam_etl.io.file_source import FileSource
from beam_etl.kernels.sorting import NULLS, Order, key_rows, parse_order
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import UsageError, flag


@dataclass(frozen=True, kw_only=True)
class OrderConfig(JobConfig):
    """What can be asked of such a job."""

    by: tuple[str, ...] = flag(
        "columns to order by, each ascending or as COLUMN:desc; ties by place in the input"
    )
    nulls: str = flag("where rows without a value stand", default="last", choices=NULLS)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            parse_order(self.by, self.nulls)
        except ValueError as error:
            raise ValueError(f"--by={','.join(self.by)}: {error}") from error

    @property
    def order(self) -> Order:
        """What is asked for."""
        return parse_order(self.by, self.nulls)

    @property
    def columns(self) -> Columns:
        return self.read_as((), carry=ALL)


def check_order(source: FileSource, order: Order) -> None:
    """A column that is absent or has no order is told before the job starts.

    Raises:
      UsageError: there is one.
    """
    none = pa.RecordBatch.from_pylist([], source.stored_schema)
    try:
        key_rows(none, order)
    except (KeyError, TypeError) as error:
        raise UsageError(f"--by={','.join(order.columns)}: {error.args[0]}") from error
