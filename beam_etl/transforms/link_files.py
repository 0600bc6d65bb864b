"""Links handed over as files: contracted where they are made, read again where it is known how many there are."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_etl.kernels.component_rounds import rank_links
from beam_etl.kernels.components import Components
from beam_etl.kernels.partition import GATHER_BYTES
from beam_etl.transforms.batches import merge_batches, split_batch
from beam_etl.transforms.gathering import GatherBatches
from beam_etl.transforms.metrics import StepMetrics

READ, GONE = "read", "gone"
"""Tagged outputs: the paths that were read; why a file couldn't be."""


class LinkFile(NamedTuple):
    """A file of contracted links."""

    path: str
    nodes: int
    """Distinct nodes in it."""


class Files(Protocol):
    """How files of a run are written and read: small, and the same for all workers."""

    def create(self, path: str) -> Any:
        """A new file, and its folder, to be used as a context manager."""

    def open(self, path: str) -> Any:
        """A file, as it was written, to be used as a context manager.

        Raises:
          FileNotFoundError: it is gone.
        """


class BeamFiles:
    """Files on the filesystems that Beam knows."""

    def create(self, path: str) -> Any:
        return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)

    def open(self, path: str) -> Any:
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


class WriteLinks(GatherBatches):
    """What a bundle gathers, contracted, as an Arrow IPC stream of a unique name in `folder`: a LinkFile."""

    def __init__(self, folder: str, files: Files) -> None:
        super().__init__(GATHER_BYTES)
        self._folder = folder
        self._files = files

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[LinkFile]:
        components = Components()
        for batch in batches:
            components.add(batch)
        stars = components.stars()
        if stars.num_rows:
            self._metrics.gave_out(stars)
            path = f"{self._folder}/links-{secrets.token_hex(8)}.arrow"
            with (
                self._files.create(path) as file,
                pa.ipc.new_stream(file, stars.schema) as writer,
            ):
                for part in split_batch(stars):
                    writer.write_batch(part)
            yield LinkFile(path, components.nodes)


def told_gone(path: str) -> str:
    """Why links can't be used. An engine that tried the step again wouldn't find them either."""
    return (
        f"{path} was written by this run, and is gone. Workers on several machines need a folder that all of them see, "
        f"and so do engines that run steps again: ConnectedComponents(folder=...)."
    )


def read_links(path: str, files: Files) -> Iterator[pa.RecordBatch]:
    """The batches of one file.

    Raises:
      FileNotFoundError: it is gone.
    """
    with (
        files.open(path) as file,
        pa.ipc.open_stream(file) as reader,
    ):
        yield from reader


class ReadRankedLinks(beam.DoFn):
    """A path to the links in it, as contracted links of ranks."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._metrics = StepMetrics()

    def process(self, path: str) -> Iterator[Any]:
        try:
            with self._metrics.timing():
                links = rank_links(merge_batches(read_links(path, self._files)))
        except FileNotFoundError:
            yield beam.pvalue.TaggedOutput(GONE, told_gone(path))
            return
        for batch in split_batch(links):
            self._metrics.gave_out(batch)
            yield batch
        yield beam.pvalue.TaggedOutput(READ, path)


class RankLinks(GatherBatches):
    """What a bundle gathers, as contracted links of ranks."""

    def __init__(self) -> None:
        super().__init__(GATHER_BYTES)

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in split_batch(rank_links(merge_batches(batches))):
            self._metrics.gave_out(batch)
            yield batch


class RemoveFiles(beam.DoFn):
    """Removes files when all of them have been read, and a folder that is empty then. What can't be removed is left.

    Files that another attempt has written there since stay.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, paths: list[str]) -> None:
        if paths:
            with contextlib.suppress(BeamIOError):
                FileSystems.delete(paths)
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)
