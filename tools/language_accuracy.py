"""Prints the table of docs/warc.md about detectors of languages: how many labelled documents each tells right.

    python tools/language_accuracy.py DOCUMENTS.jsonl.gz

Documents have a `text` and a `lang`, a code of ISO 639, perhaps with a region. Asked are the package's own detector
and py3langid, lingua-language-detector and resiliparse, where they are installed. All is told
twice, once without documents that the first three all take for English though they are labelled otherwise.
"""

import gzip
import importlib.util
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from beam_etl.kernels.languages import LANG, READ_CHARACTERS, detect_languages

Detector = Callable[[Sequence[str]], list[str | None]]

OWN = "fastText lid.176.ftz"
AGREEING = (OWN, "py3langid", "lingua, low accuracy")
"""What they all take for English, though it is labelled otherwise, is taken for text that wasn't translated."""

ENGLISH = "en"
SAME = {"nb": "no"}
"""Codes of labels, and what the model calls them."""


def _own(texts: Sequence[str]) -> list[str | None]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    told: list[str | None] = detect_languages(batch).column(LANG).to_pylist()
    return told


def _py3langid() -> Detector:
    import py3langid

    return lambda texts: [py3langid.classify(text)[0] for text in texts]


def _lingua() -> Detector:
    from lingua import LanguageDetectorBuilder

    made = LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()

    def detect(texts: Sequence[str]) -> list[str | None]:
        told = map(made.detect_language_of, texts)
        return [language.iso_code_639_1.name.lower() if language else None for language in told]

    return detect


def _resiliparse() -> Detector:
    from resiliparse.parse.lang import detect_fast

    return lambda texts: [detect_fast(text)[0] for text in texts]


OTHERS = {
    "py3langid": ("py3langid", _py3langid),
    "lingua, low accuracy": ("lingua", _lingua),
    "resiliparse": ("resiliparse", _resiliparse),
}
"""The module of each, and what makes the detector."""


def labelled(path: str) -> tuple[list[str], list[str]]:
    """The languages of documents that have one, without regions, and their texts as far as they are read."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["lang"]]
    codes = [row["lang"].lower().replace("_", "-").partition("-")[0] for row in rows]
    return [SAME.get(code, code) for code in codes], [row["text"][:READ_CHARACTERS] for row in rows]


def answers(texts: Sequence[str]) -> Iterator[tuple[str, list[str | None], float]]:
    """Each detector's name, what it tells, and the CPU seconds that it takes."""
    made = {name: make() for name, (module, make) in OTHERS.items() if importlib.util.find_spec(module)}
    for name, detect in {OWN: _own, **made}.items():
        detect(texts[:10])  # what is loaded or compiled once isn't counted
        start = time.process_time()
        told = [SAME.get(code or "", code) for code in detect(texts)]
        yield name, told, time.process_time() - start


class Accuracy(NamedTuple):
    """How right a detector is."""

    whole: float
    mean: float
    """Of the shares of the languages."""
    never: list[str]


def accuracy(told: Sequence[str | None], labels: Sequence[str], rows: Sequence[int]) -> Accuracy:
    """Of the documents with these numbers."""
    right = defaultdict[str, list[bool]](list)
    for row in rows:
        right[labels[row]].append(told[row] == labels[row])
    shares = [sum(each) / len(each) for each in right.values()]
    never = sorted(label for label, each in right.items() if not any(each))
    return Accuracy(sum(map(sum, right.values())) / len(rows), sum(shares) / len(shares), never)


def main(path: str) -> None:
    """Prints the table."""
    labels, texts = labelled(path)
    found = {name: (told, len(texts) / seconds) for name, told, seconds in answers(texts)}
    everything = range(len(labels))
    agreeing = [found[name][0] for name in AGREEING if name in found]
    rest = [
        row for row in everything if labels[row] == ENGLISH or any(told[row] != ENGLISH for told in agreeing)
    ]
    print(f"{len(labels):,} documents in {len(set(labels))} languages, first {READ_CHARACTERS:,} characters;")
    left_out = len(labels) - len(rest)
    print(
        f"in brackets all of them, else without {left_out} that are English by {len(agreeing)} detectors:\n"
    )
    print("| detector | documents/s | right | mean of languages | never told |\n|---|---|---|---|---|")
    for name, (told, speed) in found.items():
        some, all_ = accuracy(told, labels, rest), accuracy(told, labels, everything)
        cells = (
            f"{speed:,.0f}",
            f"{some.whole:.1%} ({all_.whole:.1%})",
            f"{some.mean:.1%} ({all_.mean:.1%})",
            ", ".join(some.never),
        )
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1])
