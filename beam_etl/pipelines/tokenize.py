"""`python -m beam_etl.pipelines.tokenize`: documents as token ids, in a shuffled order, to train with."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import apache_beam as beam

from beam_etl import schema
from beam_etl.io.columns import Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.sort_ranges import MAX_PARTITIONS
from beam_etl.io.vocabularies import load_vocabulary
from beam_etl.io.write import FINDINGS
from beam_etl.io.write_tokens import LAYOUTS, MEGATRON, PARQUET, WriteTokens
from beam_etl.kernels.process import once_per_process
from beam_etl.kernels.token_counts import DocumentCounter, document_counter
from beam_etl.kernels.tokenizing import Packing, document_packer, mark_of, packed_bytes
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import UsageError, flag
from beam_etl.pipelines.job import Job
from beam_etl.transforms.documents import MapDocuments, usable

STAGE = "tokenize"
"""What rejects have in the column `stage`."""

SAMPLE_BYTES = 1 << 20
"""Read by the launcher, to expect how many bytes the ids will have."""

SAMPLE_PLACES = 8


@dataclass(frozen=True, kw_only=True)
class Config(JobConfig):
    """What can be asked of the job."""

    tokenizer: str = flag("vocabulary: tiktoken:NAME (cl100k_base, ...) or hf:PATH of a tokenizer.json")
    end_of_document: str | None = flag(
        "special token of the vocabulary, or an id, that ends each document; else the vocabulary's usual one",
        default=None,
        unit="token",
    )
    seed: int = flag("of the order of documents", default=0)
    layout: str = flag(
        "of a shard: megatron, .bin and .idx; numpy, .npy of ids and .offsets; parquet, rows of id and tokens",
        default=MEGATRON,
        choices=LAYOUTS,
    )
    shards: int | None = flag(
        "how many; else as many as have about --file_bytes each", default=None, unit="number"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shards is not None and not 1 <= self.shards <= MAX_PARTITIONS:
            raise ValueError(f"--shards is 1 to {MAX_PARTITIONS:,}, got {self.shards}")
        if not -(1 << 63) <= self.seed < 1 << 63:
            raise ValueError(f"--seed is a number of 64 bits, got {self.seed}")

    @property
    def columns(self) -> Columns:
        return self.read_as((schema.TEXT,), optional=(schema.ID,))


def build(source: FileSource, config: Config) -> dict[str, Any]:
    """Tables tokens and shards, and rejects. One shuffle, of ids."""
    packing = _packing(source, config)
    pack = once_per_process(document_packer, packing)
    documents, rejects, _ = source.documents()
    packed, failed = documents | "Tokenize" >> MapDocuments(pack, stage=STAGE)
    sample = source.sample(SAMPLE_BYTES, SAMPLE_PLACES)
    rows, _ = sample.expected(source.told_documents())
    sampled = max(1, sum(batch.num_rows for batch in sample.batches))
    expected = packed_bytes(list(usable(pack, sample.batches))) * rows // sampled
    shards = config.shards or min(MAX_PARTITIONS, max(1, round(expected / config.file_bytes)))
    written = packed | "Write" >> WriteTokens(
        packing=packing,
        output=config.output,
        run=config.run,
        layout=config.layout,
        shards=shards,
        expected_bytes=expected,
    )
    told = {
        "vocabulary_ids": packing.vocabulary.id_count(),
        "end_of_document": packing.mark,
        "id_type": packing.dtype.name,
        "order": f"XXH64 of {schema.ID if packing.by_id else schema.ADDRESS}, seed {config.seed}",
        "shards": shards,
    }
    return {
        "tokens": written.files,
        "shards": written.shards,
        "rejects": (rejects, failed) | "Rejects" >> beam.Flatten(),
        FINDINGS: source.pipeline | "Packing" >> beam.Create([{"tokenized": told}], reshuffle=False),
    }


def _packing(source: FileSource, config: Config) -> Packing:
    vocabulary = load_vocabulary(config.tokenizer)
    if not vocabulary.id_count():
        raise UsageError("--tokenizer=words: words have no ids. Use tiktoken:NAME or hf:PATH")
    by_id = (config.id_column or schema.ID) in source.stored_schema.names
    mark = mark_of(vocabulary, config.end_of_document)
    return Packing(vocabulary, mark, config.seed, by_id, with_id=config.layout == PARQUET)


def notes(config: Config, counters: Mapping[str, int]) -> list[str]:
    """Which engine cut the texts."""
    del counters
    kernel = cast(
        DocumentCounter, once_per_process(document_counter, load_vocabulary(config.tokenizer)).get()
    )
    return [f"tokens: {config.tokenizer}, cut by {kernel.counter.engine}"]


JOB = Job("tokenize", "Documents as token ids, in a shuffled order.", Config, build, notes)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job with these flags; the exit code."""
    return JOB.run(argv)


if __name__ == "__main__":
    sys.exit(run())
