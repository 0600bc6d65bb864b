"""Masking of what identifies people: e-mail addresses, and IP addresses of the public internet."""

import ipaddress
import re

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.filtering import text_of

EMAIL_MASK, IP_MASK = "<EMAIL>", "<IP>"

MASKED = "masked"
"""int32: how many addresses were masked in a text."""

_LOCAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-")
_LOCAL_CHARACTERS = 64
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}(?![A-Za-z0-9-])")

_MAY_HAVE = r"@[A-Za-z0-9]|\d\.\d{1,3}\.\d|[0-9A-Fa-f]::|::[0-9A-Fa-f]|(?::[0-9A-Fa-f]{1,4}){3}"
_IP = re.compile(r"(?<![\w.:])[0-9A-Fa-f]*[.:][0-9A-Fa-f:.]*(?![\w.:])")
_WITH_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d*")


def mask_addresses(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its texts masked (see `mask`), and `masked`, their number.

    Raises:
      KeyError: there is no text.
    """
    text = text_of(batch)
    may = pc.fill_null(pc.match_substring_regex(text, _MAY_HAVE), False)
    counts = [0] * batch.num_rows
    if pc.any(may).as_py():
        texts = text.to_pylist()
        for row in pc.indices_nonzero(may).to_pylist():
            texts[row], counts[row] = mask(texts[row])
        text = pa.array(texts, text.type)
    place = batch.schema.get_field_index(schema.TEXT)
    batch = batch.set_column(place, batch.schema.field(place), text)
    if MASKED in batch.schema.names:
        batch = batch.drop_columns([MASKED])
    return batch.append_column(MASKED, pa.array(counts, pa.int32()))


def mask(text: str) -> tuple[str, int]:
    """A text with EMAIL_MASK and IP_MASK in place of addresses, and their number.

    An e-mail address is the longest run of ASCII letters, digits and ._%+- before an @, of up to 64 characters, and
    behind it labels of letters, digits and inner hyphens between dots, the last of two letters at least.

    An IP address is a run of hexadecimal digits, dots and colons that reads as one, without those that end a sentence;
    or an IPv4 address with a port, which stays. It stands beside no letter, digit or underscore. Only those are masked
    that are global by the registries of IANA: private, local and documentation addresses stay.
    """
    text, emails = _mask_emails(text)
    found = 0

    def masked(match: re.Match[str]) -> str:
        nonlocal found
        whole = match[0]
        port = _WITH_PORT.fullmatch(whole)
        address = port[1] if port else whole.rstrip(".:") if not whole.endswith("::") else whole
        if not _is_public(address):
            return whole
        found += 1
        return IP_MASK + whole[len(address) :]

    text = _IP.sub(masked, text)
    return text, emails + found


def _mask_emails(text: str) -> tuple[str, int]:
    pieces, done, found = [], 0, 0
    at = text.find("@")
    while at >= 0:
        start = at
        while start > done and at - start < _LOCAL_CHARACTERS and text[start - 1] in _LOCAL:
            start -= 1
        domain = _DOMAIN.match(text, at + 1) if start < at else None
        if domain is not None:
            pieces += [text[done:start], EMAIL_MASK]
            done, found = domain.end(), found + 1
        at = text.find("@", max(at + 1, done))
    return ("".join([*pieces, text[done:]]), found) if found else (text, 0)


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
