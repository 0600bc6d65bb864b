"""The signals of a text in plain Python, as docs/signals.md defines them."""

import re
import string
import unicodedata
from collections import Counter

from tests.english_oracle import ends_sentences, sentences, tokens

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
OTHER_SYMBOLS = "«´»–—’“”„…∶━►、。〈〉《》「」【】！％（），．１：；？～"
REFERENCE = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICIES = (
    *("terms of use", "privacy policy", "cookie policy"),
    *("uses cookies", "use of cookies", "use cookies"),
)


def terminal(character: str) -> bool:
    return character in "។៕៖៙៚" or ends_sentences(character)


def symbol(character: str) -> bool:
    return (
        character in string.punctuation + OTHER_SYMBOLS
        or terminal(character)
        or (unicodedata.category(character) == "Cc" and character not in "\t\n")
    )


def ascii_lower(text: str) -> str:
    return "".join(character.lower() if character.isascii() else character for character in text)


def duplicates(pieces: list[str]) -> tuple[int, int]:
    """Pieces that were there before, and their characters."""
    seen: set[str] = set()
    again = []
    for piece in pieces:
        if piece in seen:
            again.append(piece)
        seen.add(piece)
    return len(again), sum(map(len, again))


def top(found: list[str], n: int) -> int:
    grams = Counter(tuple(found[at : at + n]) for at in range(len(found) - n + 1))
    if not grams:
        return 0
    gram, count = max(grams.items(), key=lambda item: item[1])  # the first of equal ones
    return len(" ".join(gram)) * count


def repeated(found: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    characters = at = 0
    while at + n <= len(found):
        gram = tuple(found[at : at + n])
        if gram in seen:
            characters += sum(map(len, gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return characters


def c4(text: str) -> dict[str, int]:
    fates = Counter[str]()
    for whole in text.splitlines():
        line = whole.strip()
        words = line.split()
        line = REFERENCE.sub("", line)
        lower = ascii_lower(line)
        if any(len(word) > 1000 for word in words):
            fates["c4_long_word_lines"] += 1
        elif not line.endswith((".", "?", "!", '"', "'")) or line.endswith("..."):
            fates["c4_unpunctuated_lines"] += 1
        elif len(words) < 3:
            fates["c4_short_lines"] += 1
        elif "lorem ipsum" in lower:
            fates["c4_lorem_ipsum_lines"] += 1
        elif "javascript" in lower:
            fates["c4_javascript_lines"] += 1
        elif "{" in line:
            fates["c4_brace_lines"] += 1
        elif any(phrase in lower for phrase in POLICIES):
            fates["c4_policy_lines"] += 1
        else:
            fates["c4_kept_lines"] += 1
            fates["c4_sentences"] += sentences(line)
    return fates


def signals(text: str) -> dict[str, int]:
    """All of them, by name; those that are 0 may be absent."""
    found = tokens(text)
    words = [word for word in found if not all(map(symbol, word))]
    lines = text.splitlines()
    cut = re.split("\n+", text)
    filled = [line for line in cut if line.strip()]
    paragraphs = re.split("\n{2,}", text.strip())
    out = {
        "bytes": len(text.encode()),
        "characters": len(text),
        "line_characters": len(text.replace("\n", "")),
        "new_lines": text.count("\n"),
        "tokens": len(found),
        "words": len(words),
        "word_characters": sum(map(len, words)),
        "letter_tokens": sum(any(map(str.isalpha, word)) for word in found),
        "stop_words": len(STOP_WORDS & set(found)),
        "hash_signs": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "lines": len(lines),
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "cut_lines": len(cut),
        "filled_lines": len(filled),
        "punctuated_lines": sum(terminal(line[-1]) for line in filled),
        "short_lines": sum(len(line) <= 30 for line in filled),
        "duplicate_filled_line_characters": duplicates(filled)[1],
        "paragraphs": len(paragraphs),
    }
    out["duplicate_lines"], out["duplicate_line_characters"] = duplicates(cut)
    out["duplicate_paragraphs"], out["duplicate_paragraph_characters"] = duplicates(paragraphs)
    out |= {f"top_{n}gram_characters": top(found, n) for n in (2, 3, 4)}
    out |= {f"duplicate_{n}gram_characters": repeated(found, n) for n in range(5, 11)}
    return out | c4(text)
