"""A stream that is to go on from a savepoint: what has to be so in its dataset before anything of it runs."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from beam_etl.io import manifest, publishing, staging
from beam_etl.io.append import publish_on_top
from beam_etl.io.manifest import DatasetError, Manifest
from beam_etl.io.pane_expiry import renew
from beam_etl.io.panes import FAILED, LAUNCH, retold

_METADATA = "_metadata"
"""In a savepoint's folder, written last."""


def restart(dataset: str, stream: str, savepoint: str, about: Mapping[str, Any], launch: str) -> None:
    """Makes a dataset ready for a stream that goes on: what the savepoint names stays, and panes are published again.

    The job that went on with it so far is refused from now on, where it still runs.

    Args:
      dataset: folder.
      stream: its name.
      savepoint: path or URL of a savepoint, or of a checkpoint.
      about: what the manifest tells of the job.
      launch: its run.

    Raises:
      DatasetError: the stream has failed, and the savepoint may be of after that: panes that the job didn't publish
        since would be missing. Or the dataset was replaced meanwhile.
    """
    staging.mark_appending(dataset, stream)
    publishing.refresh(dataset)
    head = manifest.latest(dataset)
    told = head.streams.get(stream, {}) if head else {}
    if head is not None and FAILED in told:
        failed, taken = _failed(dataset, head, told["run"]), _taken(savepoint)
        if failed is None or taken is None or taken >= failed:
            raise DatasetError(
                f"{dataset}: the stream {stream} has failed, and the savepoint isn't known to be from before that: "
                f"what came since would be missing. Go on from an earlier one, or start the job anew into another "
                f"--output. It failed with: {'; '.join(told[FAILED])}"
            )
    _take_over(dataset, stream, about, launch)
    renew(dataset, stream)


def launch_of(dataset: str, stream: str) -> str | None:
    """The run of the job that goes on with a stream: what takes its place on its engine publishes as that one.

    So each of the two may run, whichever the engine leaves. None where one that was never told apart may be there.
    """
    publishing.refresh(dataset)
    head = manifest.latest(dataset)
    return head.streams.get(stream, {}).get(LAUNCH) if head else None


def _take_over(dataset: str, stream: str, about: Mapping[str, Any], launch: str) -> None:
    """Publishes a version of a run of its own: what is left of the job before is fenced by it, and its failure gone."""
    run = f"{stream}{staging.new_run()}"
    folder = staging.staging_folder(dataset, stream)

    def merged(head: Manifest | None) -> Manifest | None:
        if head is None or stream not in head.streams:
            raise DatasetError(f"{dataset}: it was replaced or removed meanwhile. Start the job anew.")
        told = {name: value for name, value in head.streams[stream].items() if name != FAILED}
        told[LAUNCH] = launch
        return None if head.run == run else retold(head, stream, told, about, run)

    publish_on_top(dataset, merged, lambda made: os.path.join(folder, f"{run}-{made.number:06d}.json"))
    staging.remove_prepared(folder, run)


def _failed(dataset: str, head: Manifest, run: str) -> float | None:
    """When a stream has published that it fails, in seconds since 1970; None where that isn't known any more."""
    number = next((number for number, each in head.lineage if each == run), None)
    return None if number is None else _written(manifest.manifest_path(dataset, number))


def _taken(savepoint: str) -> float | None:
    url = urlsplit(savepoint)
    if url.scheme not in ("", "file"):
        return None
    return _written(os.path.join(url.path.removesuffix(f"/{_METADATA}"), _METADATA))


def _written(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
