import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_etl.kernels.domains import registered_domain, suffix_list_date
from tests.suffix_vectors import VECTORS


def domain_of(url: str | None) -> str | None:
    domain: str | None = registered_domain(pa.array([url], pa.string())).to_pylist()[0]
    return domain


UNLISTED = {
    "example.example": "example.example",
    "b.example.example": "b.example.example",
    "a.b.example.example": "a.b.example.example",
}
"""Under a top level that isn't listed the host stays as it is. The list's last resort is to cut it to two labels."""


def expected_domain(host: str) -> str | None:
    """As the list says; a host that is a suffix is its own domain, and one that begins with a dot is none."""
    if host.startswith("."):
        return None
    domain = UNLISTED.get(host) or VECTORS[host] or host.lower()
    labels = domain.split(".")
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels
    )


@pytest.mark.parametrize("host", VECTORS)
def test_domains_are_those_that_the_suffix_list_publishes(host: str) -> None:
    """Its cases are of the whole list, private suffixes included."""
    found = registered_domain(pa.array([f"https://{host}/path"]), private_suffixes=True)
    assert found.to_pylist() == [expected_domain(host)]


@pytest.mark.parametrize("host", [host for host in VECTORS if not host.endswith("uk.com")])
def test_the_section_of_icann_alone_says_the_same_of_what_is_in_it(host: str) -> None:
    assert domain_of(f"https://{host}/path") == expected_domain(host)


PRIVATE = {
    "somebody.github.io": ("github.io", "somebody.github.io"),
    "www.somebody.github.io": ("github.io", "somebody.github.io"),
    "github.io": ("github.io", "github.io"),
    "somebody.blogspot.com": ("blogspot.com", "somebody.blogspot.com"),
    "b.example.uk.com": ("uk.com", "example.uk.com"),
    "www.example.com": ("example.com", "example.com"),
}


@pytest.mark.parametrize(("host", "domains"), PRIVATE.items(), ids=PRIVATE)
def test_sites_under_private_suffixes_are_domains_where_that_is_asked(
    host: str, domains: tuple[str, str]
) -> None:
    url = pa.array([f"http://{host}/"])
    found = [registered_domain(url, private_suffixes=asked)[0].as_py() for asked in (False, True)]
    assert tuple(found) == domains


def test_the_list_says_its_date() -> None:
    said = suffix_list_date()
    assert said is not None
    assert datetime.date(2024, 1, 1) < datetime.date.fromisoformat(said)


URLS = {
    "a page": ("http://forums.news.bbc.co.uk/a/b.html?q=1#c", "bbc.co.uk"),
    "nothing behind the host": ("https://www.example.com", "example.com"),
    "upper case": ("HTTPS://WWW.Example.COM/", "example.com"),
    "a port": ("http://www.example.com:8080/", "example.com"),
    "an empty port": ("http://www.example.com:/", "example.com"),
    "a user": ("ftp://user:p%40ss@ftp.example.com/", "example.com"),
    "a user with @": ("http://a@b@www.example.com/", "example.com"),
    "the root's dot": ("http://www.example.com./", "example.com"),
    "no scheme": ("//cdn.example.com/x.js", "example.com"),
    "another scheme": ("wss://live.example.com/", "example.com"),
    "a query at once": ("http://www.example.com?u=http://other.org/", "example.com"),
    "a fragment at once": ("http://www.example.com#@other.org/", "example.com"),
    "a backslash": ("http://www.example.com\\@other.org/", "example.com"),
    "blanks around": (" \thttp://www.example.com/\r\n", "example.com"),
    "an underscore": ("http://my_site.example.com/", "example.com"),
    "a plus": ("http://c++.example.com/", "example.com"),
    "a private suffix": ("https://somebody.github.io/", "github.io"),
    "another private suffix": ("http://somebody.blogspot.com/", "blogspot.com"),
    "no suffix": ("http://localhost:3000/", "localhost"),
    "no known suffix": ("http://db.eu.internal/", "db.eu.internal"),
    "only a suffix": ("http://co.uk/", "co.uk"),
    "Unicode": ("http://www.BÜCHER.example.de/", "example.de"),
    "Unicode in the domain": ("http://www.Bücher.de/", "xn--bcher-kva.de"),
    "the same in ASCII": ("http://www.XN--Bcher-kva.de/", "xn--bcher-kva.de"),
    "the same decomposed": ("http://www.Bu\u0308cher.de/", "xn--bcher-kva.de"),
    "a sharp s": ("http://www.faß.de/", "xn--fa-hia.de"),
    "wide dots": ("http://www。example．com/", "example.com"),
    "a soft hyphen": ("http://www.ex\u00adample.com/", "example.com"),
    "an emoji": ("http://www.i❤.ws/", "xn--i-7iq.ws"),
    "IPv4": ("http://192.0.2.17:8000/", "192.0.2.17"),
    "IPv6": ("http://[2001:DB8:0:0:0::1]:8000/", "2001:db8::1"),
    "hardly IPv4": ("http://192.0.2.256/", "192.0.2.256"),
    "null": (None, None),
    "empty": ("", None),
    "only a scheme": ("http://", None),
    "no host": ("file:///etc/passwd", None),
    "no slashes": ("mailto:somebody@example.com", None),
    "no scheme and no slashes": ("www.example.com/index.html", None),
    "a path": ("/index.html", None),
    "data": ("data:text/html,<a href=//example.com>", None),
    "a blank inside": ("http://www.exa mple.com/", None),
    "a line break inside": ("http://www.exa\nmple.com/", None),
    "a zero byte": ("http://www.exa\x00mple.com/", None),
    "an empty label": ("http://www..example.com/", None),
    "a dot in front": ("http://.example.com/", None),
    "two dots at the end": ("http://example.com../", None),
    "escaped": ("http://ex%61mple.com/", None),
    "a list": ("http://example.com,http://example.org/", None),
    "markup": ("http://<b>example</b>.com/", None),
    "a port that is none": ("http://example.com:80a/", None),
    "a label too long": (f"http://{'a' * 64}.com/", None),
    "IPv6 that is none": ("http://[2001:db8]/", None),
    "a bracket left open": ("http://[2001:db8::1/", None),
    "a character that no name has": ("http://ex\u2488ample.com/", None),
}


@pytest.mark.parametrize(("url", "domain"), URLS.values(), ids=URLS)
def test_what_counts_as_the_host(url: str | None, domain: str | None) -> None:
    assert domain_of(url) == domain


def test_arrays_of_every_form_have_the_same_domains() -> None:
    urls = pa.array([url for url, _ in URLS.values()], pa.string())
    expected = pa.array([domain for _, domain in URLS.values()], pa.string())
    forms = [urls, urls.cast(pa.large_string()), urls.cast(pa.string_view()), urls.dictionary_encode()]
    assert all(registered_domain(form).equals(expected) for form in forms)
    assert registered_domain(pa.concat_arrays([urls, urls]).slice(7, 20)).equals(expected.slice(7, 20))
    assert registered_domain(urls.slice(0, 0)).equals(pa.array([], pa.string()))
    assert registered_domain(pa.nulls(3)).equals(pa.nulls(3, pa.string()))


def test_real_urls_of_hosts_without_a_public_suffix_keep_the_host(webtext: list[dict[str, Any]]) -> None:
    domains = registered_domain(pa.array([document["url"] for document in webtext]))
    assert domains.to_pylist() == [document["domain"] for document in webtext]


@given(st.text() | st.text().map(lambda text: f"http://{text}/"))
def test_no_text_is_too_strange_and_a_domain_is_its_own_domain(text: str) -> None:
    domain = domain_of(text)
    if domain is not None:
        assert domain.isascii()
        assert domain_of(f"http://{f'[{domain}]' if ':' in domain else domain}/") == domain
