"""What is said of a shuffle's partitions, and when it is worth a warning."""

import pytest

from beam_etl.observe.skew import COUNTED_BYTES, COUNTED_ROWS, LINES, ShuffleSkew, Sizes, skew_lines


def skew(
    label: str = "Join", rows: Sizes | None = None, size: Sizes | None = None, partitions: int = 64
) -> ShuffleSkew:
    even = Sizes(partitions * COUNTED_ROWS, COUNTED_ROWS)
    return ShuffleSkew(
        label, partitions, rows or even, size or Sizes(partitions * COUNTED_BYTES, COUNTED_BYTES)
    )


def test_the_mean_counts_empty_partitions() -> None:
    two_of_four = skew(rows=Sizes(total=300, largest=200), partitions=4)
    assert two_of_four.ratio(two_of_four.rows) == pytest.approx(200 / (300 / 4))


def test_above_ten_times_the_mean_the_hot_key_is_named() -> None:
    hot = skew(rows=Sizes(1_000_000, 900_000, "domain='hot.example'", 890_000))
    (by_rows,) = hot.warnings()
    assert by_rows == (
        "skew: the largest partition of Join has 900,000 rows, 57.6 times the mean of 64: about 890,000 rows are of "
        "domain='hot.example'"
    )
    (by_bytes,) = skew(size=Sizes(100 << 20, 50 << 20)).warnings()
    assert by_bytes == (
        "skew: the largest partition of Join has 52.4 MB, 32.0 times the mean of 64: no single key has a quarter of "
        "them"
    )


QUIET = {
    "even": skew(),
    "ten times": skew(rows=Sizes(64_000, 10_000)),
    "few rows of few": skew(rows=Sizes(COUNTED_ROWS - 1, COUNTED_ROWS - 1)),
    "few bytes of few": skew(size=Sizes(COUNTED_BYTES - 1, COUNTED_BYTES - 1)),
    "one partition": skew(rows=Sizes(10**9, 10**9), size=Sizes(10**12, 10**12), partitions=1),
    "nothing": skew(rows=Sizes(0, 0), size=Sizes(0, 0)),
}


@pytest.mark.parametrize("found", QUIET.values(), ids=QUIET)
def test_what_keeps_nobody_waiting_is_not_warned_of(found: ShuffleSkew) -> None:
    assert list(found.warnings()) == []


def test_the_shuffles_of_most_bytes_are_shown_and_the_others_counted() -> None:
    found = [skew(f"Step {n}", size=Sizes(n * 6400, n * 100 * n)) for n in range(1, LINES + 3)]
    lines = skew_lines([*found, skew("Empty", Sizes(0, 0), Sizes(0, 0))])
    assert lines[0] == "largest partition to the mean:"
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == [
        f"Step {n}" for n in range(LINES + 2, 2, -1)
    ]
    assert lines[1] == "  Step 10: 1.0x rows, 10.0x bytes of 64 KB in 64"
    assert lines[-1] == "  2 more, smaller ones: at most 2.0x"
    assert skew_lines([]) == []
