"""Parts of texts, and the texts without them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.utf8 import Utf8


@dataclass(frozen=True)
class Spans:
    """Parts of n texts, ascending, that neither touch nor overlap. Places are those of the texts' bytes.

    edges: int64[n + 1]. Text i has the spans from `edges[i]` up to `edges[i + 1]`.
    begins, ends: int64[spans].
    """

    edges: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Spans of each text: int64[n]."""
        return np.diff(self.edges)

    def bytes(self) -> npt.NDArray[np.int64]:
        """Of each text: int64[n]."""
        total = np.concatenate([[0], np.cumsum(self.ends - self.begins)])
        return total[self.edges[1:]] - total[self.edges[:-1]]

    def in_text(self, texts: Utf8) -> dict[str, Any]:
        """`begins` and `ends` as list<int64>[n], in bytes from the start of each text."""
        start = np.repeat(texts.begin, self.counts)
        edges = pa.array(self.edges.astype(np.int32))
        return {
            "begins": pa.ListArray.from_arrays(edges, pa.array(self.begins - start)),
            "ends": pa.ListArray.from_arrays(edges, pa.array(self.ends - start)),
        }


def runs(marked: npt.NDArray[np.bool_], edges: npt.NDArray[np.int64]) -> tuple[Spans, npt.NDArray[np.int64]]:
    """Neighbours that are marked, as one.

    Args:
      marked: bool[items].
      edges: int64[n + 1]: text i has the items from `edges[i]` up to `edges[i + 1]`. No run goes across.

    Returns:
      Spans whose begins and ends are places of items; and int64[spans], the text of each.
    """
    first = np.zeros(marked.size + 1, np.bool_)
    first[edges] = True
    last = first[1:]
    begins = np.flatnonzero(marked & (first[:-1] | ~np.concatenate([[False], marked[:-1]])))
    ends = np.flatnonzero(marked & (last | ~np.concatenate([marked[1:], [False]]))) + 1
    return Spans(np.searchsorted(begins, edges).astype(np.int64), begins, ends), (
        np.searchsorted(edges, begins, side="right") - 1
    )


def replace_spans(texts: Utf8, spans: Spans, filling: bytes = b"") -> pa.LargeStringArray:
    """The texts with something in place of each span. Nulls of what `texts` was made of are empty.

    Args:
      texts: n of them.
      spans: of whole characters.
      filling: UTF-8.
    """
    lengths = texts.end - texts.begin - spans.bytes() + spans.counts * len(filling)
    edges = np.concatenate([[0], np.cumsum(lengths)])
    out = np.empty(edges[-1], np.uint8)
    _replace(
        texts.data,
        texts.begin,
        texts.end,
        spans.edges,
        spans.begins,
        spans.ends,
        np.frombuffer(filling, np.uint8),
        out,
    )
    return pa.LargeStringArray.from_buffers(lengths.size, pa.py_buffer(edges), pa.py_buffer(out))


@compiled
def _replace(
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    edges: ReadOnly[np.int64],
    begins: ReadOnly[np.int64],
    ends: ReadOnly[np.int64],
    filling: ReadOnly[np.uint8],
    out: npt.NDArray[np.uint8],
) -> None:
    size = 0
    for row in range(begin.size):
        at = begin[row]
        for span in range(edges[row], edges[row + 1]):
            size = _copy(data, at, begins[span], out, size)
            size = _copy(filling, 0, filling.size, out, size)
            at = ends[span]
        size = _copy(data, at, end[row], out, size)


@compiled
def _copy(data: ReadOnly[np.uint8], begin: int, end: int, out: npt.NDArray[np.uint8], size: int) -> int:
    for place in range(begin, end):
        out[np.uintp(size + place - begin)] = data[np.uintp(place)]
    return size + end - begin
