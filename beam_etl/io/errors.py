"""What can be wrong with input: what the user asked for, told before a job starts, or a file's content."""

import struct
import zlib

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError

from beam_etl.io.stores.urls import mask


class InputError(ValueError):
    """The input isn't what was asked for. The message names the file or pattern, and what to do."""


CONTENT_ERRORS = (
    pa.ArrowException,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    RecursionError,
)
"""What libraries raise on bad content. Catch it, then ask `is_content_error`."""


def is_content_error(error: BaseException) -> bool:
    """Whether a file's content is at fault: such a file is rejected.

    A file that is absent, forbidden or unreachable is not: the error number of the system, or Beam's own
    error, tells it, and such an error is raised, so that an engine tries again and the job fails if that
    doesn't help.
    """
    if isinstance(error, BeamIOError) or (isinstance(error, OSError) and error.errno is not None):
        return False
    return isinstance(error, CONTENT_ERRORS)


def one_line(error: BaseException) -> str:
    """The error's message, short enough for a table, and without what a url should not tell."""
    message = mask(" ".join(str(error).split())) or type(error).__name__
    return message if len(message) <= REASON_CHARACTERS else message[: REASON_CHARACTERS - 3] + "..."


REASON_CHARACTERS = 300
"""A longer message quotes data."""
