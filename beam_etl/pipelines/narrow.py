"""Jobs that read a few columns of any table: those that are stored, or else the shared ones that are made of others."""

from collections.abc import Sequence
from dataclasses import replace

import apache_beam as beam

from beam_etl.io.columns import SHARED, Columns
from beam_etl.io.file_source import FileSource
from beam_etl.pipelines.config import JobConfig

NARROW_ROWS = 1 << 17
"""Of a batch of few columns: beside so many rows a call of Python is nothing though little is done with each."""


def read_narrow(
    pipeline: beam.Pipeline, config: JobConfig, used: Sequence[str], coded: Sequence[str] = ()
) -> FileSource:
    """A source of the columns `used` alone, in batches of up to NARROW_ROWS; texts in `coded` ones as dictionaries.

    Rows have no address, but where there is nothing else of them.

    A column that is stored is read as it is. Another may be a shared one: a domain that a url has, a language that is
    stored as `lang`.

    Raises:
      InputError: a column is neither. The message names it and the columns there are.
    """
    tolerated = config.max_reject_fraction
    any_columns = Columns(needed=(), limits=config.limits)
    source = FileSource(pipeline, config.input, any_columns, config.format, tolerated=tolerated)
    stored = source.stored_schema.names
    made = tuple(name for name in used if name not in stored and name in SHARED)
    columns = config.read_as(made, carry=tuple(name for name in used if name not in made))
    columns = replace(columns, addressed=not used, coded=tuple(coded), batch_rows=NARROW_ROWS)
    return FileSource(pipeline, config.input, columns, config.format, tolerated=tolerated)
