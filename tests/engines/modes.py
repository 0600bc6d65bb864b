"""The pipelines as they are run on engines: the smallest set of flags that makes every shape of graph."""

from dataclasses import dataclass
from pathlib import Path

from tests.engines.digests import Contents, contents


@dataclass(frozen=True)
class Mode:
    """A job and its flags. In these, {source} is the corpus, {side} a folder beside the output; see `needs`."""

    job: str
    flags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    """Folders below {side} that the job publishes besides its output."""
    needs: tuple[str, ...] = ()
    """What Bench makes of the corpus before, each {source}-NAME: see `Bench.make`."""
    input: str | None = "{source}"
    """None where flags name what is read."""

    def arguments(self, source: Path, output: Path) -> list[str]:
        side = output.parent / f"{output.name}-side"
        reads = () if self.input is None else (f"--input={self.input}",)
        given = (*reads, "--output={output}", *self.flags)
        return [flag.format(source=source, side=side, output=output) for flag in given]

    def published(self, output: Path) -> list[Contents]:
        side = output.parent / f"{output.name}-side"
        return [contents(output), *(contents(side / name) for name in self.datasets)]


MODES = {
    "tokens": Mode("token_count", ("--by=language,domain",)),
    "tokens and documents": Mode("token_count", ("--by=date,file", "--documents=true")),
    "near": Mode("dedup"),
    "near, verified": Mode("dedup", ("--threshold=0.8", "--keep=longest")),
    "near, in rounds": Mode("dedup", ("--components=rounds", "--component_rounds=8", "--keep=shortest")),
    "near, routed to rounds": Mode("dedup", ("--components_memory=1500", "--component_rounds=8")),
    "near, split clusters": Mode("dedup", ("--max_cluster_size=3", "--oversized=split")),
    "near, signatures": Mode("dedup", ("--write_signatures={side}/signatures",), ("signatures",)),
    "near, against earlier": Mode("dedup", ("--against={source}-signatures",), needs=("signatures",)),
    "exact": Mode("dedup", ("--method=exact",)),
    "exact, a column": Mode(
        "dedup", ("--method=exact", "--key=domain,lang", "--keep=newest", "--time_column=date")
    ),
    "near, partitioned": Mode(
        "dedup", ("--partitioned=true", "--within=domain"), needs=("domains",), input="{source}-domains"
    ),
    "index": Mode("inverted_index", ("--positions=true",)),
    "compacted": Mode(
        "compact_index",
        ("--removals={source}-removals",),
        needs=("index", "removals"),
        input="{source}-index,{source}-index-again",
    ),
    "domains": Mode(
        "domain_score",
        ("--filter=true", "--max_documents_per_domain=3", "--removals={source}-removals", "--join=broadcast"),
        needs=("removals",),
    ),
    "domains, shuffled": Mode(
        "domain_score", ("--annotate=true", "--min_domain_score=0.3", "--join=shuffle")
    ),
    "domains, partitioned": Mode(
        "domain_score", ("--partitioned=true",), needs=("domains",), input="{source}-domains"
    ),
    "token ids": Mode(
        "tokenize",
        ("--tokenizer=hf:{source}-tokenizer", "--layout=numpy", "--shards=3"),
        needs=("tokenizer",),
    ),
    "lines": Mode("lines", ("--min_length=5", "--scope=domain")),
    "curated": Mode("curate", (f"--config={Path(__file__).parents[2]}/examples/texts.toml",)),
    "curated, lines": Mode("curate", (f"--config={Path(__file__).parent}/lines.toml",)),
    "partitioned": Mode("repartition", ("--partition=time:date:month,hash:domain:4", "--order=url")),
    "sorted": Mode("sort", ("--by=domain,url:desc",)),
    "first rows": Mode("topk", ("--k=50", "--by=url")),
    "aggregated": Mode("aggregate", ("--by=domain", "--agg=count,max:url,distinct:lang")),
    "joined": Mode(
        "join",
        ("--left={source}", "--right={source}-domains", "--on=id", "--right_columns=url", "--way=shuffle"),
        needs=("domains",),
        input=None,
    ),
}
"""near: clusters in one process. Routed: both ways are in the graph, and the number of links decides."""
