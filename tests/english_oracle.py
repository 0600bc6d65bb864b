"""English tokens in plain Python: the rules as regular expressions, applied the way that spaCy describes them."""

import unicodedata
from collections.abc import Iterator

import regex

from beam_etl.kernels.exception_table import UNITS
from beam_etl.kernels.word_exceptions import exceptions

LETTER = r"[\p{L}\p{M}--[\u0300-\u036f\u00aa\u00b5\u00ba]]"
LOWER = r"[\p{Ll}\p{Lo}\p{M}--[\u0300-\u036f\u00aa\u00b5\u00ba]]"
UPPER = r"[\p{Lu}\p{Lt}\p{Lo}\p{M}--[\u0300-\u036f\u00aa\u00b5\u00ba]]"
QUOTES = "'\"`´‘’“”‚„,»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
MARKS = ",:;!?()[]{}<>_#*&¡·¿؛؟٪۔।،。、！，：；？～…" + QUOTES
MONEY = r"(?:US|[AC])?\$|[£¥฿﷼\u20a0-\u20bf]"


def one_of(characters: str) -> str:
    return "[" + "".join(map(regex.escape, characters)) + "]"


def pattern(*parts: str) -> regex.Pattern[str]:
    return regex.compile("|".join(parts), regex.V1)


UNIT = "|".join(map(regex.escape, sorted(UNITS.split(), key=len, reverse=True)))
OPENING = pattern(rf"[§%=—–]|\+(?![0-9])|{one_of(MARKS)}|\.\.+|{MONEY}|\p{{So}}")
CLOSING = pattern(
    *(rf"{one_of(MARKS + '—–')}$", "……$", r"\.\.+$", r"\p{So}$", "['’][sS]$", r"(?<=[0-9])\+$"),
    *(r"(?<=°[FfCcKk])\.$", rf"(?<=[0-9])(?:{MONEY}|{UNIT})$"),
    *(rf"(?<=[0-9%²\-+|]|{LOWER}|{one_of(MARKS)})\.$", rf"(?<={UPPER}{UPPER})\.$"),
)
INSIDE = pattern(
    *(r"\.\.+", "…", r"\p{So}", r"(?<=[0-9])[+\-*^](?=[0-9-])"),
    rf"(?<={LOWER}|{one_of(QUOTES)})\.(?={UPPER}|{one_of(QUOTES)})",
    rf"(?<={LETTER}),(?={LETTER})",
    rf"(?<={LETTER}|[0-9])(?:-{{1,3}}|–|—{{1,2}}|~)(?={LETTER})",
    rf"(?<={LETTER}|[0-9])[:<>=/](?={LETTER})",
)
HOST = r"[A-Za-z0-9\u00a1-\uffff]"
URL = regex.compile(
    rf"(?:[\w+\-.]{{2,}}://)?(?:\S+@)?(?:(?:{HOST}(?:{HOST}|[_-]){{0,62}})?{HOST}\.)+{LOWER}{{2,63}}"
    r"(?::\d{2,5})?(?:[/?#]\S*)?",
    regex.V1,
)


def tokens(text: str) -> list[str]:
    """The tokens of a text."""
    return [token for run in text.split() for token in joined(list(split_run(run, exceptions())))]


def split_run(run: str, known: dict[str, tuple[int, ...]]) -> Iterator[str]:
    """The tokens of a run without spaces, before those that make an exception together are joined."""
    behind: list[str] = []
    while run and run not in known:
        found = OPENING.match(run)
        opening = found.end() if found else 0
        if opening and run[opening:] in known:
            yield run[:opening]
            run = run[opening:]
            break
        found = CLOSING.search(run[opening:])
        closing = len(found[0]) if found else 0
        if closing and run[: len(run) - closing] in known:
            behind.append(run[len(run) - closing :])
            run = run[: len(run) - closing]
            break
        if not opening and not closing:
            break
        if opening:
            yield run[:opening]
        if closing:
            behind.append(run[len(run) - closing :])
        run = run[opening : len(run) - closing]
    if run in known:
        yield from cut(run, known[run])
    elif run:
        yield from split_inside(run)
    yield from reversed(behind)


def cut(run: str, lengths: tuple[int, ...]) -> Iterator[str]:
    for length in lengths:
        yield run[:length]
        run = run[length:]


def split_inside(run: str) -> Iterator[str]:
    start = 0
    if not URL.fullmatch(run):
        for found in INSIDE.finditer(run):
            if found.start() == 0:
                continue
            if found.start() > start:
                yield run[start : found.start()]
            yield found[0]
            start = found.end()
    if start < len(run):
        yield run[start:]


UNJOINED = {text: list(split_run(text, {})) for text in exceptions()}
"""What exceptions would be cut into if they were none."""


def joined(found: list[str]) -> list[str]:
    """Longest first, then from the left; what loses keeps its tokens from others."""
    spans = [
        (first, first + length)
        for length in range(len(found), 1, -1)
        for first in range(len(found) - length + 1)
        if UNJOINED.get("".join(found[first : first + length])) == found[first : first + length]
    ]
    taken: set[int] = set()
    chosen = {}
    for first, last in spans:
        if first not in taken and last - 1 not in taken:
            chosen[first] = last
        taken.update(range(first, last))
    out: list[str] = []
    at = 0
    while at < len(found):
        if at in chosen:
            text = "".join(found[at : chosen[at]])
            out += cut(text, exceptions()[text])
            at = chosen[at]
        else:
            out.append(found[at])
            at += 1
    return out


NOT_YET_TERMINAL = "\u2024\u2cf9\u2cfa\u2cfb\ufe12\ufe15\ufe16"
"""Sentence_Terminal since Unicode 15.1 or later, of which regex is."""


def ends_sentences(token: str) -> bool:
    """Whether it is one character that does."""
    return token not in NOT_YET_TERMINAL and regex.fullmatch(r"\p{Sentence_Terminal}", token) is not None


def sentences(text: str) -> int:
    """Sentences of a line, counted over its tokens; all spaces but a single blank are tokens too."""
    found, ended = 1, False
    for part in regex.findall(r"\s+|\S+", text):
        if part == " ":
            continue
        whole = [part] if part.isspace() else tokens(part)
        for token in whole:
            ends = ends_sentences(token)
            marks = all(unicodedata.category(letter).startswith("P") for letter in token)
            if ended and not ends and not marks:
                found, ended = found + 1, False
            elif ends:
                ended = True
    return found
