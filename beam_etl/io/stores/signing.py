"""Signatures of requests to S3, version 4, for the requests that `obstore` has no function for.

As Amazon's documentation tells: "Signature Calculations for the Authorization Header".
"""

import datetime
import hashlib
import hmac
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple

_EMPTY = hashlib.sha256(b"").hexdigest()


class Keys(NamedTuple):
    """What signs."""

    id: str
    secret: str
    token: str | None = None

    @classmethod
    def of_environment(cls) -> "Keys | None":
        """Those in the environment; None where there are none."""
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        return cls(key, secret, os.environ.get("AWS_SESSION_TOKEN")) if key and secret else None


def sign_request(
    method: str,
    endpoint: str,
    path: str,
    query: Mapping[str, str],
    region: str,
    keys: Keys,
    now: datetime.datetime | None = None,
) -> urllib.request.Request:
    """A request without a body, with the header that says who asks.

    Args:
      method: GET or DELETE.
      endpoint: scheme and host.
      path: encoded already, as it is sent.
      query: not encoded.
      region: of the bucket.
      keys: who asks.
      now: when; None for now.
    """
    time = (now or datetime.datetime.now(datetime.timezone.utc)).strftime("%Y%m%dT%H%M%SZ")
    url = urllib.parse.urlsplit(endpoint)
    asked = "&".join(
        f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}"
        for name, value in sorted(query.items())
    )
    headers = {"host": url.netloc.rpartition("@")[2], "x-amz-content-sha256": _EMPTY, "x-amz-date": time}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    signed = ";".join(sorted(headers))
    listed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join((method, path, asked, listed, signed, _EMPTY))
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", time, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.id}/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
    return urllib.request.Request(f"{endpoint}{path}?{asked}", method=method, headers=headers)
