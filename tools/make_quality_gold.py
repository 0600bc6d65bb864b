"""Asks datatrove what it makes of documents and of generated lines; tests compare that with ours.

    PEERS/bin/python tools/make_quality_gold.py DOCUMENTS.jsonl.gz OUTPUT.json.gz

PEERS is an environment with benchmarks/peers/requirements.txt. Of real documents, English ones, only ids and verdicts
are stored; the lines are made here.
"""

import gzip
import json
import random
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_VISIBLE = r"""
the be Word x A U.S N.Y e.g Mr don't can't it's It’s I'll cannot Id ill dont o'clock 'em goin' doin let's and/or w/o
C++ rock'n'roll ’s 's 10 10km 5% 3.14 1,000 2020-01-02 8am 9p.m. 20°C 1st 4x4 0.0 100GB 5' 7m² lower.Upper ftp://x
http://example.com/a-b?c=d www.example.org a.b@example.com example.com:80/x foo_bar --flag -v a-b a--b a---b a—b x/y
x=y x:y x<y f(x) f(): argv[] a.b.c :) :-( :/ :D <3 xD (^_^) ^_^ =) ): (: o.O >.< -_- ¯\(ツ)/¯ 8) ._. . , ; : ! ? ...
.. .... … …… - -- – — ' " “ ” ‘ ’ ` ´ ( ) [ ] { } < > # ## & * ** + = == % $ US$ C$ € £ ~ / \ | ^ @ _ ° © ™ • → § № ½ ²
\n +5 5+ +x $5 5$ 5€ é naïve Ünï Привет мир 10км λόγος 中文 かな 한국어 हिन्दी עברית عربي ß ẞ 🙂 👍🏽
"""
_INVISIBLE = ("e\u0301", "\u200b", "\ufeff", "\u00a0", "\t", "\u2003", "\x1f", "\u00ad")

FRAGMENTS = (*_VISIBLE.split(), *_INVISIBLE)
"""What the rules look at: words, contractions, numbers, units, addresses, faces, marks, other scripts, odd spaces."""

LINES = 1500
LONGEST = 12
"""Fragments in a line."""


def lines(seed: int = 7) -> list[str]:
    """Fragments that touch, with blanks between some."""
    choose = random.Random(seed)
    made = []
    for _ in range(LINES):
        parts = [choose.choice(FRAGMENTS) for _ in range(choose.randint(1, LONGEST))]
        made.append("".join(part + choose.choice(("", "", " ", "  ")) for part in parts))
    return made


def verdict(check: Any, text: str, id: str) -> str:
    """Why a filter drops a text; empty if it doesn't."""
    from datatrove.data import Document

    result = check.filter(Document(text=text, id=id))
    return "" if result is True else str(result[1])


def make(documents: Path) -> dict[str, Any]:
    """What is stored: verdicts of the four filters, by document; tokens and the number of sentences, by line."""
    from datatrove.pipeline import filters
    from datatrove.utils.text import split_into_sentences, split_into_words

    checks = {
        "gopher_quality": filters.GopherQualityFilter(),
        "gopher_repetition": filters.GopherRepetitionFilter(),
        "fineweb": filters.FineWebQualityFilter(),
        "c4": filters.C4QualityFilter(),
    }
    verdicts = {}
    with gzip.open(documents, "rt", encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            if row["lang"] == "en":
                verdicts[row["id"]] = [verdict(check, row["text"], row["id"]) for check in checks.values()]
    made = [[line, split_into_words(line), len(split_into_sentences(line))] for line in lines()]
    return {"datatrove": version("datatrove"), "sets": [*checks], "verdicts": verdicts, "lines": made}


if __name__ == "__main__":
    stored = json.dumps(make(Path(sys.argv[1])), ensure_ascii=False, indent=0)
    Path(sys.argv[2]).write_bytes(gzip.compress(stored.encode(), mtime=0))
