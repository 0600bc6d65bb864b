"""A fixed sample of text that token counters disagree on when they disagree at all."""

import unicodedata

import pyarrow as pa

from beam_etl.kernels.vocabularies import HUGGING_FACE, Vocabulary

_TEXTS = (
    "",
    " ",
    "Hello, world! It's a test; isn't it? THEY'LL'VE WE'RE I'M you'd 'Tis o'Clock L'\u0130stanbul 'ſ 'S",
    "don\u2019t we\u2019ll \u2018quoted\u2019 \u201cdouble\u201d \u00abguillemets\u00bb",
    "<|endoftext|> a<|endoftext|>b <|fim_prefix|><|endofprompt|> <s></s><unk>[CLS] [SEP][UNK][PAD] <mask>",
    "0 1 12 123 1234 12345 1234567890 3.14159 1,000,000 1e-10 0xDEADbeef ١٢٣٤٥ १२३४ ²³¼½ Ⅷ ①②③ 12ab34",
    "line\nline\n\nline\r\nline\r\n\r\n\n  \n \t\n\tindented\n    four\n        eight   \n",
    "a  b   c    d     e      f       g        h" + " " * 30 + "i" + " " * 90 + "j \t k\t\t\tl  ",
    "   leading, trailing   ",
    "\u00a0no\u00a0break\u2003em\u2009thin\u3000wide\u200bzero\u200d\u2028line\u2029paragraph\u0085next\x0b\x0c\x1c\x1d\x1f",
    "\ufeffbom \u200ejust\u200f \u202eoverride\u202c \x00nul\x01\x7f\x80\x9f\ufffd\ufffe\uffff",
    "def f(x):\n\treturn {'a': [1, 2], \"b\": x**2 // 3 != 4}  # comment\n\n\nclass A_b9(C): ...\n",
    "camelCase PascalCase HTMLParser snake_case SCREAMING_CASE kebab-case XMLHttpRequest2 iPhone McDonald's",
    "https://user:pw@example.com:8080/a/b.html?q=1&r=%20#frag me@example.org C:\\dir\\file.txt ../x/./y//z",
    "!!!??? ... --- === *** ### ``` ~~~ ||| <<>> [[]] {{}} (()) @#$%^&*_+-=/\\|'\"`;:,.<>",
    "naïve café nai\u0308ve cafe\u0301 Ångström A\u030angstro\u0308m s\u0323\u0307 ﬁﬂ ß ẞ ı İ ǅ",
    "Привет, мир! Ёлка їжак Ελληνικά ΣΊΣΥΦΟΣ σίσυφος ς Հայերեն ქართული",
    "שלום עולם مرحبا بالعالم الْعَرَبِيَّةُ فارسی اردو",
    "नमस्ते दुनिया বাংলা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം ไทยไม่มีช่องว่าง ລາວ မြန်မာ ខ្មែរ བོད་ཡིག",
    "你好，世界！中文没有空格。日本語のテキスト、カタカナ。ｶﾅ ﾊﾟ 𠮷野家 〇一二",
    "한국어 텍스트 \u1112\u1161\u11ab ㅎㅏㄴ",
    "😀😃 👍🏽 👨\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇩🇪🇯🇵 1️⃣ ☃️ ☃ e\u20dd 🫠",
    "𝕳𝖊𝖑𝖑𝖔 𝟘𝟙 ｆｕｌｌ ｗｉｄｔｈ Ａ１ ℌ ℵ Å K ™ ℃ ㎏ ︎ \U000e0041\U000f0000\U0010ffff",
    "e\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308 Z͑ͫ̓a̴̵̶l̷̸g҉o \u0301x \u0903 a\u0903 \u20e3",
    "a\u07fd\u0301 a\u0897\u0323\u0301 \U0001611e\U0001611e \U000113c2\U000113c2",  # of later Unicodes
    "a" * 300 + " " + "A" * 70 + " " + "ab" * 100 + " " + "\u00e9" * 40 + " " + "漢" * 70 + " " + "9" * 100,
    "=" * 100 + "\n" + "-" * 79 + "\n" + "\n" * 40 + "\r" * 20 + "\t" * 20 + "_" * 50 + "." * 50,
    "dGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVy/+== 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c",
)

_STRIDE = 127
"""Of all code points every 127th: 8,700 of them, counted in some 30 ms by the slowest reference."""

_MAX_ADDED = 64
"""Added tokens that are tried in context. Vocabularies have a thousand that differ in a number only."""


def hostile_sample(vocabulary: Vocabulary) -> pa.Array:
    """Some thousand texts: picked ones, code points of all planes, the added tokens in context."""
    points = [chr(point) for point in range(0, 0x110000, _STRIDE) if not 0xD800 <= point < 0xE000]
    texts = [*_TEXTS, *(unicodedata.normalize("NFD", text) for text in _TEXTS)]
    texts += [
        "x".join(points[at : at + 8]) + " " + " ".join(points[at : at + 8]) for at in range(0, len(points), 8)
    ]
    for added in _added(vocabulary):
        texts += [added, f"a{added}b", f" {added} {added}{added}\n{added}", added.upper(), added[:-1]]
        texts += [unicodedata.normalize("NFC", added)]
    return pa.array(texts, pa.large_string())


def _added(vocabulary: Vocabulary) -> list[str]:
    if vocabulary.kind != HUGGING_FACE:
        return []
    tokens = [token["content"] for token in vocabulary.tokenizer().get("added_tokens") or []]
    return tokens if len(tokens) <= _MAX_ADDED else tokens[: _MAX_ADDED // 2] + tokens[-_MAX_ADDED // 2 :]
