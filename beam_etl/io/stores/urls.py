"""Urls of objects, and what in a url is nobody's business."""

import re
from typing import NamedTuple

SCHEMES = ("s3", "gs")
"""Of object stores that datasets are read from and written to."""

_OBJECTS = re.compile(r"\b(?:s3|gs)://[^,\s]+")
_CREDENTIALS = re.compile(r"@?(?:(?:s3|gs)://[^/]*[:@]|\w[\w+.-]*://[^/\s@]*:[^/\s]*@)")
"""In a path, pattern or list of files. No bucket has a colon, but a secret of S3 may have a slash."""

_KEYS = re.compile(r"(\b(?:s3|gs)://)[^/\s,'\"]*:(?:[^\s'\"]*@|[^\s'\"]+)")
_USER = re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^/\s@'\"]+@")
_SIGNED = re.compile(
    r"(?i)([?&](?:x-amz-[\w-]+|x-goog-[\w-]+|awsaccesskeyid|signature|sig|token|access_token|password)=)[^&,\s'\"<]+"
)
_HIDDEN = "***"


class UrlError(ValueError):
    """A path that can't be used as a url of an object. The message says what to do."""


class Url(NamedTuple):
    """The parts of a url."""

    scheme: str
    bucket: str
    key: str


def is_local(path: str) -> bool:
    """Whether a path is of this machine's filesystem, which is read natively."""
    return "://" not in path


def is_object(path: str) -> bool:
    """Whether a path is of an object store that datasets can be in."""
    return path.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def split_url(path: str) -> Url:
    """Scheme, bucket and key of an object's path.

    Raises:
      UrlError: it is none, or has credentials in it, which aren't told.
    """
    scheme, separator, rest = path.partition("://")
    bucket, _, key = rest.partition("/")
    refuse_credentials(path)
    if not separator or scheme not in SCHEMES or not bucket:
        raise UrlError(f"{mask(path)}: not the url of an object; give s3://BUCKET/... or gs://BUCKET/...")
    return Url(scheme, bucket, key.strip("/"))


def refuse_credentials(path: str) -> None:
    """Refuses a path, pattern or list of files, of any scheme, with a user and a secret.

    Raises:
      UrlError: it has them. The message masks them.
    """
    if _CREDENTIALS.match(path):
        raise UrlError(
            f"{mask(path)}: a url with credentials in it is not taken, since it would stand in logs, manifests and "
            "tables. Give the url without them, and them as the store's own library takes them: by its environment "
            "variables, or its file of credentials (docs/stores.md)."
        )


def check_urls(text: str) -> None:
    """Raises UrlError where a url of an object in a text, as of a flag, can't be used."""
    for url in _OBJECTS.findall(text):
        split_url(url)


def mask(text: str) -> str:
    """A text in which no url tells a password, a key or a signature."""
    if "://" not in text and "?" not in text:
        return text
    for users in (_KEYS, _USER):
        text = users.sub(rf"\g<1>{_HIDDEN}@", text)
    return _SIGNED.sub(rf"\g<1>{_HIDDEN}", text)
