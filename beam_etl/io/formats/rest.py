"""Rejects that formats of lines share: lines over the limit, and the rest behind damage."""

from beam_etl.io.errors import one_line
from beam_etl.io.formats.base import Split
from beam_etl.io.formats.lines import LongLine, UnreadableError
from beam_etl.io.rejects import Reject, reject_rest


def reject_long_line(path: str, line: LongLine, most: int) -> Reject:
    """The reject of a line of more than `most` bytes."""
    reason = f"a record of {line.bytes} bytes: over the limit of {most}"
    return Reject(path, line.position, reason, 1, line.bytes, line.digest, line.payload)


def reject_unreadable(split: Split, error: UnreadableError) -> Reject:
    """The reject of what can't be decompressed, to the end of the file."""
    return reject_rest(split.file.path, error.stored, split.file.bytes, one_line(error.cause), error.position)
