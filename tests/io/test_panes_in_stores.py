"""Panes of a stream in object stores, where nothing is moved and lists may be late: published as in a folder."""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest, panes, staging
from beam_etl.io.commit import clean_run
from beam_etl.io.formats import format_named
from beam_etl.io.pane_expiry import remove_expired
from beam_etl.io.pane_files import PaneFiles
from beam_etl.io.panes import FencedError, PaneCommit, PanePublisher
from beam_etl.io.stores import store_of
from beam_etl.io.write_panes import WritePanes
from beam_etl.kernels.windows import DISCARDING, Firing, WindowSpec
from beam_etl.pipelines.windowed import window_columns
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.windows import AssignWindows, beam_trigger
from tests.places import OBJECTS, Place, listed, write_rows
from tests.streams import MINUTE, Arrival, documents, play

STREAM = "5c5c5c5c5c5c"
MINUTES = ((1, 4, 11), (2, 12), (25,))

stores = pytest.mark.parametrize("place", OBJECTS, indirect=True)


def begun(place: Place) -> str:
    dataset = place.dataset()
    panes.register(dataset, STREAM, "test", {"documents": {}, "rejects": {}})
    return dataset


def commit_of(dataset: str, index: int, names: Sequence[str], run: str = STREAM) -> PaneCommit:
    """Pane `index` of the window of the first minute, a row a file."""
    files = [write_rows(dataset, run, "documents", part, [name], True) for part, name in enumerate(names)]
    return PaneCommit(
        stream=STREAM,
        start=0,
        end=MINUTE,
        index=index,
        timing="late",
        files=tuple(files),
        schemas={"documents": {"row": "string"}},
        about={},
    )


@stores
def test_every_row_of_a_stream_is_published_once_and_runs_stay_for_checkpoints(place: Place) -> None:
    dataset = begun(place)
    spec = WindowSpec(
        size=10 * MINUTE,
        period=10 * MINUTE,
        allowed_lateness=30 * MINUTE,
        early_firing=Firing(count=1),
        accumulation=DISCARDING,
    )
    sink = WritePanes(output=dataset, stream=STREAM, trigger=beam_trigger(spec))

    def build(batches: Batches) -> dict[str, beam.PCollection[Any]]:
        windowed = batches | AssignWindows(spec=spec)
        tables = {"documents": windowed.documents, "rejects": windowed.rejects}
        return {"told": window_columns(tables, streaming=True) | sink}

    arrived = [
        Arrival(documents([minute * MINUTE for minute in some], id=[f"d{minute}" for minute in some]))
        for some in MINUTES
    ]
    play(arrived, build)
    head = manifest.latest(dataset)
    assert head is not None
    rows = [
        row["id"]
        for file in head.table("documents")
        for row in pq.read_table(io.BytesIO(store_of(dataset).read(f"{dataset}/{file.path}"))).to_pylist()
    ]
    assert sorted(rows) == sorted(f"d{minute}" for some in MINUTES for minute in some)
    runs = f"{staging.staging_folder(dataset, STREAM)}/_runs"
    assert len(store_of(dataset).names(runs)) >= len(MINUTES)
    remove_expired(dataset, STREAM, head, kept_seconds=-60)
    assert store_of(dataset).names(runs) == []
    assert [file.path for file in head.files] == [file.path for file in manifest.latest(dataset).files]  # type: ignore[union-attr]


@stores
def test_a_pane_that_fires_again_takes_the_place_of_what_was_there(place: Place) -> None:
    dataset = begun(place)
    PanePublisher(dataset, STREAM).publish(commit_of(dataset, 0, ["a"]))
    PanePublisher(dataset, STREAM).publish(commit_of(dataset, 1, ["b", "c"]))
    assert listed(dataset) == ["a", "b", "c"]
    PanePublisher(dataset, STREAM).publish(commit_of(dataset, 1, ["d"]))
    assert listed(dataset) == ["a", "d"]
    head = manifest.latest(dataset)
    assert head is not None
    remove_expired(dataset, STREAM, head, kept_seconds=-60)
    left = [found.path for found in store_of(dataset).files(f"{dataset}/documents")]
    assert len(left) == len(head.table("documents")) == 2


@stores
def test_an_attempt_of_before_another_publishes_nothing(place: Place) -> None:
    dataset = begun(place)
    early, late = PanePublisher(dataset, STREAM), PanePublisher(dataset, STREAM)
    late.publish(commit_of(dataset, 0, ["a"]))
    with pytest.raises(FencedError):
        early.publish(replace(commit_of(dataset, 0, ["b"]), about={"attempt": 2}))
    assert listed(dataset) == ["a"]


@stores
def test_rows_that_come_after_a_stream_was_given_up_are_not_lost_silently(place: Place) -> None:
    dataset = begun(place)
    clean_run(dataset, STREAM)  # in another process
    files = PaneFiles(dataset, STREAM, format_named("parquet"), 1 << 20)
    with pytest.raises(staging.AbandonedError, match="Cancel it"):
        files.stage([pa.record_batch({"row": ["a"]})], "documents")
