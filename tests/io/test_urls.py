"""Urls of objects: what they are taken apart into, and what of them is told."""

import pytest

from beam_etl.io.stores.urls import UrlError, mask, refuse_credentials, split_url

SECRETS = {
    "s3://AKIAKEY:secret@bucket/in": "s3://***@bucket/in",
    "s3://AKIAKEY:very/secret@bucket/in": "s3://***@bucket/in",
    "s3://AKIAKEY:se@cr/et@bucket": "s3://***@bucket",
    "gs://user@bucket/in": "gs://***@bucket/in",
    "s3://AKIAKEY:very/secret": "s3://***@",
    "hdfs://user:secret@host/in": "hdfs://***@host/in",
}
SIGNED = {
    "https://host/a?X-Amz-Signature=secret&b=1": "https://host/a?X-Amz-Signature=***&b=1",
    "https://host/a?b=1&sig=secret": "https://host/a?b=1&sig=***",
}
HARMLESS = (
    "s3://bucket/a@b/c",
    "s3://bucket/a:b@c",
    "gs://bucket/at=12:30/a@b",
    "hdfs://host:8020/a@b",
    "/mnt/a:b@c",
)


@pytest.mark.parametrize(
    ("url", "told"), [*SECRETS.items(), *SIGNED.items(), *zip(HARMLESS, HARMLESS, strict=True)]
)
def test_a_url_tells_no_secret(url: str, told: str) -> None:
    assert mask(f"at {url} and {url!r}: more") == f"at {told} and {told!r}: more"


@pytest.mark.parametrize("text", ["s3://bucket: no such file, of you@host", "s3://bucket, or s3://b/c@d"])
def test_what_is_said_of_a_url_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize("prefix", ["", "@"], ids=["a pattern", "a list of files"])
@pytest.mark.parametrize(("url", "told"), SECRETS.items())
def test_a_url_with_credentials_is_refused_and_masked(url: str, told: str, prefix: str) -> None:
    with pytest.raises(UrlError) as refused:
        refuse_credentials(prefix + url)
    assert str(refused.value).startswith(f"{prefix}{told}: a url with credentials in it is not taken")


@pytest.mark.parametrize("url", HARMLESS)
def test_a_url_without_credentials_is_taken(url: str) -> None:
    refuse_credentials(url)


def test_a_bucket_with_a_colon_is_none() -> None:
    with pytest.raises(UrlError):
        split_url("s3://AKIAKEY:very/secret@bucket/in")
