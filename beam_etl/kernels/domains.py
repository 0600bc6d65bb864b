"""From a URL to the domain that somebody registered, by the public suffix list that comes with tldextract.

Without being told otherwise only the list's ICANN section counts, as in Common Crawl's
`url_host_registered_domain` and in tldextract's default: what is under github.io or blogspot.com belongs to
github.io or blogspot.com. With private suffixes every site there is a domain of its own. The network is never
asked for a newer list.
"""

import ipaddress
import pkgutil
import re
from collections.abc import Callable
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.process import once_per_process

_HOST = (
    r"^[\x00-\x20]*(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//"  # scheme
    r"(?:[^/?#\\]*@)?"  # user and password
    r"(?P<host>\[[^\[\]@/?#\\]*\]|[^\[\]:@/?#\\\x00-\x20]+)"
    r"(?::[0-9]*)?(?:[/?#\\]|[\x00-\x20]*$)"  # port, then what is no part of the authority
)
"""RFC 3986, section 3.2, with the leniency of browsers (WHATWG URL): blanks around, backslashes as
slashes."""

_LABELS = re.compile(r"[a-z0-9_+-]{1,63}(?:\.[a-z0-9_+-]{1,63})*")
"""Letters, digits and hyphens are names (RFC 952); the others are met in hosts all the same."""

LONGEST_HOST, LONGEST_WRITTEN = 253, 1024
"""Characters of a host's name (RFC 1035: 255 octets), and of one as it may be written: no longer one is looked up."""

REMEMBERED_HOSTS = 1 << 16
"""Hosts whose domain a process remembers, some 20 MB: sites come back in batch after batch."""


_VERSION = re.compile(rb"^// VERSION: (\d{4}-\d\d-\d\d)", re.MULTILINE)


def registered_domain(url: pa.Array, private_suffixes: bool = False) -> pa.Array:
    """The registered domain of each URL: of https://forums.news.bbc.co.uk:443/, bbc.co.uk.

    Lower case; internationalised names as they are registered (xn--...), however they are written; without
    the root's dot. An IP address is its own domain, IPv6 in its short form without brackets; so is a host
    whose suffix isn't on the list (localhost, db.internal) or that is a suffix (co.uk).

    Args:
      url: string or large_string, plain or dictionary-encoded.
      private_suffixes: the list's section of private suffixes counts as well: of https://a.b.github.io/, b.github.io.

    Returns:
      string[rows]. Null for a null and for what has no usable host: a URL needs `//`, and a host letters that
      can be registered. Each host of the array is looked up once.
    """
    if pa.types.is_dictionary(url.type):
        return registered_domain(url.dictionary, private_suffixes).take(url.indices)
    if pa.types.is_null(url.type):
        return pa.nulls(len(url), pa.string())
    if not pa.types.is_large_string(url.type):
        url = url.cast(pa.large_string())
    hosts = pc.struct_field(pc.extract_regex(url, _HOST), "host").dictionary_encode()
    lookup = once_per_process(_domain_lookup, private_suffixes)
    domains = [
        lookup(host) if len(host) <= LONGEST_WRITTEN else None for host in hosts.dictionary.to_pylist()
    ]
    return pa.array(domains, pa.string()).take(hosts.indices)


def suffix_list_date() -> str | None:
    """The day that the bundled list is of, as 2025-04-07; None where it doesn't say."""
    found = _VERSION.search(pkgutil.get_data("tldextract", ".tld_set_snapshot") or b"")
    return None if found is None else found[1].decode()


def _domain_lookup(private_suffixes: bool) -> Callable[[str], str | None]:
    """A function from a host, as a URL has it, to its domain. The list takes 0.1 s to load."""
    from tldextract import TLDExtract

    extract = TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=private_suffixes)

    @lru_cache(REMEMBERED_HOSTS)
    def lookup(written: str) -> str | None:
        if written.startswith("["):
            return _ipv6(written[1:-1])
        host = _registered_form(written)
        return host and (extract.extract_str(host).top_domain_under_public_suffix or host)

    return lookup


def _ipv6(address: str) -> str | None:
    try:
        return ipaddress.IPv6Address(address).compressed
    except ValueError:
        return None


def _registered_form(host: str) -> str | None:
    """The host as ASCII in lower case without the root's dot; None where a part is empty or isn't a name.

    As browsers do it (UTS #46, without IDNA's stricter rules: there are domains of emoji).
    """
    import idna

    if not host.isascii():
        try:
            labels = idna.uts46_remap(host).split(".")
        except idna.IDNAError:
            return None
        host = ".".join(
            label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels
        )
    host = host.lower().removesuffix(".")
    return host if len(host) <= LONGEST_HOST and _LABELS.fullmatch(host) else None
