"""Which partition of a stored table each row belongs to, and what a partition's folder says of its rows."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.partition import Numbers, hash_partition
from beam_etl.kernels.partition_paths import folder_of, number_text
from beam_etl.kernels.partitioning import HASH, RANGE, TIME, Level, Partitioning
from beam_etl.kernels.sorting import Key, Order, key_rows, range_numbers
from beam_etl.kernels.where import moment

_NUMPY_UNITS = {"month": "M", "day": "D", "hour": "h"}


def partition_rows(batch: pa.RecordBatch, partitioning: Partitioning) -> tuple[Numbers, list[str]]:
    """The partition of each row.

    Args:
      batch: with all columns of `partitioning`.
      partitioning: whose bounds are known.

    Returns:
      uint32[rows]: places in the list of folders, which ascends and has those of partitions with rows.

    Raises:
      KeyError: a column is missing.
      TypeError: a column's type can't be partitioned by this function.
      PartitionNameError: a value can't name a folder.
    """
    codes = np.zeros(batch.num_rows, np.int64)
    levels = [level_values(batch, level) for level in partitioning.by]
    for values in levels:
        own = values.indices.fill_null(len(values.dictionary)).to_numpy(zero_copy_only=False)
        _, codes = np.unique(codes * (len(values.dictionary) + 1) + own, return_inverse=True)
    _, firsts = np.unique(codes, return_index=True)
    columns = [values.take(pa.array(firsts)).dictionary_decode().to_pylist() for values in levels]
    folders = [folder_of(partitioning, values) for values in zip(*columns, strict=True)]
    ordered = np.argsort(np.array(folders, object), kind="stable")
    places = np.empty(len(folders), np.uint32)
    places[ordered] = np.arange(len(folders), dtype=np.uint32)
    return places[codes], [folders[place] for place in ordered]


def level_values(batch: pa.RecordBatch, level: Level) -> pa.DictionaryArray:
    """The value of each row at one level, as text; null where the column is, but for hash.

    Raises:
      KeyError, TypeError: as `partition_rows`.
    """
    missing = [name for name in level.columns if name not in batch.schema.names]
    if missing:
        raise KeyError(
            f"no column {missing[0]!r} to partition by; the batch has {', '.join(batch.schema.names)}"
        )
    if level.function == HASH:
        return _numbered(hash_partition(batch, level.columns, level.partitions or 1))
    values = _plain(batch.column(level.columns[0]))
    if level.function == RANGE:
        return _in_ranges(values, level)
    return _times(values, level) if level.function == TIME else _plain_values(values, level)


def _plain(values: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        return values.dictionary_decode()
    return values.cast(pa.large_string()) if pa.types.is_string_view(values.type) else values


def _numbered(numbers: np.ndarray, is_null: np.ndarray | None = None) -> pa.DictionaryArray:
    present, codes = np.unique(numbers, return_inverse=True)
    texts = pa.array(map(number_text, present.tolist()), pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=is_null), texts)


def _in_ranges(values: pa.Array, level: Level) -> pa.DictionaryArray:
    if level.bounds is None:
        raise ValueError(f"the bounds of {level.name} aren't known yet")
    order = Order((Key(level.columns[0]),))
    bounds, keys = (
        key_rows(pa.RecordBatch.from_arrays([some], level.columns), order)
        for some in (bounds_of(level, values.type), values)
    )
    nulls = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    return _numbered(range_numbers(keys, bounds, order), nulls)


def bounds_of(level: Level, kind: pa.DataType) -> pa.Array:
    """The bounds of a range in a column's type.

    Raises:
      TypeError: they are none of it.
    """
    texts = [str(bound) for bound in level.bounds or ()]
    try:
        if pa.types.is_timestamp(kind):
            return pa.array([moment(text, kind).value for text in texts], pa.int64()).cast(kind)
        return pa.array(texts, pa.string()).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TypeError(
            f"column {level.columns[0]!r} is {kind}, its ranges' bounds aren't: {error}"
        ) from error


def _plain_values(values: pa.Array, level: Level) -> pa.DictionaryArray:
    kind = values.type
    allowed = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_integer,
        pa.types.is_boolean,
        pa.types.is_date,
    )
    if not any(check(kind) for check in (*allowed, pa.types.is_null)):
        raise TypeError(
            f"column {level.columns[0]!r} is {kind}: text, whole numbers, booleans and dates are partitions"
        )
    encoded = (values.cast(pa.string()) if pa.types.is_null(kind) else values).dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices, encoded.dictionary.cast(pa.string()))


def _times(values: pa.Array, level: Level) -> pa.DictionaryArray:
    kind, unit = values.type, level.unit or ""
    if pa.types.is_timestamp(kind):
        plain = values.view(pa.int64()).view(pa.timestamp(kind.unit))
    elif pa.types.is_date(kind) and unit != "hour":
        plain = values.cast(pa.date32()).cast(pa.timestamp("s"))
    else:
        raise TypeError(
            f"column {level.columns[0]!r} is {kind}: no {unit} can be told of it; a date or a time is needed"
        )
    encoded = pc.floor_temporal(plain, unit=unit).dictionary_encode()
    starts = encoded.dictionary.to_numpy(zero_copy_only=False).astype(f"datetime64[{_NUMPY_UNITS[unit]}]")
    texts = [text.replace("T", "-") for text in np.datetime_as_string(starts).tolist()]
    return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(texts, pa.string()))


def time_bounds(text: str, unit: str, ticks: str) -> tuple[int, int]:
    """The first moment of a partition by time, and the first behind it, counted in ticks since 1970.

    Args:
      text: of the partition.
      unit: of its level.
      ticks: D, s, ms, us or ns.

    Raises:
      ValueError: the text is none that `partition_rows` gives.
    """
    written = text[::-1].replace("-", "T", 1)[::-1] if unit == "hour" else text
    first = np.array(written, f"datetime64[{_NUMPY_UNITS[unit]}]")
    start, stop = (
        int(moment.astype(f"datetime64[{ticks}]").astype(np.int64)) for moment in (first, first + 1)
    )
    return start, stop


def named_for(partitioning: Partitioning, stored: pa.Schema) -> Partitioning:
    """The same, where a level whose folders tell the very values of a date column has that column's name.

    So readers of Hive's folders prune by the column itself.

    Raises:
      TypeError, ValueError: a column is absent or of another type, or a level's folders have the name of a column that
        they don't tell the values of.
    """
    levels = tuple(_named(level, stored) for level in partitioning.by)
    for level in levels:
        if level.name in stored.names and level.name != level.columns[0]:
            raise ValueError(
                f"the partitions of {level.function} would be named {level.name!r}, as a column is. Rename that column"
            )
        _check_type(level, stored)
    return Partitioning(by=levels, order=partitioning.order, split=partitioning.split)


def _named(level: Level, stored: pa.Schema) -> Level:
    missing = [name for name in level.columns if name not in stored.names]
    if missing:
        raise ValueError(f"no column {missing[0]!r} to partition by; there are {', '.join(stored.names)}")
    is_day = (
        level.function == TIME
        and level.unit == "day"
        and pa.types.is_date(stored.field(level.columns[0]).type)
    )
    if not is_day:
        return level
    return Level(function=TIME, columns=level.columns, unit="day", name=level.columns[0])


def _check_type(level: Level, stored: pa.Schema) -> None:
    nothing = pa.RecordBatch.from_arrays(
        [pa.nulls(0, stored.field(name).type) for name in level.columns], level.columns
    )
    if level.function == RANGE and level.bounds is None:
        kind = stored.field(level.columns[0]).type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_boolean(kind):
            raise TypeError(
                f"column {level.columns[0]!r} is {kind}: ranges are of text, numbers, dates and times"
            )
        key_rows(nothing, Order((Key(level.columns[0]),)))
    else:
        level_values(nothing, level)
