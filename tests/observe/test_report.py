"""The report of a run in words and as JSON."""

import json
from dataclasses import replace

from beam_etl.observe.report import Crossing, Stage, plain
from beam_etl.observe.skew import ShuffleSkew, Sizes
from tests.observe.reports import GROUP, REPORT, WITHOUT_COUNTERS


def test_the_closing_lines_name_the_slowest_stage_and_the_hottest_key() -> None:
    said = REPORT.to_text().splitlines()
    assert said[0] == "where the time went (10 s, one worker):"
    assert said[1] == "     5.00 s   50%  Count: 1,000 rows (9 KB) in, 1,000 rows (9 KB) out"
    assert [line.split("  ")[-1] for line in said[5:7]] == ["starting Python", "the engine, between steps"]
    assert said[-2:] == [
        "slowest stage: Count",
        f"hottest key: {GROUP.skew and GROUP.skew.bytes.hot_key} of Group",
    ]


def test_beyond_the_slowest_five_the_rest_is_a_line() -> None:
    many = tuple(Stage(f"Step {number}", number, number / 36) for number in range(1, 9))
    said = replace(REPORT, stages=many).to_text().splitlines()
    assert [line.split()[-1] for line in said[1:6]] == ["8", "7", "6", "5", "4"]
    assert said[6].split("  ")[-1] == "3 more steps"
    assert said[6].split()[0] == "6.00"


def test_the_closing_lines_say_what_was_rejected_and_why() -> None:
    many = {"not JSON at byte #": 70, "a\x1b[31m": 3, "c": 2, "d": 1, "e": 1}
    [said] = [line for line in replace(REPORT, rejects=many).to_text().splitlines() if "reject" in line]
    assert said == "rejected (table rejects): 70 not JSON at byte #; 3 a [31m; 2 c; 2 more reasons"
    assert "reject" not in replace(REPORT, rejects={}).to_text()


def test_programs_read_the_same_numbers() -> None:
    told = json.loads(json.dumps(REPORT.to_json()))
    assert sum(stage["seconds"] for stage in told["stages"] + told["around"]) == told["seconds"]
    (shuffle,) = told["shuffles"]
    assert shuffle["seconds"] == {"cutting": 0.4, "encoding": 0.1, "decoding": 0.25, "merging": 1.0}
    assert shuffle["largest_to_mean"] == {"rows": 4.0, "bytes": 4.0}
    assert (shuffle["rows"], shuffle["bytes"], shuffle["elements"], shuffle["partitions"]) == (
        1000,
        8000,
        8,
        8,
    )
    assert told["slowest"] == "Count/Map"
    assert told["hottest"]["shuffle"] == "Group"
    assert told["rows"] == {"started": 1010, "rejected": 10, "read": 1000}


def test_a_key_that_is_known_by_its_rows_alone_is_the_hottest_where_there_is_no_other() -> None:
    skew = ShuffleSkew("Other", 2, Sizes(10, 9, "id=1", 9), Sizes(100, 90))
    other = Crossing("Other", ("id",), 10, 100, 2, skew, 0, 0, 0, 0)
    assert replace(REPORT, shuffles=(other,)).hottest == (other, "id=1")
    assert replace(REPORT, shuffles=(other, GROUP)).hottest == (
        GROUP,
        GROUP.skew and GROUP.skew.bytes.hot_key,
    )


def test_an_engine_that_tells_no_counters_leaves_a_report_without_them() -> None:
    assert WITHOUT_COUNTERS.to_text() == "where the time went (10 s):"
    assert WITHOUT_COUNTERS.to_json()["slowest"] is None


def test_functions_that_nobody_named_are_left_out_of_labels() -> None:
    assert [plain(label) for label in ("Count/Map", "Link/Map/ParDo(_Meet)", "Map", "Read/Open")] == [
        "Count",
        "Link",
        "Map",
        "Read/Open",
    ]
