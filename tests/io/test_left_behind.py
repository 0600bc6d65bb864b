"""What runs have put down on their way stays when another one is published, for who takes it over."""

import pytest

from beam_etl.io import left_behind, manifest, staging
from beam_etl.io.commit import PUBLISHED
from beam_etl.io.stores import store_of
from tests.attempts import OTHER, RUN
from tests.places import Place, attempt


@pytest.mark.parametrize("name", [f"split-0{staging.PUT_DOWN}", "owner-0123456789ab"], ids=["rows", "begun"])
def test_what_a_run_put_down_goes_a_day_after_it_was_written(
    name: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = place.dataset()
    folder = staging.staging_folder(dataset, "d" * 12)
    store_of(dataset).make_folder(folder)
    store_of(dataset).write(f"{folder}/{name}", b"rows")
    assert attempt(dataset, RUN) == PUBLISHED
    assert store_of(dataset).read(f"{folder}/{name}") == b"rows"
    monkeypatch.setattr(left_behind, "PUT_DOWN_SECONDS", -60)
    assert attempt(dataset, OTHER, manifest.latest(dataset)) == PUBLISHED
    assert staging.entries(f"{dataset}/{staging.FOLDER}") == []
