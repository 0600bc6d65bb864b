"""The pipelines as they are run on engines: the smallest set of flags that makes every shape of graph."""

from dataclasses import dataclass
from pathlib import Path

from tests.engines.digests import Contents, contents


@dataclass(frozen=True)
class Mode:
    """A job and its flags. In these, {side} is a folder beside the output, {earlier} what an earlier run has kept."""

    job: str
    flags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    """Folders below {side} that the job publishes besides its output."""

    def arguments(self, source: Path, output: Path) -> list[str]:
        side, earlier = output.parent / f"{output.name}-side", source.parent / f"{source.name}-earlier"
        flags = [flag.format(side=side, earlier=earlier) for flag in self.flags]
        return [f"--input={source}", f"--output={output}", *flags]

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
    "near, against earlier": Mode("dedup", ("--against={earlier}",)),
    "exact": Mode("dedup", ("--method=exact",)),
    "exact, a column": Mode(
        "dedup", ("--method=exact", "--key=domain,lang", "--keep=newest", "--time_column=date")
    ),
    "index": Mode("inverted_index", ("--positions=true",)),
}
"""near: clusters in one process. Routed: both ways are in the graph, and the number of links decides."""
