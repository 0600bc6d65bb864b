"""A report of a run that never was, of which every number is known."""

from dataclasses import replace

from beam_etl.observe.graph import Graph, Node
from beam_etl.observe.report import ENGINE, STARTING, Crossing, RunReport, Stage
from beam_etl.observe.skew import ShuffleSkew, Sizes

HOSTILE = "<script>alert(\"1\")</script> & 'more'"

READ = Stage("Read/ParDo(_Read)", 1.5, 0.15, rows_out=1000, bytes_in=4000, bytes_out=9000)
COUNT = Stage("Count/Map", 5.0, 0.5, 1000, 1000, 9000, 9000)
CUT = Stage("Group/Cut", 0.5, 0.05, 1000, 1000, 9000, 9000)
MERGE = Stage("Merge/Map", 1.0, 0.1, 1000, 10, 9000, 100)
SKEW = ShuffleSkew(
    "Group", 8, Sizes(1000, 500, "domain='rows'", 400), Sizes(8000, 4000, f"domain={HOSTILE!r}", 3500)
)
GROUP = Crossing("Group", ("domain",), 1000, 8000, 8, SKEW, 0.4, 0.1, 0.25, 1.0)
REPORT = RunReport(
    job="count",
    run="0123456789ab",
    output="/data/out",
    number=3,
    runner="FnApiRunner",
    workers=1,
    seconds=10.0,
    around=(Stage(STARTING, 1.5, 0.15), Stage(ENGINE, 0.5, 0.05)),
    stages=(READ, COUNT, CUT, MERGE),
    shuffles=(GROUP,),
    input_bytes=4000,
    rows={"started": 1010, "rejected": 10, "read": 1000},
    tables={"counts": 10, "rejects": 10},
    output_bytes=640,
    rejects={"not JSON at byte #": 7, HOSTILE: 3},
    graph=Graph(
        (
            Node("Read", (READ.label,)),
            Node("Count", (COUNT.label,)),
            Node("Group", (CUT.label,), True),
            Node("Merge", (MERGE.label,)),
        ),
        ((0, 1), (1, 2), (2, 3), (0, 3)),
    ),
)
WITHOUT_COUNTERS = replace(
    REPORT, workers=None, around=(), stages=(), shuffles=(), rows={}, rejects={}, graph=Graph()
)
