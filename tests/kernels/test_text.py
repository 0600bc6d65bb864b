"""Words against a reference in plain Python: unicodedata, str.lower and re of this interpreter, and regex.

The regex that the lock file names is of Unicode 18, the interpreter of 13 to 15.1, the tokeniser's table of
15.0, so that they are asked about the characters that all three know. (Their classes haven't changed.)
"""

import re
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from beam_etl.kernels.text import count_characters, count_words, words
from beam_etl.kernels.unicode_table import CODE_POINTS, RULES, SPACELESS_SCRIPTS

UNICODE_15_1 = (range(0x2EBF0, 0x2EE5E), range(0x2FFC, 0x3000), range(0x31EF, 0x31F0))
"""What Python 3.13 knows beyond the table."""
CHANGED = 0x1734
"""The one character that Python 3.10 knows otherwise: Unicode 14 made it a spacing mark."""
KNOWN = [
    chr(point)
    for point in range(CODE_POINTS)
    if unicodedata.category(chr(point)) not in ("Cn", "Cs")
    and point != CHANGED
    and not any(point in new for new in UNICODE_15_1)
]

SPACELESS = "".join(rf"\p{{scx={script}}}" for script in SPACELESS_SCRIPTS)
ALONE = rf"[[\p{{Alphabetic}}&&[{SPACELESS}]]--[\p{{M}}\p{{Nd}}\p{{scx=Latin}}\p{{scx=Cyrillic}}]]"
PATTERNS = {
    "words": regex.compile(rf"{ALONE}[\p{{M}}\p{{Join_Control}}]*|[\w--{ALONE}]+", regex.V1),
    "python": re.compile(r"\w+"),
    "alphanumeric": re.compile(r"[^\W_]+"),
}


def reference(text: str, rule: str = "words") -> list[str]:
    found: list[str] = PATTERNS[rule].findall(unicodedata.normalize("NFC", text).lower())
    return found


CONTEXTS = (
    "{0} a{0}b 東{0}京{0}b {0}{0} \u0301{0}\u0301 a{0}\u0307 "
    "A{0}Σ 1{0}Σ aΣ{0} aΣ{0}b Σ{0}Σ _{0}7 {0}\u200d{0}"
)
"""One character alone, in words, between marks, and where it decides whether a sigma is a final one."""


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_every_character_in_context(rule: str) -> None:
    texts = [
        " . ".join(CONTEXTS.format(character) for character in KNOWN[first : first + 256])
        for first in range(0, len(KNOWN), 256)
    ]
    counts = count_words(pa.array(texts), rule).tolist()
    for text, found, count in zip(texts, words(pa.array(texts), rule), counts, strict=True):
        expected = reference(text, rule)
        assert found.as_py() == expected
        assert count == len(expected)


LANGUAGES = {
    "English": ("It's 3.14, don't e-mail snake_case!", "it s 3 14 don t e mail snake_case"),
    "German": ("STRASSE Straße ẞ", "strasse straße ß"),
    "French, decomposed": ("Un cafe\u0301 a\u0300 Cholet", "un caf\u00e9 \u00e0 cholet"),
    "Greek, final sigma": ("ΟΔΥΣΣΕΥΣ ΚΑΙ Σ ΣΑΣ.", "οδυσσευς και σ σας"),
    "Turkish, dotted capital": ("İSTANBUL Iğdır", "i\u0307stanbul iğdır"),
    "Russian": ("Съешь же ещё этих булок", "съешь же ещё этих булок"),
    "Hindi": ("हिन्दी में लिखा हुआ पाठ।", "हिन्दी में लिखा हुआ पाठ"),
    "Hindi, nukta composed": ("स\u095cक", "स\u0921\u093cक"),
    "Tamil": ("தமிழ் மொழி", "தமிழ் மொழி"),
    "Arabic, marks in another order": ("السلا\u064eم\u0651\u064e", "السلا\u064eم\u064e\u0651"),
    "Arabic, digits": ("عام ٢٠٢٤، عليكم", "عام ٢٠٢٤ عليكم"),
    "Persian, non-joiner": ("می\u200cخواهم بروم", "می\u200cخواهم بروم"),
    "Hebrew": ("שָׁלוֹם עולם", "שָׁלוֹם עולם"),
    "Chinese": ("我爱北京2024年。", "我 爱 北 京 2024 年"),
    "Chinese, zero": ("二〇二四", "二 〇 二 四"),
    "Japanese": ("スーパーで買い物。", "ス ー パ ー で 買 い 物"),
    "Japanese, decomposed": ("か\u3099き", "が き"),
    "Japanese, variant": ("葛\U000e0100城\U000e0100ab", "葛\U000e0100 城\U000e0100 ab"),
    "Japanese, halfwidth": ("ｶﾀｶﾅ", "ｶ ﾀ ｶ ﾅ"),
    "Korean": ("한국어 문장", "한국어 문장"),
    "Korean, decomposed": ("\u1112\u1161\u11ab", "한"),
    "Thai": ("ผมชอบกินน้ำ ๒๕๖๗ จาน", "ผ ม ช อ บ กิ น น้ ำ ๒๕๖๗ จ า น"),
    "Lao": ("ພາສາລາວ", "ພ າ ສ າ ລ າ ວ"),
    "Khmer": ("ភាសា", "ភា សា"),
    "Burmese": ("မြန်မာ", "မြ န် မာ"),
    "Tibetan, tsheg": ("བོད་ཡིག", "བོད ཡིག"),
    "mixed": ("iPhone手机和Café", "iphone 手 机 和 café"),
    "numerals and symbols": ("Ⅷ Ⓐ x² ½ €5 👍🏽", "ⅷ ⓐ x 5"),
    "no letters": ("… — 👍🏽 \u0000", ""),
}


@pytest.mark.parametrize(("text", "expected"), LANGUAGES.values(), ids=LANGUAGES)
def test_words_of_languages(text: str, expected: str) -> None:
    assert words(pa.array([text])).to_pylist() == [expected.split()]


@pytest.mark.parametrize(
    ("rule", "expected"),
    {
        "words": ["हिन्दी", "snake_case", "ⅷ", "x", "東", "京"],
        "python": ["ह", "न", "द", "snake_case", "ⅷ", "x²", "東京"],
        "alphanumeric": ["ह", "न", "द", "snake", "case", "ⅷ", "x²", "東京"],
    }.items(),
)
def test_rules_differ(rule: str, expected: list[str]) -> None:
    assert words(pa.array(["हिन्दी snake_case Ⅷ x² 東京"]), rule).to_pylist() == [expected]


LIKELY = (
    "aAzZ09_ .-'ıİſΣσςßǅéÅ\u00ad\u0301\u0307\u0323\u0345\u200c\u200d\u2019"
    "東ひカーﾞ々〇กำ้๒ကြकि\u093c가\u1100\u1161\u11a8𝐀𞤀\ufffd"
)
CHARACTERS = st.sampled_from(LIKELY) | st.sampled_from(KNOWN)
TEXTS = st.lists(st.none() | st.text(CHARACTERS), max_size=8)
LAYOUTS = {
    "string": lambda texts: pa.array(texts, pa.string()),
    "large_string": lambda texts: pa.array(texts, pa.large_string()),
    "string_view": lambda texts: pa.array(texts, pa.string_view()),
    "dictionary": lambda texts: pa.array(texts, pa.string()).dictionary_encode(),
    "slice": lambda texts: pa.array(["Σ", *texts, "é"], pa.large_string())[1:-1],
    "short slice": lambda texts: pa.array([None, *texts, "é"], pa.string())[1:-1],
}


@given(TEXTS, st.sampled_from(sorted(LAYOUTS)), st.sampled_from(RULES))
@example([], "string", "words")
@example([], "large_string", "words")
@example([None, ""], "slice", "words")
@example(["cafe\u0301s", "cafes"], "string", "python")
@example(["a", None, "A\u0327\u0301 ΑΣ", ""], "slice", "words")
def test_any_texts_in_any_layout(texts: list[str | None], layout: str, rule: str) -> None:
    array = LAYOUTS[layout](texts)
    expected = [None if text is None else reference(text, rule) for text in texts]
    found = words(array, rule)
    found.validate(full=True)
    assert found.to_pylist() == expected
    assert count_words(array, rule).tolist() == [len(each or ()) for each in expected]
    assert count_characters(array).tolist() == [len(text or "") for text in texts]


def test_bytes_below_a_null_are_no_words() -> None:
    offsets = pa.array([0, 3, 6, 9], pa.int64()).buffers()[1]
    array = pa.LargeStringArray.from_buffers(
        3, offsets, pa.py_buffer(b"oneda\xcc two"), pa.py_buffer(b"\x05")
    )
    assert array.null_count == 1
    assert words(array).to_pylist() == [["one"], None, ["tw"]]
    assert count_words(array).tolist() == [1, 0, 1]


@given(st.lists(st.binary(max_size=12) | st.text(CHARACTERS, max_size=3).map(str.encode), max_size=6))
@example([b"\xce", b"\xa3", b"a\xce\xa3", b"\xa3b"])
@example([b"\xf0\x9d\x90", b"\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80"])
def test_bytes_that_are_no_utf8_end_words_and_rows_stay_apart(rows: list[bytes]) -> None:
    binary = pa.array(rows, pa.large_binary())
    array = pa.LargeStringArray.from_buffers(len(rows), *binary.buffers()[1:])
    expected = [reference(row.decode(errors="replace")) for row in rows]
    assert words(array).to_pylist() == expected
    assert count_words(array).tolist() == [len(each) for each in expected]


ENDLESS = {
    "marks on a letter": ("q" + "\u0300" * 500_000, 1),
    "marks without a letter": ("\u0301" * 500_000, 1),
    "sigmas": ("Σ" * 500_000, 1),
    "sigmas among ignorable characters": ("Σ'" * 500_000, 500_000),
    "an ignorable run before a sigma": ("A" + "\u00ad" * 500_000 + "Σ", 2),
    "a word": ("a" * 3_000_000, 1),
    "trailing bytes": ("ж" * 500_000, 1),
}


@pytest.mark.parametrize(("text", "expected"), ENDLESS.values(), ids=ENDLESS)
def test_a_long_text_takes_no_longer_than_many_short_ones(text: str, expected: int) -> None:
    """By ending at all: work that grows with the square of the length would take an hour."""
    assert len(words(pa.array([text]))[0]) == count_words(pa.array([text]))[0] == expected


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_words_of_real_documents(rule: str, webtext: list[dict[str, Any]]) -> None:
    known = set(KNOWN)
    texts = [
        document["text"] for document in webtext[:: len(RULES) * 3] if known.issuperset(document["text"])
    ]
    assert len(texts) > 400
    for text, found in zip(texts, words(pa.array(texts), rule), strict=True):
        assert found.as_py() == reference(text, rule)


def test_an_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no word rule 'word'; there are words, python, alphanumeric"):
        count_words(pa.array(["a"]), "word")


def test_other_columns_are_refused_by_type() -> None:
    with pytest.raises(TypeError, match="text must be a string array, not int64"):
        count_words(pa.array([1]))
