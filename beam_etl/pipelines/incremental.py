"""Deduplication after earlier runs: their signatures for this one, and this one's for later ones."""

from collections.abc import Iterator, Sequence
from functools import partial

import apache_beam as beam
import pyarrow as pa

from beam_etl.io.errors import InputError, is_content_error, one_line
from beam_etl.io.file_source import FileSource
from beam_etl.io.signatures import (
    BUCKETS,
    SIGNATURES,
    EarlierSignatures,
    SignatureParameters,
    WriteSignatures,
    open_signatures,
    signature_partitions,
)
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.earlier import earlier_buckets, earlier_facts, kept_buckets, kept_signatures
from beam_etl.transforms.batches import Batches, MapBatches
from beam_etl.transforms.earlier import MAX_FILES, Earlier, EarlierChangedError

BUCKET_BYTES = 16
SIGNATURE_BYTES = 200
"""Of a document's row: its number, id, path, position, and 128 bytes to verify by."""


def parameters(rule: NearRule) -> SignatureParameters:
    """What runs must have in common to be compared."""
    return SignatureParameters(
        ngram=rule.ngram,
        bands=rule.banding.bands,
        rows=rule.banding.rows,
        num_perm=rule.num_perm,
        seed=rule.seed,
        low_bits=8,
        within=rule.within,
    )


def open_earlier(
    folders: Sequence[str], rule: NearRule, source: FileSource, expected_documents: int, least: int = 1
) -> Earlier | None:
    """The datasets of `--against`, for workers; None without any. As many partitions as the larger side needs.

    Args:
      folders: of the datasets.
      rule: of this run.
      source: its input.
      expected_documents: of it.
      least: partitions at least, a power of two.

    Raises:
      InputError: they can't be compared with this run, or it has too many files.
    """
    if not folders:
        return None
    if len(source.files) > MAX_FILES:
        raise InputError(
            f"{len(source.files):,} files match; a run with --against reads at most {MAX_FILES:,}. Compact them."
        )
    found = open_signatures(folders, parameters(rule))
    own = signature_partitions(expected_documents * BUCKET_BYTES * rule.banding.bands)
    partitions = max(own, least, *(one.partitions for one in found))
    read = partial(_read, found, partitions)
    return Earlier(
        partitions=partitions,
        buckets=partial(_buckets, read),
        facts=partial(_facts, read),
        places=partial(read, SIGNATURES),
    )


def _read(
    found: Sequence[EarlierSignatures], partitions: int, table: str, partition: int
) -> Iterator[tuple[str, pa.RecordBatch]]:
    for one in found:
        try:
            for batch in one.read(table, partition, partitions):
                yield one.folder, batch
        except Exception as error:
            if not isinstance(error, FileNotFoundError) and not is_content_error(error):
                raise
            raise EarlierChangedError(f"--against={one.folder}: {one_line(error)}. Run again.") from error


def _buckets(read: partial[Iterator[tuple[str, pa.RecordBatch]]], partition: int) -> Iterator[pa.RecordBatch]:
    for _, batch in read(BUCKETS, partition):
        yield earlier_buckets(batch)


def _facts(read: partial[Iterator[tuple[str, pa.RecordBatch]]], partition: int) -> Iterator[pa.RecordBatch]:
    for _, batch in read(SIGNATURES, partition):
        yield earlier_facts(batch)


def write_signatures(
    verdict: beam.PCollection[str],
    signatures: Batches,
    output: str,
    overwrite: bool,
    rule: NearRule,
    run: str,
    expected_documents: int,
) -> None:
    """Builds what keeps this run's signatures, once `verdict` says that its documents are published."""
    tables = {
        BUCKETS: signatures
        | "Kept buckets" >> MapBatches(partial(kept_buckets, banding=rule.banding, run=run)),
        SIGNATURES: signatures | "Kept signatures" >> MapBatches(partial(kept_signatures, run=run)),
    }
    sizes = {
        BUCKETS: expected_documents * BUCKET_BYTES * rule.banding.bands,
        SIGNATURES: expected_documents * SIGNATURE_BYTES,
    }
    tables | "Write signatures" >> WriteSignatures(
        output=output,
        overwrite=overwrite,
        parameters=parameters(rule),
        after=verdict,
        expected_bytes=sizes,
        run=run,
    )
