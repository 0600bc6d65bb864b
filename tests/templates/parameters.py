"""Documents and parameters for each template: the least that a user has to give."""

import datetime
import json
from typing import Any

from tests.cloud import BUCKET
from tests.sites import site_documents
from tests.templates.image import REPOSITORY
from tests.vocabularies import SMALL

ROOT = f"gs://{BUCKET}"
WINDOW = {"window": "fixed:10m"}
SUBSCRIPTION = "projects/project/subscriptions/crawl"
TOPIC = "documents"

_INPUT = {"input": f"{ROOT}/in/*.jsonl"}
FOLDER = f"{ROOT}/given"
_CONFIG, _KNOWN, _VOCABULARY = (f"{FOLDER}/{name}" for name in ("texts.toml", "known.txt", "small.json"))
_EXTRA: dict[str, dict[str, str]] = {
    "aggregate": _INPUT,
    "compact_index": {"input": f"{ROOT}/index"},
    "curate": {**_INPUT, "config": _CONFIG},
    "decontaminate": {**_INPUT, "evaluations": _KNOWN},
    "dedup": _INPUT,
    "domain_score": _INPUT,
    "extract": _INPUT,
    "inverted_index": _INPUT,
    "join": {"left": f"{ROOT}/in/a.jsonl", "right": f"{ROOT}/in/b.jsonl", "on": "language"},
    "lines": _INPUT,
    "quantiles": {**_INPUT, "columns": "size"},
    "repartition": {**_INPUT, "partition": "hash:domain:2"},
    "sort": {**_INPUT, "by": "size:desc"},
    "token_count": _INPUT,
    "tokenize": {**_INPUT, "tokenizer": f"hf:{_VOCABULARY}"},
    "topk": {**_INPUT, "by": "size:desc"},
}
STREAMS = ("dedup", "domain_score", "inverted_index", "token_count")

REQUIRED: dict[str, dict[str, str]] = {
    **_EXTRA,
    **{f"{name}_pubsub": {"input": SUBSCRIPTION, **WINDOW} for name in STREAMS},
    **{f"{name}_kafka": {"input": f"kafka://127.0.0.1:9092/{TOPIC}", **WINDOW} for name in STREAMS},
}
"""Template -> its parameters that have no default, and their values."""
for _name, _given in REQUIRED.items():
    REQUIRED[_name] = {**_given, "output": f"{ROOT}/out/{_name}"}

GIVEN: dict[str, bytes] = {
    _CONFIG: (REPOSITORY / "examples/texts.toml").read_bytes(),
    _KNOWN: b"a text that no document has\n",
    _VOCABULARY: json.dumps(SMALL).encode(),
}
"""Files that parameters name, beside documents."""


def documents(seed: int, count: int = 60) -> list[dict[str, Any]]:
    """Documents of which every tenth is there twice, with a domain, a time and a size."""
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)

    def more(number: int) -> dict[str, Any]:
        time = (start + datetime.timedelta(seconds=number)).isoformat()
        return {"domain": f"site{number % 5}.example", "time": time, "size": number}

    return site_documents(seed, count, more)


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    """As a file."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
