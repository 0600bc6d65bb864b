"""A model for each domain, which finds documents unlike the rest of it; without a shuffle where domains lie together.

Needs scikit-learn: pip install scikit-learn
"""

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jobs import check, folders, launch, rows
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize

from beam_etl import Columns, FitPerKey, WriteDataset, plan
from beam_etl.io.file_source import FileSource

WORDS = HashingVectorizer(n_features=1 << 12, alternate_sign=False, norm=None)
CHARACTERS = 4000
"""Of a document that is looked at."""

STRANGERS = 10
"""Documents that are put into a domain where they don't belong, so that it shows whether they are found."""
LEAST = 20


def vectors(batch: pa.RecordBatch) -> Any:
    """A row for each document, of length 1: how often it has which words."""
    counts = WORDS.transform(pc.utf8_slice_codeunits(batch.column("text"), 0, CHARACTERS).to_pylist())
    counts.data = np.log1p(counts.data)
    return normalize(counts)


def fit(sample: pa.RecordBatch) -> np.ndarray:
    """The directions in which most of the documents' vectors lie, one for each 20 documents."""
    directions = min(20, max(1, sample.num_rows // 20))
    components: np.ndarray = TruncatedSVD(directions, random_state=0).fit(vectors(sample)).components_
    return components


def unlike(components: np.ndarray, batch: pa.RecordBatch) -> np.ndarray:
    """What of a document's vector lies in none of these directions: 0 for one that is as others are, up to 1."""
    rest: np.ndarray = 1 - np.square(vectors(batch) @ components.T).sum(axis=1)
    return rest.round(6)


def largest_of(values: pa.ChunkedArray) -> str:
    """The value that most rows have."""
    counted = values.value_counts().to_pylist()
    found: str = max(counted, key=lambda one: (one["counts"], one["values"] or ""))["values"]
    return found


def with_strangers(documents: Path, folder: Path) -> int:
    """The documents, and some once more in the largest domain, in other languages than it has; how many.

    Their ids begin with `stranger`.
    """
    names = set(pq.read_schema(next(documents.glob("*.parquet"))).names)
    table = pq.read_table(
        documents, columns=["id", "domain", "language" if "language" in names else "lang", "text"]
    )
    table = table.rename_columns(["id", "domain", "language", "text"])
    host = largest_of(table["domain"])
    own = table.filter(pc.equal(table["domain"], host))
    language = largest_of(own["language"])
    others = table.filter(
        pc.and_(pc.not_equal(table["domain"], host), pc.not_equal(table["language"], language))
    )
    others = others.filter(pc.greater(pc.utf8_length(others["text"]), 500))
    chosen = others.take(
        np.linspace(0, others.num_rows - 1, min(STRANGERS, others.num_rows)).astype(np.int64)
    )
    chosen = chosen.set_column(0, "id", pc.binary_join_element_wise("stranger", chosen["id"], " "))
    chosen = chosen.set_column(
        1, "domain", pa.repeat(pa.scalar(host, chosen["domain"].type), chosen.num_rows)
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables([table, chosen]), folder / "documents.parquet")
    return chosen.num_rows


def score(source: Path, output: Path) -> int:
    """Writes each document with `unlike`; the number of shuffles."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    read = FileSource(pipeline, str(source), Columns(needed=("id", "domain", "text")))
    found = pipeline | FitPerKey(
        source=read, by="domain", fit=fit, score=unlike, column="unlike", least=LEAST
    )
    tables = {"documents": found.batches, "rejects": found.rejects}
    tables | WriteDataset(output=str(output), overwrite=True)
    shuffles = len(plan(pipeline).shuffles)
    pipeline.run().wait_until_finish()
    print(f"plan: {shuffles} shuffle{'' if shuffles == 1 else 's'}")
    return shuffles


def main() -> None:
    """Scores documents that are partitioned by domain, and the same ones that aren't."""
    documents, output = folders(__doc__, "demo/unlike")
    strangers = with_strangers(documents, output / "documents")
    flags = ("--partition=hash:domain:4", f"--output={output / 'by_domain'}", "--overwrite=true")
    launch("repartition", f"--input={output / 'documents'}", *flags)
    check("no shuffle where domains are together", score(output / "by_domain", output / "placed") == 0)
    check("one where they are not", score(output / "documents", output / "shuffled") == 1)
    placed, shuffled = (
        rows(output / name, "documents", "id", "domain", "unlike", "own_model")
        for name in ("placed", "shuffled")
    )
    check(f"the same {placed.num_rows:,} scores", placed.equals(shuffled))
    own = placed.filter(placed["own_model"])
    domains = pc.count_distinct(own["domain"])
    print(
        f"{own.num_rows:,} documents are scored by the models of their {domains} domains, others by that of all"
    )
    print("least like their domain:")
    first = own.sort_by([("unlike", "descending"), ("id", "ascending")])
    for row in first.slice(0, STRANGERS).to_pylist():
        print(f"  {row['unlike']:.3f}  {row['domain']}  {row['id']}")
    tell(first, strangers)


def tell(ordered: pa.Table, strangers: int) -> None:
    """Where the strangers are among the documents of the domain that they were put into."""
    rest = ordered.to_pylist()
    host = next(row["domain"] for row in rest if row["id"].startswith("stranger "))
    own = [row["id"] for row in rest if row["domain"] == host]
    near = own[: 2 * strangers]
    found = sum(identity.startswith("stranger ") for identity in near)
    print(
        f"{found} of {strangers} strangers are among the first {len(near)} of {len(own):,} documents of {host}"
    )
    check("more than half of the strangers are", found > strangers / 2)


if __name__ == "__main__":
    main()
