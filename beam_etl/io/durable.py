"""Files that are there whole or not at all, and names that survive a power cut."""

import contextlib
import os
import secrets


def create_if_absent(path: str, content: bytes) -> bool:
    """Creates a file with all of its content, or not at all; False when it exists already.

    The content is written and synced under another name, and linked: a link fails when its name is taken.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        sync_folder(os.path.dirname(path))
        return True
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def sync_folder(path: str) -> None:
    """Makes new names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
