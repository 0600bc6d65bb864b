"""A classifier of one's own as a step: trained on documents that pass and fail the Gopher rules, then asked about all.

Needs scikit-learn: pip install scikit-learn
"""

import pickle
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jobs import check, folders, rows
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from beam_etl import Columns, FilterQuality, MapBatches, ReadDocuments, ScoreWithModel, WriteDataset
from beam_etl.kernels.partition import hash_partition

RULES = ("gopher_quality", "gopher_repetition")
FEW = 10
"""Documents of each kind, at least."""
CHARACTERS = 2000
"""Of a document that the model looks at."""


def only_verdict(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Id, text, whether the document passes the rules, and whether it is one to train on: half of them, by hash."""
    passes = pc.equal(pc.list_value_length(batch.column("failed")), 0)
    trains = pa.array(hash_partition(batch, ("id",), 2) == 0)
    columns = [batch.column("id"), batch.column("text"), passes, trains]
    return pa.RecordBatch.from_arrays(columns, ["id", "text", "passes", "trains"])


def beginnings(texts: pa.Array | pa.ChunkedArray) -> Sequence[str]:
    """What the model looks at."""
    found: list[str] = pc.utf8_slice_codeunits(texts, 0, CHARACTERS).to_pylist()
    return found


def load(path: str) -> Any:
    """The model: called once in each process, when its first batch comes."""
    return pickle.loads(Path(path).read_bytes())  # noqa: S301 - written a moment ago


def predict(model: Any, batch: pa.RecordBatch) -> np.ndarray:
    """The probability that each document passes."""
    scores: np.ndarray = model.predict_proba(beginnings(batch.column("text")))[:, 1]
    return scores


def main() -> None:
    """Judges, trains on a half, scores all, and tells how right the scores are on the other half."""
    documents, output = folders(__doc__, "demo/scored")
    judged, scored, model = output / "judged", output / "scored", output / "model.pickle"
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | ReadDocuments(patterns=str(documents), columns=Columns(needed=("id", "text")))
        verdicts = read.documents | FilterQuality(rules=RULES, annotate=True)
        table = verdicts.documents | "Verdict" >> MapBatches(only_verdict)
        {"documents": table} | WriteDataset(output=str(judged), overwrite=True)

    known = rows(judged, "documents", "id", "text", "passes", "trains")
    examples = known.filter(known["trains"])
    if min(pc.sum(examples["passes"]).as_py(), pc.sum(pc.invert(examples["passes"])).as_py()) < FEW:
        sys.exit(
            f"Too few of these documents pass, or fail, {RULES}, to learn from: name others by --documents."
        )
    vectors = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=1 << 16)
    classifier = make_pipeline(vectors, LogisticRegression(C=30, max_iter=300))
    classifier.fit(beginnings(examples["text"]), examples["passes"].to_pylist())
    model.write_bytes(pickle.dumps(classifier))
    print(f"trained on {examples.num_rows:,} documents, of which {pc.sum(examples['passes'])} pass {RULES}")

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        columns = Columns(needed=("id", "text"), carry=("passes", "trains"))
        read = pipeline | ReadDocuments(patterns=str(judged), columns=columns)
        good = read.documents | ScoreWithModel(load=partial(load, str(model)), predict=predict, column="good")
        tables = {"documents": good.batches, "rejects": good.rejects}
        tables | WriteDataset(output=str(scored), overwrite=True)

    found = rows(scored, "documents", "id", "passes", "trains", "good")
    check(f"each of {known.num_rows:,} documents has a score", found["id"].equals(known["id"]))
    tell(found.filter(pc.invert(found["trains"])))


def tell(others: pa.Table) -> None:
    """How right the model is on documents that it hasn't seen."""
    passes, said = others["passes"].to_numpy(), others["good"].to_numpy() >= 0.5
    right = int((passes & said).sum())
    print(f"of {others.num_rows:,} documents that it has not seen, {passes.mean():.1%} pass")
    print(f"precision {right / max(said.sum(), 1):.1%}: so many of those that it calls good pass")
    print(f"recall {right / max(passes.sum(), 1):.1%}: so many of those that pass it calls good")
    check("its precision is better than a guess", right / max(said.sum(), 1) > passes.mean())


if __name__ == "__main__":
    main()
