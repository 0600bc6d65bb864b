"""ConnectedComponents: which documents belong together, given pairs that do."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from beam_etl.kernels.components import NODE_BYTES, Components
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.component_rounds import RunRounds, typed
from beam_etl.transforms.link_files import (
    GONE,
    READ,
    BeamFiles,
    Files,
    LinkFile,
    RankLinks,
    ReadRankedLinks,
    RemoveFiles,
    WriteLinks,
    read_links,
    told_gone,
)
from beam_etl.transforms.metrics import StepMetrics
from beam_etl.transforms.shuffle import Distribute, Gather

ONE_PROCESS = "components_one_process"
"""Counter: 1 where one process found the components."""

WAYS = ("auto", "one", "rounds")

_MARGIN = 4
"""Rounds are left out of the graph where one process could hold so many times what is expected."""

_MEMBERS, _FAILURES, _FILES = "members", "failures", "files"


class FoundComponents(NamedTuple):
    """What ConnectedComponents gives."""

    members: Batches
    """schema.MEMBER: every node of a component of several. None where there is a failure."""
    failures: beam.PCollection[str]
    """Why there are no members, and what to set. Empty where all went well."""


@dataclass(eq=False, kw_only=True)
class ConnectedComponents(beam.PTransform):
    """Components of a graph of links. No shuffle where one process holds it, else 2 * rounds + 2.

    Every bundle contracts the links it gathers. They go to files, and their number decides, when it is known: one
    process streams the files through a union-find, or rounds of shuffles find the components. The shuffles behind the
    last round that was needed are empty. A component's links meet in one partition in rounds: that is 26 bytes a node,
    which has to fit what an engine holds for one key.

    Input: batches of schema.LINK, bounded. Output: FoundComponents. Counters: ONE_PROCESS, and
    component_rounds.BY_ROUNDS and ROUNDS_NEEDED, tell which way ran.

    Args:
      memory: bytes that the one process may use; a node takes NODE_BYTES.
      rounds: at most so many; a random path of 100,000 nodes takes 11 to 13, other graphs fewer.
      way: `one` process, `rounds`, or `auto`: as the number of nodes asks for.
      expected_links: an upper estimate. Where one process could hold four times as many, `auto` is `one`. Decides
        partitions, too.
      folder: for files, seen by all workers, and removed by whoever made it. None for a new one in this machine's
        folder of temporary files, whose files are removed when they were read: for engines that run each step once.
      files: how they are written and read.

    Raises:
      ValueError: an unknown way, rounds or memory below 1, or expected_links negative.
    """

    memory: int = 2 << 30
    rounds: int = 20
    way: str = "auto"
    expected_links: int | None = None
    folder: str | None = None
    files: Files = field(default_factory=BeamFiles)

    def __post_init__(self) -> None:
        super().__init__()
        if self.way not in WAYS:
            raise ValueError(f"way is one of {', '.join(WAYS)}, got {self.way!r}")
        if self.memory < 1 or self.rounds < 1 or (self.expected_links or 0) < 0:
            raise ValueError(
                f"needs memory >= 1, rounds >= 1 and expected_links >= 0, "
                f"got {self.memory}, {self.rounds}, {self.expected_links}"
            )

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, links: Batches) -> FoundComponents:
        if self.way == "rounds":
            ranked = links | "Contract" >> beam.ParDo(RankLinks()).with_output_types(pa.RecordBatch)
            return FoundComponents(*(ranked | "Rounds" >> self._run_rounds()))
        folder = self.folder or _temporary_folder()
        files = (
            links
            | "Write links" >> beam.ParDo(WriteLinks(folder, self.files)).with_output_types(LinkFile)
            | "Links" >> Gather()
        )
        limit = None if self._one_is_enough() else self.memory
        routed = files | "Route" >> beam.ParDo(_Route(limit)).with_outputs(_FILES, main=_MEMBERS)
        found = routed[_MEMBERS] | "In one process" >> beam.ParDo(
            _InOneProcess(self.memory, self.files)
        ).with_outputs(_FAILURES, READ, main=_MEMBERS)
        members, failures, read = typed(found[_MEMBERS]), found[_FAILURES], found[READ]
        if limit is not None:
            ranked = (
                routed[_FILES]
                | "Hand out" >> Distribute()
                | "Read" >> beam.ParDo(ReadRankedLinks(self.files)).with_outputs(READ, GONE, main=_MEMBERS)
            )
            others = typed(ranked[_MEMBERS]) | "Rounds" >> self._run_rounds()
            members = (members, others.members) | "Members" >> beam.Flatten()
            failures = (failures, ranked[GONE], others.failures) | "Failures" >> beam.Flatten()
            read = (read, ranked[READ]) | "All read" >> beam.Flatten()
        if self.folder is None:
            read | "Paths" >> Gather() | "Remove" >> beam.ParDo(RemoveFiles(folder))
        return FoundComponents(members, failures)

    def _one_is_enough(self) -> bool:
        if self.way == "one":
            return True
        return self.expected_links is not None and self.expected_links * NODE_BYTES * _MARGIN <= self.memory

    def _run_rounds(self) -> RunRounds:
        return RunRounds(rounds=self.rounds, expected_links=self.expected_links)


def _temporary_folder() -> str:
    parent = os.environ.get("TMPDIR") or "/tmp"
    return os.path.join(parent, f"beam_etl-components-{secrets.token_hex(8)}")


class _Route(beam.DoFn):
    """All files to one process, or each to rounds, by the nodes that are in them."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit

    def process(self, files: list[LinkFile]) -> Iterator[Any]:
        nodes = sum(count for _, count in files)
        if self._limit is None or nodes * NODE_BYTES <= self._limit:
            yield files
        else:
            for path, _ in files:
                yield beam.pvalue.TaggedOutput(_FILES, path)


class _InOneProcess(beam.DoFn):
    """Streams files through a union-find; gives up, with a failure, before it holds more than `memory`."""

    def __init__(self, memory: int, files: Files) -> None:
        self._memory = memory
        self._files = files
        self._metrics = StepMetrics()

    def process(self, files: list[LinkFile]) -> Iterator[Any]:
        if not files:
            return
        self._metrics.add(ONE_PROCESS, 1)
        components = Components()
        with self._metrics.timing():
            failure = self._fill(components, files)
        if failure:
            yield beam.pvalue.TaggedOutput(_FAILURES, failure)
        else:
            for members in self._metrics.timed(components.members()):
                self._metrics.gave_out(members)
                yield members
        for path, _ in files:
            yield beam.pvalue.TaggedOutput(READ, path)

    def _fill(self, components: Components, files: list[LinkFile]) -> str | None:
        """Adds the links of all files; why that can't be done."""
        for path, _ in files:
            try:
                for batch in read_links(path, self._files):
                    self._metrics.took_in(batch)
                    components.add(batch)
            except FileNotFoundError:
                return told_gone(path)
            if components.nodes * NODE_BYTES > self._memory:
                return self._too_large(files)
        return None

    def _too_large(self, files: list[LinkFile]) -> str:
        needed = sum(count for _, count in files) * NODE_BYTES
        return (
            f"The graph of links has more nodes than one process holds in {self._memory:,} bytes, and rounds were left "
            f"out, as --components=one asks for or because fewer links were expected. Set "
            f"--components_memory={needed}, or --components=rounds."
        )
