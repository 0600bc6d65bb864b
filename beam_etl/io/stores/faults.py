"""What an object store answers when it can't do something, as errors of the system that say what to do."""

import errno
import re

from beam_etl.io.stores.urls import mask, split_url

FINAL = errno.ECONNABORTED
"""The number of an error that was tried again already, and is there still."""

_PASSING = re.compile(
    r"status code: (408|429|5\d\d)|SlowDown|HTTP error|error sending request|error decoding|timed? ?out|connection",
    re.IGNORECASE,
)
_STATUS = re.compile(r"status code: (\d{3})")
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist", re.IGNORECASE)
_REGION = re.compile(
    r"AuthorizationHeaderMalformed|PermanentRedirect|TemporaryRedirect|IllegalLocationConstraint|wrong region|"
    r"redirect without LOCATION|incorrectly configured region",
    re.IGNORECASE,
)
_EXPECTED_REGION = re.compile(r"expecting '([\w-]+)'|<Region>([\w-]+)</Region>")
_CREDENTIALS = re.compile(
    r"token request|credential|Missing ?\w*(Key|Token)|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken",
    re.IGNORECASE,
)
_CHARACTERS = 500
"""Of what a store said: more is markup."""

_UNSUPPORTED = re.compile(r"NotImplemented|status code: 501")

_ASK = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default login`, or run where a service "
    "account gives them",
}


class PassingError(Exception):
    """What may be gone at the next try. Its cause is what the store said."""


class ChangedError(OSError):
    """An object isn't the one that was opened any more."""


def explained(error: BaseException, path: str) -> OSError:
    """An error of `obstore`, as one of the system: with a number, the path, and what to do.

    Args:
      error: what was raised.
      path: what it was about.
    """
    text, name = _told(error), type(error).__name__
    url = split_url(path)
    if _NO_BUCKET.search(text):
        return OSError(
            errno.ENODEV,
            f"there is no bucket {url.bucket!r}. Check its name, and the account and the endpoint that are used",
            mask(path),
        )
    if found := _REGION.search(text):
        expected = _EXPECTED_REGION.search(text)
        region = (expected[1] or expected[2]) if expected else "the region of the bucket"
        return OSError(
            errno.EINVAL,
            f"the bucket {url.bucket!r} is in another region than the one asked ({found[0]}). "
            f"Set AWS_REGION={region}",
            mask(path),
        )
    if isinstance(error, FileNotFoundError) or name == "NotFoundError":
        return FileNotFoundError(errno.ENOENT, "there is no such object", mask(path))
    status = _STATUS.search(text)
    denied = name in ("PermissionDeniedError", "UnauthenticatedError") or (
        status is not None and status[1] in ("401", "403")
    )
    if denied or (_CREDENTIALS.search(text) and (status is None or status[1].startswith("4"))):
        what = "the credentials aren't accepted" if _CREDENTIALS.search(text) else "permission denied"
        return PermissionError(
            errno.EACCES,
            f"{what}. {_ASK[url.scheme]}, and check that they may read, list, write and delete there: {_short(text)}",
            mask(path),
        )
    if _UNSUPPORTED.search(text):
        return OSError(errno.ENOTSUP, f"the store can't do this: {_short(text)}", mask(path))
    return OSError(FINAL if passes(error) else errno.EPROTO, _short(text), mask(path))


def passes(error: BaseException) -> bool:
    """Whether a further try may succeed."""
    if isinstance(error, PassingError):
        return True
    text = _told(error)
    is_final = _NO_BUCKET.search(text) or _REGION.search(text) or _UNSUPPORTED.search(text)
    return not is_final and not isinstance(error, FileNotFoundError) and bool(_PASSING.search(text))


def _told(error: BaseException) -> str:
    """What it says, without the internals of the library, which stand below."""
    return str(error).split("\n\nDebug source", 1)[0]


def _short(text: str) -> str:
    return mask(" ".join(text.split()))[:_CHARACTERS]
