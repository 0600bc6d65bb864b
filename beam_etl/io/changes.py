"""Input that isn't what the job began with: found by size and time at the end of each split, told as a reject."""

import os

from beam_etl.io.access import is_local
from beam_etl.io.formats.base import FileEntry, Split
from beam_etl.io.rejects import Reject

CHANGED = "the file changed while the job ran"
"""How the reason of a reject begins that speaks against the run as a whole (see `JudgeRejects`)."""


def modified(path: str) -> int:
    """When a local file was modified, in nanoseconds; 0 where that can't be known, or the file is gone."""
    try:
        return os.stat(path).st_mtime_ns if is_local(path) else 0
    except OSError:
        return 0


def change_of(file: FileEntry, seen: int) -> str | None:
    """How a file differs from what the job began with; None where it doesn't, or where it is not local.

    Args:
      file: as the launcher saw it.
      seen: `modified` before it was read, for entries that don't tell the time.
    """
    if not is_local(file.path):
        return None
    try:
        found = os.stat(file.path)
    except FileNotFoundError:
        return "it is gone"
    if found.st_size != file.bytes:
        return f"it has {found.st_size} bytes, and had {file.bytes}"
    if found.st_mtime_ns != (file.modified or seen):
        return "it was written anew"
    return None


def reject_changed(split: Split, how: str) -> Reject:
    """What tells of a change, in place of rows that may be of either content. It has no bytes of its own."""
    reason = f"{CHANGED}: {how}. Run again."
    return Reject(split.file.path, split.first, reason, None, 0, b"\0" * 32, b"")
