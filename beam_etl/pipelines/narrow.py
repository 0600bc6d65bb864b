"""Jobs that read a few columns of any table: those that are stored, or else the shared ones that are made of others."""

from collections.abc import Sequence

import apache_beam as beam

from beam_etl.io.columns import SHARED, Columns
from beam_etl.io.read import FileSource
from beam_etl.pipelines.config import JobConfig


def read_narrow(pipeline: beam.Pipeline, config: JobConfig, used: Sequence[str]) -> FileSource:
    """A source of the columns `used` alone.

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
    return FileSource(pipeline, config.input, columns, config.format, tolerated=tolerated)
