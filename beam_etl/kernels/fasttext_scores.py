"""The label that a model of fastText gives each text, and its probability.

A text is the mean of the rows of its words (fasttext_words) and of one that stands for the end of a line. Numbers are
float32, as fastText's, and words are added in their order, whatever surrounds a text. fastText itself adds n-gram by
n-gram: probabilities differ from its own in the last digits, and labels where two are as probable to six digits.

Source: Joulin et al., "Bag of tricks for efficient text classification" (2016), and fastText's code, for what is a word
and where a line ends (Dictionary::readWord, getLine), and the search in the tree of labels
(HierarchicalSoftmaxLoss::dfs).
"""

import math
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.fasttext_model import LINE_END, WIDTH, FastTextModel
from beam_etl.kernels.fasttext_words import Kept, Rows, add_row, add_up, no_words, place_of, rows_of
from beam_etl.kernels.utf8 import Utf8, byte, decode, trails
from beam_etl.kernels.word_hash import up_to_eight

NO_LABEL: Final = -1

Labels: TypeAlias = npt.NDArray[np.int16]
Scores: TypeAlias = npt.NDArray[np.float32]

Tree: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]
"""Rows of the inner nodes, and their children."""

Model: TypeAlias = tuple[Rows, Tree]

Search: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""For one text: its mean; nodes that are still to be looked at; the logarithms of their probabilities."""

Room: TypeAlias = tuple[Kept, Search]
"""What a thread writes to."""

_LINE_END_SIZE: Final = len(LINE_END)
_LINE_END_KEY = np.uint64(int.from_bytes(LINE_END, "little"))
_LINE_END_ROW: Final = 0
_LEAST: Final = 1e-5
"""Added to each probability before its logarithm is taken, and the least that is looked at."""


class Classifier:
    """Tells labels, in any number of threads. It takes 8 MB, and 3.3 MB for each thread that is in it at a time."""

    def __init__(self, model: FastTextModel) -> None:
        self._model: Model = (rows_of(model), (model.nodes.reshape(-1), model.children.reshape(-1)))
        self._idle: list[Room] = []

    def __call__(self, texts: Utf8, characters: int) -> tuple[Labels, Scores]:
        """The label of each text by so many characters of its start, without the blanks around them.

        Returns:
          int16[n], the number of a label, or NO_LABEL where nothing is left to look at; float32[n], its probability.
        """
        labels, scores = np.empty(texts.begin.size, np.int16), np.empty(texts.begin.size, np.float32)
        try:
            room = self._idle.pop()
        except IndexError:
            room = (no_words(), self._search())
        _label(texts.data, texts.begin, texts.end, characters, self._model, room, labels, scores)
        self._idle.append(room)
        return labels, scores

    def _search(self) -> Search:
        nodes = self._model[1][1].size
        return np.empty(WIDTH, np.float32), np.empty(nodes, np.int32), np.empty(nodes, np.float32)


@compiled
def _label(
    data: ReadOnly[np.uint8],
    begin: ReadOnly[np.int64],
    end: ReadOnly[np.int64],
    characters: int,
    model: Model,
    room: Room,
    labels: Labels,
    scores: Scores,
) -> None:
    rows, tree = model
    kept, search = room
    for row in range(begin.size):
        first, last = _trimmed(data, begin[row], _start_end(data, begin[row], end[row], characters))
        if first < last:
            _average(data, first, last, rows, kept, search[0])
            labels[row], scores[row] = _best(tree, search)
        else:
            labels[row], scores[row] = NO_LABEL, 0.0


@compiled
def _start_end(data: ReadOnly[np.uint8], begin: int, end: int, characters: int) -> int:
    """The place behind so many characters of a text."""
    at = begin
    while characters > 0 and at < end:
        at += 1
        while at < end and trails(data, at):
            at += 1
        characters -= 1
    return at


@compiled
def _trimmed(data: ReadOnly[np.uint8], begin: int, end: int) -> tuple[int, int]:
    """Where a text begins and ends without what is blank around it."""
    blank = True
    while blank and begin < end:
        point, width = decode(data, begin, end)
        blank = _is_blank(point)
        begin += width if blank else 0
    blank = True
    while blank and begin < end:
        at = end - 1
        while at > begin and trails(data, at):
            at -= 1
        blank = _is_blank(decode(data, at, end)[0])
        end = at if blank else end
    return begin, end


@compiled
def _is_blank(point: int) -> bool:
    """Whether Arrow, and str.isspace, call a character white space."""
    if point < 0x80:
        return point == 0x20 or 0x09 <= point <= 0x0D or 0x1C <= point <= 0x1F
    if point < 0x2000:
        return point in (0x85, 0xA0, 0x1680)
    return point <= 0x200A or point in (0x2028, 0x2029, 0x202F, 0x205F, 0x3000)


@compiled
def _average(
    data: ReadOnly[np.uint8],
    begin: int,
    end: int,
    rows: Rows,
    kept: Kept,
    mean: npt.NDArray[np.float32],
) -> None:
    keys, sums, counts = kept
    for step in range(WIDTH):
        mean[step] = 0.0
    add_row(rows[0], _LINE_END_ROW, mean, 0)
    count = 1
    at = begin
    while at < end:
        while at < end and _splits(byte(data, at)):
            at += 1
        first = at
        while at < end and not _splits(byte(data, at)):
            at += 1
        if at - first == _LINE_END_SIZE and up_to_eight(data, first, at) == _LINE_END_KEY:
            break
        if at > first:
            place, known = place_of(data, first, at, keys)
            if not known:
                counts[np.uintp(place)] = add_up(data, first, at, rows, sums, place)
            add_row(sums, place, mean, 0)
            count += counts[np.uintp(place)]
    for step in range(WIDTH):
        mean[step] *= np.float32(1.0 / count)


@compiled
def _splits(letter: int) -> bool:
    """Whether a byte stands between words: white space of ASCII, and NUL."""
    return letter <= 0x20 and (letter == 0x20 or 0x09 <= letter <= 0x0D or letter == 0)


@compiled
def _best(tree: Tree, search: Search) -> tuple[int, float]:
    """The most probable label, and its probability; of equals, the one that is met last from left to right."""
    rows, children = tree
    mean, waiting, reached = search
    leaves = children.size // 2 + 1
    best, best_score = NO_LABEL, np.float32(math.log(_LEAST))
    waiting[0], reached[0] = 2 * leaves - 2, 0.0
    depth = 1
    while depth > 0:
        depth -= 1
        node, score = int(waiting[np.uintp(depth)]), reached[np.uintp(depth)]
        if score < best_score:
            continue
        if node < leaves:
            best, best_score = node, score
            continue
        inner = node - leaves
        product = np.float32(0.0)
        for step in range(WIDTH):
            product += mean[step] * rows[np.uintp(inner * WIDTH + step)]
        right = np.float32(1.0 / (1.0 + math.exp(-product)))
        left = np.float32(1.0 - right)
        waiting[np.uintp(depth)] = children[np.uintp(2 * inner + 1)]
        reached[np.uintp(depth)] = score + np.float32(math.log(right + _LEAST))
        waiting[np.uintp(depth + 1)] = children[np.uintp(2 * inner)]
        reached[np.uintp(depth + 1)] = score + np.float32(math.log(left + _LEAST))
        depth += 2
    return best, min(math.exp(best_score), 1.0)
