"""Which source that doesn't end runs on which engine: one table, for the launcher and for docs/streaming.md."""

from collections.abc import Mapping

from beam_etl.pipelines.flags import UsageError
from beam_etl.pipelines.runners import DATAFLOW, FLINK, IN_PROCESS, SPARK, runner_name
from beam_etl.pipelines.stream_config import SCHEMES

IN_PROCESS_STREAM = "BundleBasedDirectRunner"

YES, MADE, UNTRIED = "yes", "made, not run", "not tried"
RUNS = (YES, MADE, UNTRIED)
"""What isn't refused: seen to run; a job is made that nobody has seen run; neither."""

_BATCH_ENGINE = "it runs batches only: it would read to an end that there isn't"
_NO_SOURCE = "it runs no source that doesn't end"
_SPARK = "a stream says RUNNING for ever there and does nothing"
_NO_PUBSUB = "Beam for Python reads Pub/Sub on Dataflow only, and in process"
_NO_FOLDER = "its workers hold no files of this machine"

SUPPORT: Mapping[str, Mapping[str, str]] = {
    "replay": {
        IN_PROCESS: _BATCH_ENGINE,
        IN_PROCESS_STREAM: YES,
        FLINK: YES,
        DATAFLOW: _NO_FOLDER,
        SPARK: _SPARK,
    },
    "watch": {
        IN_PROCESS: _BATCH_ENGINE,
        IN_PROCESS_STREAM: _NO_SOURCE,
        FLINK: YES,
        DATAFLOW: MADE,
        SPARK: _SPARK,
    },
    "kafka": {
        IN_PROCESS: _BATCH_ENGINE,
        IN_PROCESS_STREAM: _NO_SOURCE,
        FLINK: YES,
        DATAFLOW: MADE,
        SPARK: _SPARK,
    },
    "pubsub": {
        IN_PROCESS: _BATCH_ENGINE,
        IN_PROCESS_STREAM: UNTRIED,
        FLINK: _NO_PUBSUB,
        DATAFLOW: MADE,
        SPARK: _SPARK,
    },
}
"""For each source and engine: one of RUNS, or why it doesn't."""


def refuse_unsupported(source: str, runner: str) -> None:
    """Raises where a source doesn't run on an engine.

    Args:
      source: one of SUPPORT.
      runner: as the user gave it.

    Raises:
      UsageError: it doesn't. The message says why, and where it does.
    """
    engines = SUPPORT[source]
    said = engines.get(runner_name(runner), "nobody has looked whether that engine does streams")
    if said not in RUNS:
        others = " or ".join(short(name) for name, found in engines.items() if found in RUNS)
        raise UsageError(
            f"--input={SCHEMES[source]}... doesn't run on --runner={runner}: {said}. Use --runner={others}."
        )


def short(engine: str) -> str:
    """What a user writes for an engine."""
    return {IN_PROCESS: "direct", FLINK: "flink", DATAFLOW: "dataflow", SPARK: "spark"}.get(engine, engine)


def support_table() -> str:
    """The table, for docs."""
    engines = list(next(iter(SUPPORT.values())))
    lines = [
        "| `--input` | " + " | ".join(f"`{short(engine)}`" for engine in engines) + " |",
        "|---" * (len(engines) + 1) + "|",
        *(
            f"| `{SCHEMES[source]}` | " + " | ".join(_cell(by_engine[engine]) for engine in engines) + " |"
            for source, by_engine in SUPPORT.items()
        ),
    ]
    return "\n".join(lines)


def _cell(said: str) -> str:
    return said if said in RUNS else f"no: {said}"
