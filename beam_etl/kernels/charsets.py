"""In which encoding a page is: as its server says, as it says itself, or as its bytes look."""

from functools import lru_cache

DETECTED_BYTES = 128 << 10
"""A detector looks at the start and the end of a page, half of this each."""

_NAME_CHARACTERS = 100
"""More than any name of the standard has, with what may stand around it. Servers say what they like."""

_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xfe\xff": "utf-16-be", b"\xff\xfe": "utf-16-le"}
"""Byte order marks."""


def charset_of(page: bytes, told: str | None) -> str:
    """The encoding of a page, by a name that Python knows.

    Args:
      page: HTML, or other text.
      told: what the HTTP header says; None where it says nothing. A name that the encoding standard lacks is nothing.

    Returns:
      What a byte order mark says; else what was told; else what a <meta> in the first 1,024 bytes tells; else what a
      detector finds, which is utf-8 where it finds nothing. Names are mapped as browsers do (latin1 is cp1252).

    Source: WHATWG Encoding, sections 4.2 and 6 (decode: the mark wins); uchardet through resiliparse.
    """
    from resiliparse.parse.encoding import detect_encoding

    marked = next((charset for mark, charset in _MARKS.items() if page.startswith(mark)), None)
    known = marked or (_known(told) if told and len(told) <= _NAME_CHARACTERS else None)
    found: str = known or detect_encoding(page, max_len=DETECTED_BYTES, from_html_meta=True)
    return found


def decode(page: bytes, charset: str) -> str:
    """The page as text. One that isn't of its charset is tried as UTF-8 and cp1252; what fits none is left out."""
    from resiliparse.parse.encoding import bytes_to_str

    text: str = bytes_to_str(page, charset)
    return text


@lru_cache(maxsize=1000)
def _known(name: str) -> str | None:
    from resiliparse.parse.encoding import map_encoding_to_html5

    found: str | None = map_encoding_to_html5(name.strip(" \t\"'"), fallback_utf8=False)
    return found
