"""`python -m beam_etl.pipelines.domain_score`: how good each domain is, and the documents of those that are."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam

from beam_etl import schema
from beam_etl.io.dataset_input import InputPartitions
from beam_etl.io.file_source import FileSource, Sample
from beam_etl.io.map_files import Groups, MapFiles
from beam_etl.io.removal_marks import MARKED
from beam_etl.io.together import together
from beam_etl.io.write import FAILURES
from beam_etl.kernels.domain_sample import expected_rows
from beam_etl.kernels.domains import suffix_list_date
from beam_etl.pipelines.as_stored import as_stored
from beam_etl.pipelines.domain_score_config import NEEDED, Config
from beam_etl.pipelines.job import Job
from beam_etl.pipelines.window_config import STREAM_PARTITIONS
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.documents import FailForRejects, usable
from beam_etl.transforms.domain_join import AUTO, BROADCAST, BY_BROADCAST, BY_SHUFFLE
from beam_etl.transforms.domain_score import CountDomains, TabulateDomains
from beam_etl.transforms.gathering import combine_all
from beam_etl.transforms.score_table import ScoreTable

SAMPLE_BYTES = 4 << 20
SAMPLE_PLACES = 16
"""Read by the launcher, to expect how many domains there will be; as token_count does."""

SCORE_BYTES = 72
"""Of a domain among the scores that documents are joined with."""


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """The domains, the parts of their scores, rejects, and where asked for documents and removals. One shuffle.

    It is of statistics. None where the input is partitioned; one of documents besides where there are too many domains
    for broadcasting. With --window the domains of each window, without scores.
    """
    if config.window is not None:
        return _by_window(source, config)
    sample = _sample(source)
    score = config.scoring(source.stored_schema)
    groups = _groups(source, config)
    if groups is not None:
        counted = source.pipeline | "Count files" >> MapFiles(
            source=source, kernel=score.count.in_place, columns=config.counted, groups=groups
        )
        scored = counted.batches | "Score domains" >> ScoreTable(rule=score.rule, partitioned=True)
        rejects = counted.rejects
    else:
        bundles = config.bundles(source.files, source.pipeline.options)
        score.expected_bytes = _expected_crossing(sample, score.count, bundles)
        documents, rejects, _ = source.documents(config.counted)
        scored = documents | "Score domains" >> score
    tables = {"domains": scored.domains, "score_parts": scored.parts, "rejects": rejects}
    uncounted = () if scored.rejects is None else (scored.rejects,)
    if not config.joins:
        tables["rejects"] = (rejects, *uncounted) | "Rejects" >> beam.Flatten()
        return {**tables, FAILURES: scored.failures}
    joined = _documents(source, config, scored.scores, sample)
    lost = [found | "Uncounted" >> FailForRejects() for found in uncounted]
    failures = (scored.failures, joined[FAILURES], *lost) | "All failures" >> beam.Flatten()
    return {**tables, **joined, FAILURES: failures}


def _by_window(source: FileSource, config: Config) -> dict[str, Any]:
    documents, rejects, _ = source.documents(config.counted)
    streaming = not documents.is_bounded
    tabulated = documents | "Count domains" >> TabulateDomains(
        scoring=config.scoring(source.stored_schema, partitions=STREAM_PARTITIONS if streaming else None),
        keep_partition=config.accumulates and streaming,
    )
    rejects = (rejects, tabulated.rejects) | "Rejects" >> beam.Flatten()
    return {"domains": tabulated.domains, "rejects": rejects}


def _groups(source: FileSource, config: Config) -> Groups | None:
    """Files that have all documents of their domains; None where that isn't known."""
    if (found := _partitions(source, config)) is not None:
        return found.files
    return [(file,) for file in source.files] if config.partitioned else None


def _partitions(source: FileSource, config: Config) -> InputPartitions | None:
    """Those of the input, where its manifest says that each has all documents of its domains."""
    return None if config.partitioned is False else together(source.read, config.counted, (schema.DOMAIN,))


def explain(source: FileSource, config: Config) -> list[str]:
    """Why nothing is shuffled, where the input's manifest tells it."""
    found = _partitions(source, config)
    return [] if found is None else [found.told(schema.DOMAIN)]


def _sample(source: FileSource) -> Sample:
    sample = source.sample(SAMPLE_BYTES, SAMPLE_PLACES)
    if told := source.told_documents():
        return sample._replace(scale=told / max(1, sum(batch.num_rows for batch in sample.batches)))
    return sample


def _expected_crossing(sample: Sample, count: CountDomains, bundles: int) -> int:
    """Bytes of statistics that cross, estimated. Documents may lie by domain, or as they come."""
    if not sample.batches:
        return 0
    unmarked = replace(count, mark=None)
    whole = [batch.select([schema.ADDRESS, *NEEDED]) for batch in sample.batches]
    halves = [batch.slice(0, (batch.num_rows + 1) // 2) for batch in whole]
    half, alternate, found = (
        next(combine_all(usable(unmarked, part), count.merge)) for part in (halves, whole[::2], whole)
    )
    rows = expected_rows(half, alternate, found, sample.scale / bundles)
    return round(found.nbytes / max(1, found.num_rows) * rows * bundles)


def _documents(source: FileSource, config: Config, scores: Batches, sample: Sample) -> dict[str, Any]:
    """The input once more, with scores, without what a score or a sample removes.

    The second read wants more columns: what it rejects, which is all that the first one does, is told instead.
    """
    way = config.join
    documents = sum(batch.num_rows for batch in sample.batches) * sample.scale
    if (
        way == AUTO and documents * SCORE_BYTES <= config.broadcast_bytes
    ):  # there are no more domains than documents
        way = BROADCAST
    again, rejects, _ = source.documents(again=True)
    removals: tuple[Batches, ...] = ()
    if config.filter or config.annotate:
        judged = again | "Filter quality" >> config.filtering()
        again, removals = judged.documents, (judged.removals,)
        rejects = (rejects, judged.rejects) | "Both rejects" >> beam.Flatten()
    joined = {"documents": again, "scores": scores} | "Join scores" >> config.joining(
        source.stored_schema,
        way=way,
        expected_bytes=round(sum(batch.nbytes for batch in sample.batches) * sample.scale),
    )
    return {
        "documents": as_stored(joined.documents, source),
        "removals": (*removals, joined.removals) | "Removals" >> beam.Flatten(),
        "rejects": rejects,
        FAILURES: joined.failures,
    }


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """By which list domains were told, which way scores met documents, and which removals were found."""
    kind = "with private suffixes" if config.private_suffixes else "its section of ICANN"
    lines = [f"domains of urls: by the public suffix list of {suffix_list_date()}, {kind}"]
    ways = {BY_BROADCAST: "scores were broadcast", BY_SHUFFLE: "documents were shuffled to their scores"}
    lines += [f"{way}: {counters[name]:,} documents" for name, way in ways.items() if counters.get(name)]
    if config.removals is not None:
        found = counters.get(MARKED, 0)
        lines.append(f"duplicates by {config.removals}: {found:,} documents")
    return lines


JOB = Job(
    "domain_score", "A quality score for each domain, and the documents by it.", Config, build, notes, explain
)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
