"""datatrove's MinHash, its four stages over Parquet files; prints how many documents it keeps.

datatrove_minhash.py FOLDER WORK WORKERS NGRAM BANDS ROWS: an empty folder WORK gets the kept documents in WORK/kept.
Hashes (64 bits of xxhash) and words (spaCy's English) are its defaults. A task a file, a task a band.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter


def deduplicate(folder: str, work: Path, workers: int, config: MinhashConfig) -> None:
    """The stages one after the other, as its documentation chains them; each reads what the one before wrote."""
    files = len(list(Path(folder).glob("*.parquet")))
    reader = ParquetReader(folder, text_key="text", id_key="id")
    signatures, buckets, removed, kept = (
        str(work / name) for name in ("signatures", "buckets", "removed", "kept")
    )
    stages: tuple[tuple[int, list[PipelineStep]], ...] = (
        (files, [reader, MinhashDedupSignature(signatures, config)]),
        (config.num_buckets, [MinhashDedupBuckets(signatures, buckets, config=config)]),
        (1, [MinhashDedupCluster(buckets, removed, config=config)]),
        (files, [reader, MinhashDedupFilter(removed), ParquetWriter(kept, compression="zstd")]),
    )
    for number, (tasks, steps) in enumerate(stages):
        logs = str(work / "logs" / str(number))
        LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=logs).run()


if __name__ == "__main__":
    folder, work = sys.argv[1], Path(sys.argv[2])
    workers, ngram, bands, rows = map(int, sys.argv[3:])
    deduplicate(folder, work, workers, MinhashConfig(ngram, bands, rows))
    print(sum(pq.read_metadata(path).num_rows for path in work.glob("kept/*.parquet")))
