"""Input that isn't what the job began with: found at the end of each split, told as a reject.

By size and time; in an object store by size and ETag.
"""

from beam_etl.io.formats.base import FileEntry, Split
from beam_etl.io.isolate import MAY_PASS
from beam_etl.io.rejects import Reject
from beam_etl.io.stores import is_local, is_object, store_of

CHANGED = "the file changed while the job ran"
"""How the reason of a reject begins that speaks against the run as a whole (see `JudgeRejects`)."""

Mark = int | str
"""What tells a file's content from a later one: when it was modified, in nanoseconds, or its ETag; 0 for neither."""


def mark_of(file: FileEntry) -> Mark:
    """As the launcher saw it, or where it didn't say, as it is now; 0 where that isn't known, or the file is gone."""
    told = file.etag or file.modified
    if told or not (is_local(file.path) or is_object(file.path)):
        return told or 0
    try:
        found = store_of(file.path).look(file.path)
    except OSError:
        return 0
    return found.etag or found.modified_ns


def change_of(file: FileEntry, seen: Mark) -> str | None:
    """How a file differs from what the job began with; None where it doesn't, or where that can't be known.

    Args:
      file: as the launcher saw it.
      seen: `mark_of` before it was read; 0 where that isn't known.
    """
    if not (is_local(file.path) or is_object(file.path)):
        return None
    try:
        found = store_of(file.path).look(file.path)
    except FileNotFoundError:
        return "it is gone"
    if found.bytes != file.bytes:
        return f"it has {found.bytes} bytes, and had {file.bytes}"
    if seen and (found.etag or found.modified_ns) != seen:
        return "it was written anew"
    return None


def lasts(reason: str) -> bool:
    """Whether a reject with this reason would be one in another run, too."""
    return not reason.startswith(CHANGED) and MAY_PASS not in reason


def reject_changed(split: Split, how: str) -> Reject:
    """What tells of a change, in place of rows that may be of either content. It has no bytes of its own."""
    reason = f"{CHANGED}: {how}. Run again."
    return Reject(split.file.path, split.first, reason, None, 0, b"\0" * 32, b"")
