"""Partitionings as users write them: `time:date:day,hash:url:16`."""

from collections.abc import Sequence

from beam_etl.kernels.partitioning import HASH, RANGE, TIME, VALUE, Level, Partitioning

FORMS = "hash:COLUMN:N (several as A+B), range:COLUMN:N, time:COLUMN:month|day|hour or value:COLUMN"


def parse_partitioning(items: Sequence[str], order: Sequence[str] = ()) -> Partitioning:
    """Levels, outermost first. The bounds of ranges aren't known yet: these levels say how many are wanted.

    Raises:
      ValueError: an item is none of FORMS.
    """
    return Partitioning(by=tuple(map(_level, items)), order=tuple(order))


def _level(item: str) -> Level:
    function, _, rest = item.partition(":")
    try:
        if function == VALUE:
            return Level(function=VALUE, columns=(rest,) if rest else ())
        column, _, how = rest.rpartition(":")
        if function == TIME:
            return Level(function=TIME, columns=(column,), unit=how)
        if function not in (HASH, RANGE) or not how.isdecimal() or not column:
            raise ValueError(f"a partitioning is {FORMS}")
        columns = tuple(column.split("+")) if function == HASH else (column,)
        return Level(function=function, columns=columns, partitions=int(how))
    except ValueError as error:
        raise ValueError(f"{item!r}: {error}") from error
