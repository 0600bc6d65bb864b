"""Masking of what identifies people: e-mail addresses, and IP addresses of the public internet."""

import ipaddress
import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.filtering import text_of
from beam_etl.kernels.html import TITLE

EMAIL_MASK, IP_MASK = "<EMAIL>", "<IP>"

MASKED = "masked"
"""int32: how many addresses were masked in a text and its title."""

_LOCAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-")
_LOCAL_BEYOND = re.compile(
    "[\u0080-\u0dff\u10a0-\u13ff\u1c80-\u1fff\u2c00-\u2dff\ua640-\ua7ff\uab30-\uab6f\uac00-\ud7a3]"
)
"""Blocks of the scripts that set words apart. Before an address in Chinese, Thai or Khmer the sentence would go too."""
_LOCAL_CHARACTERS = 64
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}(?![A-Za-z0-9-])")

_MAY_HAVE = r"@[A-Za-z0-9]|\d\.\d{1,3}\.\d|[0-9A-Fa-f]::|::[0-9A-Fa-f]|(?::[0-9A-Fa-f]{1,4}){3}"
_IP = re.compile(r"(?<![\w.:])[0-9A-Fa-f]*[.:][0-9A-Fa-f:.]*(?![\w.:])")
_WITH_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+")


def mask_addresses(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its texts masked (see `mask`), its titles where it has them, and `masked`, how many in both.

    Raises:
      KeyError: there is no text.
    """
    counts = [0] * batch.num_rows
    columns = {schema.TEXT: text_of(batch)}
    if TITLE in batch.schema.names and _is_text(batch.schema.field(TITLE).type):
        columns[TITLE] = batch.column(TITLE)
    for name, column in columns.items():
        place = batch.schema.get_field_index(name)
        field = batch.schema.field(place)
        masked = _mask_column(_plain(column), counts)
        batch = batch.set_column(place, field, masked.cast(field.type))
    if MASKED in batch.schema.names:
        batch = batch.drop_columns([MASKED])
    return batch.append_column(MASKED, pa.array(counts, pa.int32()))


def _is_text(kind: pa.DataType) -> bool:
    """A carried title may be of any type."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _plain(column: pa.Array) -> pa.Array:
    """Texts, which may be in a dictionary."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _mask_column(column: pa.Array, counts: list[int]) -> pa.Array:
    """The column masked; adds to `counts` how often each row was."""
    may = pc.fill_null(pc.match_substring_regex(column, _MAY_HAVE), False)
    if not pc.any(may).as_py():
        return column
    values = column.to_pylist()
    for row in pc.indices_nonzero(may).to_pylist():
        values[row], found = mask(values[row])
        counts[row] += found
    return pa.array(values, column.type)


def mask(text: str) -> tuple[str, int]:
    """A text with EMAIL_MASK and IP_MASK in place of addresses, and their number.

    An e-mail address is the longest run of letters, ASCII digits and ._%+- before an @, of up to 64 characters, and
    behind it labels of ASCII letters, digits and inner hyphens between dots, the last of two letters at least. Letters
    are those of all scripts that set words apart, with marks on them.

    An IP address is a run of hexadecimal digits, dots and colons that reads as one, or as one of IPv4 with a port,
    which stays; dots and colons that end a sentence stay as well. It stands beside no letter, digit or underscore. Only
    those are masked that are global by the registries of IANA: private, local and documentation addresses stay.

    Source: RFC 5322, section 3.4.1, and RFC 6531, section 3.3 (letters beyond ASCII before the @).
    """
    text, emails = _mask_emails(text)
    found = 0

    def masked(match: re.Match[str]) -> str:
        nonlocal found
        whole = match[0]
        bare = whole.rstrip(".:")
        port = _WITH_PORT.fullmatch(bare)
        ends = [f"{bare}::"] if whole.startswith("::", len(bare)) else []
        address = next(filter(_is_public, [port[1]] if port else [*ends, bare]), None)
        if address is None:
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
        while (
            start > done
            and at - start < _LOCAL_CHARACTERS
            and (text[start - 1] in _LOCAL or _is_letter_beyond(text[start - 1]))
        ):
            start -= 1
        domain = _DOMAIN.match(text, at + 1) if start < at else None
        if domain is not None:
            pieces += [text[done:start], EMAIL_MASK]
            done, found = domain.end(), found + 1
        at = text.find("@", max(at + 1, done))
    return ("".join([*pieces, text[done:]]), found) if found else (text, 0)


def _is_letter_beyond(character: str) -> bool:
    """Whether it is a letter that ASCII lacks, or a mark, as in müller@example.de."""
    return _LOCAL_BEYOND.match(character) is not None and unicodedata.category(character)[0] in "LM"


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
