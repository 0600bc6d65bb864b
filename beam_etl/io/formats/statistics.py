"""What a Parquet file's footer tells of the columns in its row groups."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl.io.errors import CONTENT_ERRORS, is_content_error
from beam_etl.kernels.where import Fact, comparable_value


def group_facts(file: pq.ParquetFile, group: int, names: Sequence[str]) -> dict[str, list[Fact]]:
    """What is known of some columns in a row group; a column without statistics is left out.

    Args:
      file: opened with a small buffer: of each column a first page is read, since Arrow ends the process where it is
        asked about a column that is encrypted, or says so being damaged.
      group: number of the row group.
      names: columns, of which the file may lack some.
    """
    told = file.metadata.row_group(group)
    paths = [file.schema.column(place).path for place in range(told.num_columns)]
    places = {path: place for place, path in enumerate(paths) if paths.count(path) == 1}  # `a.b`, and b of a
    facts = {}
    for name in names:
        if name not in file.schema_arrow.names:
            facts[name] = [Fact(has_values=False)]
        elif name in places and _can_be_read(file, group, name):
            column = told.column(places[name])
            if column.is_stats_set:
                facts[name] = [_fact(column.statistics, file.schema_arrow.field(name).type, told.num_rows)]
    return facts


def _can_be_read(file: pq.ParquetFile, group: int, name: str) -> bool:
    try:
        next(file.iter_batches(1, row_groups=[group], columns=[name], use_threads=False), None)
    except CONTENT_ERRORS as error:
        if not is_content_error(error):
            raise
        return False
    return True


def _fact(told: Any, kind: pa.DataType, rows: int) -> Fact:
    counted = told.has_null_count
    has_values = not counted or told.null_count < rows
    has_nulls = not counted or told.null_count > 0
    if not told.has_min_max:
        return Fact(has_values=has_values, has_nulls=has_nulls)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return Fact(_bound(told, "min", kind), _bound(told, "max", kind), has_values, has_nulls)


def _bound(told: Any, which: str, kind: pa.DataType) -> Any:
    """A bound that values can be compared with; None where the footer's type has another order."""
    try:
        found = comparable_value(pa.scalar(getattr(told, which), kind))
        return None if found != found else found  # NaN, which some writers put there
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        OverflowError,
        TypeError,
        ValueError,
    ):
        return None
