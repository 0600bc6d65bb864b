"""Panes of a stream: one commit each, which takes back what a restore makes anew, and fences attempts of before it.

A stream adds to a dataset for as long as it runs, under one name, also when it goes on from a savepoint. A manifest
tells of each file which pane it holds (`file_lists.Pane`), and of each stream the run of its latest commit. So:

1. An engine that restores a stream from a checkpoint fires panes again, maybe with other boundaries, and numbers them
   as before. Pane k of a window takes the place of what was published of that window from pane k on. Of an accumulating
   result each partition fires on its own: there the latest files of a partition take the place of its earlier ones.
2. What was superseded is left out of the next manifest: readers needn't know of it.
3. An attempt of before a restore may go on somewhere. Each bundle of the commit looks, when it begins, which commit of
   the stream was the latest, and publishes on top of that one and of its own only. Where there is another by then, one
   of the two began before a restore: it is refused, and an engine that wants it tries again, from what is there now.
   That keeps bundles apart which overlap. A job that was started from a savepoint has another launch than the one that
   made it; that is told before it starts, and the earlier job, should it still run, publishes nothing more.
4. Files that a checkpoint may still name stay in staging for KEPT_SECONDS after they were published or superseded. So
   nothing is removed that an attempt might yet publish, and readers lose nothing they read. Versions are fewer by then.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from beam_etl.io import manifest, publishing, staging
from beam_etl.io.append import LostError, misfits, publish_append, publish_on_top
from beam_etl.io.manifest import DataFile, DatasetError, Manifest, Pane
from beam_etl.io.pane_expiry import remove_expired_at_times, tell_done
from beam_etl.io.place import place

ALL_PARTITIONS = -1
"""As partition of a file that was compacted from those of an accumulating result."""

ON_TIME = "on time"

PANE = "pane"
"""Of `about`: what a version that a pane made tells of it, for people."""

LAUNCH = "launch"
"""Of what a manifest tells of a stream: the run of the job that goes on with it."""

FAILED = "failed"
"""Of what a manifest tells of a stream: why nothing more of it is published."""

_TOLD = 20
_LINEAGE = 50
"""Versions of a stream that later ones name: who adds to the dataset meanwhile finds its own there."""


class FencedError(RuntimeError):
    """Another attempt of the stream has published meanwhile, one of them before a restore; or another job goes on."""


class StreamError(RuntimeError):
    """What the stream has published can't be gone on from. The message says why."""


@dataclass(frozen=True, kw_only=True)
class PaneCommit:
    """What a pane publishes."""

    stream: str
    start: int
    """Of its window, microseconds since 1970, UTC,"""
    end: int
    """which ends before this."""
    index: int
    """The pane's number, from 0. A restore may give it again."""
    timing: str
    """early, on time or late."""
    files: tuple[DataFile, ...]
    """In the stream's staging folder. Those of accumulating results have a Pane with partition and firing."""
    schemas: Mapping[str, Mapping[str, str]]
    about: Mapping[str, Any]
    merged: tuple[str, ...] = ()
    """Paths in the staging folder of what the files were made of."""
    failures: tuple[str, ...] = ()
    """Why the pane must not be published, nor any of the stream after it."""

    def pane_of(self, file: DataFile) -> Pane:
        """What the manifest tells of a file."""
        partition, firing = (file.pane.partition, file.pane.firing) if file.pane else (None, None)
        return Pane(self.stream, self.start, self.end, self.index, self.timing, partition, firing)

    def told(self) -> dict[str, Any]:
        """For people."""
        rows = {table: sum(file.rows for file in self.files if file.table == table) for table in self.schemas}
        return {
            "start": self.start,
            "end": self.end,
            "index": self.index,
            "timing": self.timing,
            "rows": rows,
        }


def register(
    dataset: str, stream: str, job: str, tables: Mapping[str, Mapping[str, str]], **told: Any
) -> Manifest:
    """Makes a stream known to a dataset, before it starts: the version it then has.

    Args:
      dataset: folder. Without a dataset in it, one is made, of empty tables.
      stream: a name of `staging.new_run`.
      job: its name.
      tables: that it will write.
      told: what else the manifest says of the stream: `lateness`, in microseconds, how long windows take late rows;
        and `about`.

    Raises:
      DatasetError: the dataset was replaced meanwhile.
    """
    head = manifest.latest(dataset)
    staging.mark_appending(dataset, stream)
    own = Manifest(
        number=1,
        run=stream,
        files=(),
        schemas=tables,
        about=told.pop("about", {}),
        appended=((head.number, head.run),) if head else (),
        streams={stream: {"job": job, "run": stream, LAUNCH: stream, **told}},
    )
    if reasons := publish_append(dataset, own):
        raise DatasetError("; ".join(reasons))
    made = manifest.latest(dataset)
    assert made is not None
    return made


def stream_in(dataset: str, stream: str | None, job: str) -> str:
    """The stream of a job that is to go on.

    Args:
      dataset: folder.
      stream: its name, where the savepoint tells it.
      job: its name.

    Raises:
      DatasetError: the dataset knows no such stream, or several.
    """
    head = manifest.latest(dataset)
    streams = head.streams if head else {}
    found = [name for name, told in streams.items() if name == stream or (not stream and told["job"] == job)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{name} of {told['job']}" for name, told in streams.items()) or "none"
    wanted = stream or f"of {job}"
    raise DatasetError(
        f"{dataset}: a savepoint of a stream {wanted} can't go on here; the dataset knows these streams: {known}. "
        f"A savepoint that `python -m beam_etl.engines.flink savepoint` made names its stream."
    )


def superseded(head: Manifest, commit: PaneCommit) -> list[DataFile]:
    """The files of `head` that a pane takes the place of.

    Raises:
      StreamError: some of them were compacted with others that have to stay.
    """
    partitions = {(file.table, file.pane.partition) for file in commit.files if file.pane}
    tables = {table for table, partition in partitions if partition is not None}
    found = []
    for file in head.files:
        pane = file.pane
        if pane is None or (pane.stream, pane.start, pane.end) != (commit.stream, commit.start, commit.end):
            continue
        if pane.partition is None:
            gone, kept = pane.index >= commit.index, pane.first is not None and pane.first < commit.index
        else:
            kept = pane.partition == ALL_PARTITIONS and file.table in tables
            gone = kept or (file.table, pane.partition) in partitions
        if gone and kept:
            raise StreamError(
                f"{file.path} was compacted from panes up to {pane.index}, and pane {commit.index} of its window is "
                f"published again: the checkpoint that the stream goes on from is too old"
            )
        if gone:
            found.append(file)
    return found


def with_failure(head: Manifest, commit: PaneCommit, run: str) -> Manifest:
    """The version that says why a stream has ended: it has the files of the latest one."""
    told = {**head.streams[commit.stream], FAILED: sorted(set(commit.failures))[:_TOLD]}
    return retold(head, commit.stream, told, commit.about, run)


def retold(
    head: Manifest, stream: str, told: Mapping[str, Any], about: Mapping[str, Any], run: str
) -> Manifest:
    """The version that has the files of the latest one, and tells something else of a stream."""
    return replace(
        head,
        number=head.number + 1,
        run=run,
        about={**about},
        appended=head.lineage,
        replaced=None,
        streams={**head.streams, stream: {**told, "run": run}},
    )


def failures_of(dataset: str, stream: str) -> list[str]:
    """Why a stream has ended by itself; none where it hasn't."""
    head = manifest.latest(dataset)
    return list(head.streams.get(stream, {}).get(FAILED, ())) if head else []


def with_pane(head: Manifest, commit: PaneCommit, run: str) -> tuple[Manifest, list[DataFile]]:
    """The version that a pane makes of the latest one, and the files that it takes the place of.

    Args:
      head: the latest version.
      commit: the pane.
      run: the name of this commit: the stream's, and more.

    Raises:
      StreamError: as `superseded`, or tables don't fit to those that are there.
    """
    gone = superseded(head, commit)
    own = tuple(replace(file, pane=commit.pane_of(file)) for file in commit.files)
    kept = {file.path: file for file in head.files}
    for file in gone:
        del kept[file.path]
    files = {**kept, **{file.path: file for file in own}}
    schemas = {
        table: head.schemas.get(table) or commit.schemas.get(table, {})
        for table in {**head.schemas, **commit.schemas}
    }
    told = dict(head.streams[commit.stream])
    told["run"] = run
    if commit.timing == ON_TIME:
        told["on_time"] = max(told.get("on_time", commit.end), commit.end)
    lineage = list(head.lineage)
    mine = [version for version in lineage if version[1][: staging.RUN_LETTERS] == commit.stream]
    dropped = set(mine[1:-_LINEAGE])
    made = Manifest(
        number=head.number + 1,
        run=run,
        files=tuple(files[path] for path in sorted(files)),
        schemas=schemas,
        about={**commit.about, PANE: commit.told()},
        partitioning=head.partitioning,
        appended=tuple(version for version in lineage if version not in dropped),
        streams={**head.streams, commit.stream: told},
    )
    one_of_each = tuple(
        {file.table: file for file in kept.values()}.values()
    )  # a table's files have one format
    if reasons := list(
        misfits(replace(head, files=one_of_each), replace(made, files=own, schemas=commit.schemas))
    ):
        raise StreamError("; ".join(reasons))
    return made, [file for file in gone if file.path not in files]


class PanePublisher:
    """One bundle of the commit: what it publishes is on top of what was there when it began, or of its own.

    Args:
      dataset: folder.
      stream: its name.
      launch: the run of the job that publishes; None where there is one only.

    Raises:
      StreamError: the dataset was replaced, so that it doesn't know the stream any more.
      FencedError: another job goes on with the stream.
    """

    def __init__(self, dataset: str, stream: str, launch: str | None = None) -> None:
        self._dataset = dataset
        self._stream = stream
        self._launch = launch
        self._folder = staging.staging_folder(dataset, stream)
        publishing.refresh(dataset)
        self._seen = self._latest(manifest.latest(dataset))

    def publish(self, commit: PaneCommit) -> Manifest:
        """Publishes a pane, or why the stream fails with it, after which nothing is; the version that there is then.

        A pane that can't be added to what is there (see `with_pane`) is such a failure: no attempt could publish it.

        Raises:
          FencedError: see there. An attempt that began later goes on from what is there.
          StreamError: the dataset was replaced.
          LostError: files of the pane are gone.
          AbandonedError: the stream was given up in this process.
        """
        run = f"{self._stream}{staging.new_run()}"
        dropped: list[DataFile] = []

        def merged(head: Manifest | None) -> Manifest | None:
            latest = self._latest(head)
            if latest == run:  # an attempt of ours that seemed to fail
                return None
            assert head is not None
            if FAILED in head.streams[self._stream]:
                return None
            if latest != self._seen:
                raise FencedError(
                    f"{self._dataset}: the stream {self._stream} was published to by {latest} since this attempt saw "
                    f"{self._seen}"
                )
            made, dropped[:] = self._make(head, commit, run)
            return made

        with staging.turn(self._stream):
            made = publish_on_top(
                self._dataset,
                merged,
                lambda made: os.path.join(self._folder, f"{run}-{made.number:06d}.json"),
            )
        head = made or manifest.latest(self._dataset)
        assert head is not None
        staging.remove_prepared(self._folder, run)
        if FAILED in head.streams.get(self._stream, {}):  # a savepoint of before that may name all there is
            return head
        self._seen = run
        gone = [file.path for file in dropped]
        staged = [*(file.path for file in commit.files), *commit.merged, *gone]
        tell_done(self._dataset, self._stream, run, staged, gone)
        remove_expired_at_times(self._dataset, self._stream, head)
        return head

    def _make(self, head: Manifest, commit: PaneCommit, run: str) -> tuple[Manifest, list[DataFile]]:
        """As `with_pane`, its files in place; or the version that says why the stream fails, which drops nothing."""
        if commit.failures:
            return with_failure(head, commit, run), []
        try:
            made, gone = with_pane(head, commit, run)
        except StreamError as error:
            return with_failure(head, replace(commit, failures=(str(error),)), run), []
        if lost := place(self._dataset, replace(made, run=self._stream, files=commit.files)):
            raise LostError(lost)
        return made, gone

    def _latest(self, head: Manifest | None) -> str:
        told = head.streams.get(self._stream) if head else None
        if told is None:
            raise StreamError(
                f"{self._dataset}: it was replaced or removed while the stream {self._stream} wrote to it. Start the "
                f"job anew."
            )
        launch = told.get(LAUNCH)
        if self._launch is not None and launch not in (None, self._launch):
            raise FencedError(
                f"{self._dataset}: the job {launch} goes on with the stream {self._stream}, so this one, "
                f"{self._launch}, publishes nothing more. Cancel it."
            )
        return str(told["run"])
