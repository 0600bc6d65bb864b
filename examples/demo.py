"""What `make demo` runs: documents made of the installed packages, each job on them, and what came out."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow.dataset as ds
from demo_clusters import show_groups
from demo_domains import show_domains
from showing import run, show

DOCUMENTS = "demo/documents"
QUERY = '"apache license" +python'
ROWS_SHOWN = 8


@dataclass(frozen=True)
class Job:
    """One pipeline of the demo: its flags, which table to show, largest `largest` first, and what else to show."""

    name: str
    flags: tuple[str, ...]
    table: str
    largest: str
    explain: Callable[[str, str], None] = lambda documents, dataset: None

    @property
    def output(self) -> str:
        """The dataset it writes."""
        return f"demo/{self.name}"

    @property
    def command(self) -> list[str]:
        """As a person would type it."""
        places = (f"--input={DOCUMENTS}", f"--output={self.output}", "--overwrite=true")
        flags = (*places, f"--report={self.output}.html", *self.flags)
        return ["-m", f"beam_etl.pipelines.{self.name}", *flags]


JOBS = (
    Job(name="token_count", flags=("--by=language",), table="counts", largest="tokens"),
    Job(
        name="dedup",
        flags=("--threshold=0.8",),
        table="cluster_sizes",
        largest="removed",
        explain=show_groups,
    ),
    Job(name="domain_score", flags=(), table="score_parts", largest="failed", explain=show_domains),
    Job(name="curate", flags=("--config=examples/texts.toml",), table="funnel", largest="documents"),
    Job(
        name="inverted_index",
        flags=("--positions=true",),
        table="terms",
        largest="document_frequency",
        explain=lambda documents, dataset: run("-m", "beam_etl.pipelines.search", dataset, QUERY, "-k", "3"),
    ),
)
NEXT = """
Next:
  .venv/bin/beam-etl token_count --input=demo/documents --output=demo/by_domain --by=domain,language
  .venv/bin/beam-etl token_count --input=demo/documents --output=demo/planned --by=domain --plan
  .venv/bin/beam-etl dedup --input=demo/documents --output=demo/exact --method=exact
  .venv/bin/beam-etl dedup --input=demo/documents --output=demo/planned --threshold=0.8 --plan
  .venv/bin/beam-etl domain_score --input=demo/documents --output=demo/good --min_domain_score=0.2
  .venv/bin/beam-etl lines --input=demo/documents --output=demo/without_frames --scope=domain --more_than=2
  .venv/bin/beam-etl show demo/curate --removed=true --reason=each --rows=1
  .venv/bin/beam-etl search demo/inverted_index '"apache license" -warranty' --explain
  .venv/bin/beam-etl                                      (the pipelines; PIPELINE --help lists its flags)
"""


def main() -> None:
    """The whole demo."""
    run("examples/demo_documents.py", f"--output={DOCUMENTS}")
    for job in JOBS:
        run(*job.command)
        table = ds.dataset(f"{job.output}/{job.table}", format="parquet").to_table()
        print(f"\n{job.output}/{job.table}: {table.num_rows:,} rows, these first by {job.largest}:")
        show(table.sort_by([(job.largest, "descending")])[:ROWS_SHOWN])
        job.explain(DOCUMENTS, job.output)
    print(NEXT, end="")


if __name__ == "__main__":
    main()
