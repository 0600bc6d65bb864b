"""The pipelines by name. Nothing is imported here: listing them takes no Beam."""

import logging
from collections.abc import Mapping

PIPELINES: Mapping[str, str] = {
    "aggregate": "counts, sums, limits, distinct values and quantiles of groups of rows",
    "append": "another try for what a run could not add to a dataset",
    "check_index": "whether an inverted index is sound, and has what the documents have",
    "clean": "a dataset without old versions, and without what runs left that died",
    "compact": "a dataset with fewer, larger files, though others add to it",
    "compact_index": "several inverted indexes as one, without the documents that were removed",
    "curate": "from a crawl to a corpus: all steps in one job, from one file, and what each left",
    "decontaminate": "documents without those that share words with evaluation sets, or without these words",
    "dedup": "documents without their near-duplicates or exact duplicates, and a record of each removal",
    "describe": "what a dataset has: schema, partitions and their sizes, versions",
    "domain_score": "a quality score for each domain, and the documents of those that are good enough",
    "extract": "the documents of a crawl: text of pages, title, language, filtered, and a record of each removal",
    "index_segments": "the segments of an index that a stream published, as indexes to search",
    "inverted_index": "which documents have a word, how often, and where",
    "join": "rows of two inputs that have equal keys",
    "lines": "documents without the lines or paragraphs that repeat, and a record of each edit",
    "quantiles": "quantiles of columns, exact or to within 0.4%, of everything or of groups",
    "repartition": "the documents in partitions: by hash, range, time or value, in order inside",
    "score_windows": "scores of domains as of each window, from what domain_score counted by window",
    "search": "the documents of an inverted index that answer a query best",
    "show": "rows of a dataset in the terminal; what was removed, beside what was kept for it",
    "sort": "the documents in a global order",
    "token_count": "documents, bytes, characters and tokens of each language, domain, date or source file",
    "tokenize": "documents as token ids in a shuffled order, in shards to train with",
    "topk": "the first documents in an order",
    "verify": "whether a dataset is as it was written, every byte of every file",
}
"""Module of this package -> what it gives, in a line. Each has `run(argv) -> int`, the exit code."""


def _is_news(record: logging.LogRecord) -> bool:
    return "apitools not found" not in record.getMessage()


# Beam says at import that it lacks BigQuery's client, which no pipeline here uses.
logging.getLogger().addFilter(_is_news)
