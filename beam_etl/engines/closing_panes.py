"""What windows do when their lateness is over."""

from apache_beam.portability.api import beam_runner_api_pb2


def leave_out_closing_panes(pipeline: beam_runner_api_pb2.Pipeline) -> None:
    """No pane when a window's lateness is over, unless something has come since the one before.

    (Beam for Python asks for one always: where panes accumulate, all rows of each window would be written once more.)
    """
    for strategy in pipeline.components.windowing_strategies.values():
        strategy.closing_behavior = beam_runner_api_pb2.ClosingBehavior.EMIT_IF_NONEMPTY
