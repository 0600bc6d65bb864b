"""Urls of objects, and what in a url is nobody's business."""

import re
from typing import NamedTuple

SCHEMES = ("s3", "gs")
"""Of object stores that datasets are read from and written to."""

_OBJECTS = re.compile(r"\b(?:s3|gs)://[^,\s]+")
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
    if "@" in bucket:
        raise UrlError(
            f"{mask(path)}: a url with credentials in it is not taken, since it would stand in logs and manifests. "
            f"Give {scheme}://BUCKET/..., and the credentials in the environment (docs/stores.md)."
        )
    if not separator or scheme not in SCHEMES or not bucket:
        raise UrlError(f"{mask(path)}: not the url of an object; give s3://BUCKET/... or gs://BUCKET/...")
    return Url(scheme, bucket, key.strip("/"))


def check_urls(text: str) -> None:
    """Raises UrlError where a url of an object in a text, as of a flag, can't be used."""
    for url in _OBJECTS.findall(text):
        split_url(url)


def mask(text: str) -> str:
    """A text in which no url tells a password, a key or a signature."""
    if "://" not in text and "?" not in text:
        return text
    return _SIGNED.sub(rf"\g<1>{_HIDDEN}", _USER.sub(rf"\g<1>{_HIDDEN}@", text))
