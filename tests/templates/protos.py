"""What a submitted pipeline holds, by its proto: steps, groupings, coders, windowing, and what is pickled in it."""

import base64
import bz2
import re
import zlib
from collections import Counter
from collections.abc import Iterator

from apache_beam.coders import Coder
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.transforms.core import Windowing

Pipeline = beam_runner_api_pb2.Pipeline

GROUPING = common_urns.primitives.GROUP_BY_KEY.urn

_PACKED = re.compile(rb"[A-Za-z0-9+/]{60,}={0,2}")


def top_steps(pipeline: Pipeline) -> list[str]:
    """The labels of the outermost steps, in order."""
    steps = pipeline.components.transforms
    roots = [steps[id] for id in pipeline.root_transform_ids]
    if len(roots) == 1:  # the pipeline itself
        roots = [steps[id] for id in roots[0].subtransforms]
    return [step.unique_name for step in roots]


def groupings(pipeline: Pipeline) -> list[str]:
    """The labels of all steps that group by key, those that Beam hides in other steps as well."""
    return sorted(
        step.unique_name for step in pipeline.components.transforms.values() if step.spec.urn == GROUPING
    )


def grouped(pipeline: Pipeline) -> Counter[str]:
    """Coder of what is grouped, as text, and the windowing that it is in: how often there is such a grouping."""
    context, found = PipelineContext(pipeline.components), Counter[str]()
    for step in pipeline.components.transforms.values():
        if step.spec.urn == GROUPING:
            (taken,) = step.inputs.values()
            collection = pipeline.components.pcollections[taken]
            coder = coder_text(context.coders.get_by_id(collection.coder_id))
            windowing = context.windowing_strategies.get_by_id(collection.windowing_strategy_id)
            found[f"{coder} in {_window_text(windowing)}"] += 1
    return found


def _window_text(windowing: Windowing) -> str:
    """Windows, trigger, how panes add up and how late rows may be."""
    windows = windowing.windowfn
    size = {name: str(getattr(windows, name)) for name in ("size", "period") if hasattr(windows, name)}
    lateness, adds = windowing.allowed_lateness, windowing.accumulation_mode
    return f"{type(windows).__name__} {size} {windowing.triggerfn} {adds} {lateness}"


def coder_text(coder: Coder) -> str:
    """A coder and its components by their names."""
    parts = [coder_text(part) for part in coder._get_component_coders()]
    name = type(coder).__name__
    return f"{name}[{', '.join(parts)}]" if parts else name


def unpacked(content: bytes) -> Iterator[bytes]:
    """The content, and all that Beam has compressed and written as base64 somewhere in it."""
    yield content
    for found in _PACKED.finditer(content):
        for length in range(
            len(found[0]), len(found[0]) - 4, -1
        ):  # a letter of what is before may look like it
            for start in range(4):
                if inner := _open(found[0][start:length]):
                    yield from unpacked(inner)
                    break


def _open(packed: bytes) -> bytes | None:
    try:
        raw = base64.b64decode(packed, validate=True)
    except ValueError:
        return None
    if raw[:3] == b"BZh":
        return bz2.decompress(raw)
    if raw[:1] == b"\x78":
        try:
            return zlib.decompress(raw)
        except zlib.error:
            return None
    return None
