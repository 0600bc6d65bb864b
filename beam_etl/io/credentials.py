"""Urls with credentials in them: they would stand in manifests, tables and logs."""

import re

from beam_etl.io.errors import InputError

_CREDENTIALS = re.compile(r"(@?\w[\w+.-]*://)[^/\s@]*:[^/\s]*@")


def masked(text: str) -> str:
    """The text without what stands between `://` and `@` in its urls."""
    return _CREDENTIALS.sub(r"\1***@", text)


def refuse_credentials(url: str) -> None:
    """Refuses a path, pattern or list of files with a user and a secret.

    Raises:
      InputError: it has them. The message masks them.
    """
    if _CREDENTIALS.match(url):
        raise InputError(
            f"{masked(url)}: a url with credentials, which would stand in manifests and tables. Give them as the "
            "store's own library takes them: by its environment variables, or its file of credentials."
        )
