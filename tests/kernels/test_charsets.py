"""A page is decoded as browsers decode it: by its byte order mark before all else."""

import codecs

import pytest

from beam_etl.kernels.charsets import charset_of, decode

MARKS = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
PAGE = "<meta charset=windows-1251>Grüße aus Köln, 10 €"


@pytest.mark.parametrize("told", [None, "ISO-8859-1", "utf-16", "utf-8"])
@pytest.mark.parametrize(("charset", "mark"), MARKS.items(), ids=MARKS)
def test_a_byte_order_mark_wins(charset: str, mark: bytes, told: str | None) -> None:
    page = mark + PAGE.encode(charset)
    assert charset_of(page, told) == charset
    assert decode(page, charset_of(page, told)) == PAGE
