"""Deduplication window by window: of a stream, and of input that ends with the same `--window`."""

from typing import Any

from beam_etl.io.write import FAILURES
from beam_etl.pipelines.dedup_config import Config
from beam_etl.pipelines.incremental import open_earlier
from beam_etl.transforms.dedup_windows import DeduplicateWindows


def build_windows(source: Any, config: Config) -> dict[str, Any]:
    """The same tables as without windows; documents are rows that were read once, with all their columns."""
    start = open_earlier(config.against, config.near, source, 0, least=config.remember_partitions)
    documents, rejects, *_ = source.documents()
    found = documents | "Deduplicate" >> DeduplicateWindows(
        rule=config.rule,
        keep=config.keep_rule,
        remember=config.remembered,
        start=start,
        shards=config.remember_partitions,
        guard=config.guard,
    )
    tables = {**found._asdict(), FAILURES: found.failures, "rejects": rejects}
    del tables["failures"]
    if not config.has_domain(source.stored_schema):
        del tables["domains"]
    return tables
