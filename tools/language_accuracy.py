"""Prints the table of docs/warc.md about detectors of languages: how many labelled documents each tells right.

    python tools/language_accuracy.py DOCUMENTS.jsonl.gz

Documents have a `text` and a `lang`, a code of ISO 639, perhaps with a region. Asked are the package's own detector
and py3langid, lingua-language-detector and resiliparse, where they are installed. With the first three all is told
twice, then without documents that all of them take for English though they are labelled otherwise.
"""

import gzip
import importlib.util
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

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


def line(name: str, told: Sequence[str | None], labels: Sequence[str], seconds_each: float) -> str:
    """A row of the table."""
    right = defaultdict[str, list[bool]](list)
    for code, label in zip(told, labels, strict=True):
        right[label].append(code == label)
    mean = sum(sum(each) / len(each) for each in right.values()) / len(right)
    whole = sum(map(sum, right.values())) / len(labels)
    never = ", ".join(sorted(label for label, each in right.items() if not any(each)))
    return f"| {name} | {1 / seconds_each:,.0f} | {whole:.1%} | {mean:.1%} | {never} |"


def main(path: str) -> None:
    """Prints the tables."""
    labels, texts = labelled(path)
    found = {name: (told, seconds / len(texts)) for name, told, seconds in answers(texts)}
    everything = range(len(labels))
    asked = {f"all {len(labels):,}": list(everything)}
    if set(AGREEING) <= set(found):
        all_english = [all(found[name][0][at] == ENGLISH for name in AGREEING) for at in everything]
        rest = [at for at in everything if labels[at] == ENGLISH or not all_english[at]]
        asked[f"without {len(labels) - len(rest)} that aren't in the language of their label"] = rest
    for what, rows in asked.items():
        some = [labels[at] for at in rows]
        print(f"\n{what} documents, {len(set(some))} languages, first {READ_CHARACTERS:,} characters\n")
        print("| detector | documents/s | right | mean of languages | never told |\n|---|---|---|---|---|")
        for name, (told, seconds) in found.items():
            print(line(name, [told[at] for at in rows], some, seconds))


if __name__ == "__main__":
    main(sys.argv[1])
