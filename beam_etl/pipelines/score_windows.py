"""`python -m beam_etl.pipelines.score_windows DATASET`: the scores of domains as of each window. No Beam job."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from beam_etl import schema
from beam_etl.io import manifest
from beam_etl.io.errors import InputError
from beam_etl.io.manifest import Manifest
from beam_etl.io.write_whole import write_whole
from beam_etl.kernels.domain_measures import DOCUMENTS
from beam_etl.kernels.domain_score import ScoreRule
from beam_etl.kernels.domain_windows import WINDOW_SCORES, scores_by_window
from beam_etl.kernels.window_text import parse_window
from beam_etl.pipelines.domain_score_config import parse_weights
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.tool import DONE, run_tool

NAME = "score_windows"
SUMMARY = (
    "Scores the domains that domain_score --window counted, window after window: DATASET --output=FOLDER"
)
DOMAINS, SCORES = "domains", "window_scores"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    dataset: str = flag("folder of the dataset; may stand first, without --dataset=", unit=FOLDER)
    output: str = flag("folder of the dataset to write, which isn't there yet", unit=FOLDER)
    decay: float = flag(
        "what of a domain's counts a window keeps for the next one, 0 to below 1", default=0.5
    )
    weights: tuple[str, ...] = flag("of rule sets, as part:weight; those not named have 1", default=())
    prior_documents: float = flag(
        "documents like the whole corpus that each domain is given", default=ScoreRule.prior, unit="documents"
    )
    confidence: float = flag(
        "standard deviations that a score stays below the pass rate", default=ScoreRule.confidence
    )

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"--decay is 0 to below 1, got {self.decay}")
        parse_weights(self.weights)


def run(argv: Sequence[str] | None = None) -> int:
    """Writes the scores; the exit code."""
    return run_tool(NAME, SUMMARY, Config, argv, _score)


def _score(config: Config) -> int:
    published = manifest.latest(config.dataset)
    window = None if published is None else (published.about.get("config") or {}).get("window")
    if published is None or DOMAINS not in published.schemas or window is None:
        raise InputError(f"{config.dataset}: no domains by window. Give what domain_score --window wrote.")
    if os.path.exists(config.output) and os.listdir(config.output):
        raise InputError(f"--output={config.output} has something already: name another folder")
    table = _domains(config, published)
    weights = parse_weights(config.weights)
    parts = [name.removesuffix("_failed") for name in table.column_names if name.endswith("_failed")]
    if unknown := set(weights) - set(parts):
        raise InputError(f"no part {min(unknown)!r} of a score to weigh; there are {', '.join(parts)}")
    rule = ScoreRule(
        weights=tuple((part, weights.get(part, 1.0)) for part in parts),
        prior=config.prior_documents,
        confidence=config.confidence,
    )
    sink, rows = pa.BufferOutputStream(), 0
    with pq.ParquetWriter(sink, WINDOW_SCORES, compression="zstd", write_page_checksum=True) as writer:
        for scores in scores_by_window(_windows(table), rule, parse_window(window).period, config.decay):
            writer.write_batch(scores)
            rows += scores.num_rows
    asked = {
        "decay": config.decay,
        "weights": dict(rule.weights),
        "of": config.dataset,
        "version": published.number,
    }
    write_whole(config.output, {SCORES: sink.getvalue().to_pybytes()}, about={"job": NAME, "config": asked})
    print(f"{SCORES}: {rows:,} rows, of version {published.number} of {config.dataset}")
    return DONE


def _domains(config: Config, published: Manifest) -> pa.Table:
    """The columns that scores are made of, by window."""
    own = published.schemas[DOMAINS]
    names = [
        *schema.WINDOW.names,
        schema.DOMAIN,
        DOCUMENTS,
        *(name for name in own if name.endswith("_failed")),
    ]
    files = [os.path.join(config.dataset, file.path) for file in published.table(DOMAINS)]
    if not files:
        raise InputError(f"{config.dataset}: no window is published yet")
    return pa.concat_tables(pq.ParquetFile(file).read(names) for file in files).sort_by(schema.WINDOW_START)


def _windows(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows of each window, in order."""
    rows = table.combine_chunks().to_batches()[0]
    starts = rows.column(schema.WINDOW_START)
    begins = [0, *(row for row in range(1, len(starts)) if starts[row] != starts[row - 1]), len(starts)]
    for begin, end in pairwise(begins):
        yield rows.slice(begin, end - begin)


if __name__ == "__main__":
    sys.exit(run())
