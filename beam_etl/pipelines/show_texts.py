"""Texts of removed documents, and of those kept for them, as the step that looked at them had them."""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.dataset_rows import NoTableError, Row, TableRows
from beam_etl.io.document_texts import Place, read_documents, read_page
from beam_etl.io.errors import InputError
from beam_etl.kernels.c4_lines import keep_lines
from beam_etl.kernels.contamination import FILLING, MASK
from beam_etl.kernels.document_rules import READABLE_TYPES
from beam_etl.kernels.html import CONTENT_TYPE, extract_text
from beam_etl.transforms.children import Guarded

C4_LINES, DECONTAMINATE, LINES = "c4_lines", "decontaminate", "lines"
"""Steps of curate that change texts which later ones look at."""

_EDITS = {DECONTAMINATE: "matches", LINES: "edits"}
"""Tables that say what such a step changed."""


class SourceText(NamedTuple):
    """What was read of a document."""

    url: str | None = None
    text: str | None = None
    why: str = ""
    """Why there is no text."""


def read_source(place: Place, made: Mapping[str, Any], patterns: Sequence[str] = ()) -> SourceText:
    """A document as it was read; of a page the text that the job made of it, or would have made.

    Args:
      place: of the document.
      made: the configuration of the job that wrote the dataset.
      patterns: where the input is now, if it was moved.
    """
    page = read_page(place, made, patterns) if "extract" in made else None
    if page is None:
        row = read_documents([place], made, patterns).get(place)
        if row is None:
            return SourceText(why=f"{place.file} is gone, has changed, or has no text by itself")
        return SourceText(row.column(schema.URL)[0].as_py(), row.column(schema.TEXT)[0].as_py())
    url, kind = (page.column(name)[0].as_py() for name in (schema.URL, CONTENT_TYPE))
    if kind not in (None, *READABLE_TYPES):
        return SourceText(url, why=f"it is {kind}, of which no text is made")
    kernel = partial(extract_text, extract=made["extract"], max_bytes=made["max_page_bytes"])
    [found] = Guarded(kernel, made["page_seconds"], made["page_memory"]).rows(page)
    if isinstance(found, str):
        return SourceText(url, why=found)
    return SourceText(url, found[0].column(schema.TEXT)[0].as_py())


class StepTexts:
    """What earlier steps of curate had made of texts when another looked at them.

    Args:
      dataset: that curate, or a pipeline of one step, wrote.
      made: the configuration of the job.
      rows: those of its removals whose texts will be asked for.

    Raises:
      InputError: a table that says what such a step changed is gone.
    """

    def __init__(self, dataset: str, made: Mapping[str, Any], rows: Sequence[Row]) -> None:
        self._order = _editing(made.get("steps") or {})
        places = {(row["file"], row["position"]) for row in rows}
        places |= {(row["survivor_file"], row["survivor_position"]) for row in rows if row["survivor_file"]}
        self._edits: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
        for step in self._order:
            if places and step in _EDITS:
                for edit in _edits(dataset, step).of_documents(places):
                    spans = self._edits.setdefault((step, edit["file"], edit["position"]), [])
                    spans += zip(edit["begins"], edit["ends"], strict=True)

    def before(self, step: str | None) -> list[str]:
        """The steps that had changed texts when this one looked at them."""
        return [name for name, later in self._order.items() if step in later]

    def text(self, text: str, place: Place, step: str | None) -> str:
        """A text as a step had it, from the one that was read."""
        for name in self.before(step):
            spans = sorted(self._edits.get((name, place.file, place.position), ()))
            if name == C4_LINES:
                text = _kept_lines(text)
            elif spans and name == DECONTAMINATE:
                text = _filled(unicodedata.normalize("NFC", text), spans)
            elif spans:
                text = _replaced(text, spans, "")
        return text


def _edits(dataset: str, step: str) -> TableRows:
    try:
        return TableRows(dataset, _EDITS[step])
    except NoTableError as error:  # to show texts as if nothing was changed would be wrong
        why = f"without it nobody knows what {step} changed. --table=removals shows the rows without texts"
        raise InputError(f"{error}: {why}") from error


def _editing(steps: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Of a curate job each step that changes texts, and those behind it; in their order."""
    if not steps:
        return {}
    from beam_etl.pipelines.curate_steps import ORDER  # with all the pipelines of the steps

    masks = steps.get(DECONTAMINATE, {}).get("action") == MASK
    asked = {C4_LINES: C4_LINES in steps, DECONTAMINATE: masks, LINES: LINES in steps}
    return {step: ORDER[place + 1 :] for place, step in enumerate(ORDER) if asked.get(step)}


def _kept_lines(text: str) -> str:
    kept = keep_lines(
        pa.record_batch({schema.ID: [""], schema.TEXT: pa.array([text], pa.large_string())})
    ).kept
    return str(kept.column(schema.TEXT)[0]) if kept.num_rows else text


def _filled(text: str, spans: list[tuple[int, int]]) -> str:
    """Spans of several sets may overlap; those with no word in between are one."""
    data, joined = text.encode(), [spans[0]]
    for begin, end in spans[1:]:
        last, stop = joined[-1]
        if begin <= stop or not any(map(str.isalnum, data[stop:begin].decode())):
            joined[-1] = (last, max(stop, end))
        else:
            joined.append((begin, end))
    return _replaced(text, joined, FILLING)


def _replaced(text: str, spans: list[tuple[int, int]], filling: str) -> str:
    """The text with something in place of spans, which are in bytes of UTF-8 and ascend."""
    data, pieces, done = text.encode(), list[bytes](), 0
    for begin, end in spans:
        pieces += [data[done:begin], filling.encode()]
        done = end
    return b"".join([*pieces, data[done:]]).decode(errors="replace")
