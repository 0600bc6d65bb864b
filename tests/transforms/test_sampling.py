import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl.kernels.sampling import smallest_rows
from beam_etl.transforms.sampling import SampleKeys
from tests.beam import counters, run

ROWS = 20_000
MOST = 30
PAGES = pa.record_batch(
    {
        "domain": ["hot" if n % 10 else f"site{n % 700}" for n in range(ROWS)],
        "id": [f"id {n}" for n in range(ROWS)],
    }
)
PIECES = [PAGES.slice(start, 500) for start in range(0, ROWS, 500)]
SAMPLE = SampleKeys(by=("domain",), sample_by=("id",), most=MOST)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sample_does_not_depend_on_sharding(workers: int) -> None:
    at_once = smallest_rows(PAGES, ("domain",), ("id",), MOST)
    with run(f"--direct_num_workers={workers}") as pipeline:
        ids = pipeline | beam.Create(PIECES) | SAMPLE | beam.FlatMap(lambda batch: batch["id"].to_pylist())
        assert_that(ids, equal_to(at_once["id"].to_pylist()))


def test_a_hot_key_crosses_with_as_many_rows_a_bundle_as_may_stay() -> None:
    pipeline = run()
    pipeline | beam.Create(PIECES, reshuffle=False) | "Sample" >> SAMPLE
    crossed = counters(pipeline, "Sample/Shuffle/Cut")["rows_out"]
    assert crossed == smallest_rows(PAGES, ("domain",), ("id",), MOST).num_rows


@pytest.mark.parametrize(
    "wrong", [{"by": ()}, {"sample_by": ()}, {"most": 0}], ids=lambda wrong: next(iter(wrong))
)
def test_what_can_be_no_sample_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs columns of the key"):
        SampleKeys(**{"by": ("domain",), "sample_by": ("id",), "most": 1, **wrong})  # type: ignore[arg-type]
