"""InvertedIndex: what inverted_index wrote, to be searched. Several are one: segments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from beam_etl.io.errors import InputError
from beam_etl.io.index.segment import IndexSegment
from beam_etl.io.table_files import Counter
from beam_etl.kernels.bm25 import K1, B, Bm25
from beam_etl.kernels.phrases import Postings, phrase_postings
from beam_etl.kernels.query import Phrase, Query, QueryError, parse_query
from beam_etl.kernels.top_documents import Top, top_documents


class Statistics(NamedTuple):
    """Of all segments together.

    average_length: tokens / documents; 0 where there is none.
    """

    documents: int
    tokens: int
    average_length: float


class Document(NamedTuple):
    """A document of an index."""

    document: int
    id: str | None
    url: str | None
    length: int
    """In indexed words."""
    file: str | None
    position: int | None
    segment: int


class Hit(NamedTuple):
    """A document that answers a query."""

    document: int
    score: float


@dataclass(frozen=True)
class Found:
    """What a search found.

    hits: by descending score, equal ones by document.
    blocks, blocks_read: of the query's terms, and how many were looked into.
    """

    hits: tuple[Hit, ...]
    blocks: int
    blocks_read: int


class Contribution(NamedTuple):
    """What a term or phrase adds to the score of a document; 0 where it isn't there.

    document_frequency: of each word.
    """

    phrase: Phrase
    times: int
    document_frequency: tuple[int, ...]
    idf: float
    frequency: int
    length: int
    score: float


class InvertedIndex:
    """An index of one folder or several, whose documents are numbered from one to the next in the order given.

    Only what is asked for is read: of a term, its row group of `terms` and the row groups of `postings` that have it,
    in the files that can. Footers, lengths of documents, some postings and of each segment up to 64 MiB
    of row groups are kept. Not for several threads at once.

    Args:
      path: a folder, several separated by commas, or a sequence of them.

    Raises:
      InputError: a folder has no index that this code can search, or their words differ. The message says what to do.
      DatasetError: a manifest is damaged; later, a file is gone or damaged.
    """

    def __init__(self, path: str | Sequence[str]) -> None:
        folders = path.split(",") if isinstance(path, str) else list(path)
        folders = [folder.strip() for folder in folders if folder.strip()]
        if not folders:
            raise InputError("no index is named. Give the folder that inverted_index wrote as --output.")
        self._counter = Counter()
        self.segments = [IndexSegment(folder, self._counter) for folder in folders]
        self.words = str(self.segments[0].about["words"])
        """The rule that made the terms."""
        for segment in self.segments[1:]:
            if segment.about["words"] != self.words:
                raise InputError(
                    f"{segment.folder}: --words={segment.about['words']}, of {folders[0]} {self.words}. What is "
                    f"searched together has the same: build one of them anew."
                )
        sizes = [segment.documents for segment in self.segments]
        self._offsets = [0, *np.cumsum(sizes).tolist()]

    @property
    def bytes_read(self) -> int:
        """Bytes read of the tables' files so far, footers included."""
        return self._counter.bytes

    @property
    def stored_bytes(self) -> int:
        """Bytes of all files of all segments."""
        return sum(segment.stored_bytes for segment in self.segments)

    @property
    def statistics(self) -> Statistics:
        """Summed over the segments."""
        documents = self._offsets[-1]
        tokens = sum(int(segment.about["tokens"]) for segment in self.segments)
        return Statistics(documents, tokens, tokens / max(documents, 1))

    def frequency(self, term: str) -> int:
        """How many documents have a term: a word as the tokeniser makes it."""
        return sum(segment.term(term).document_frequency for segment in self.segments)

    def postings(self, term: str) -> Iterator[tuple[int, int, list[int] | None]]:
        """The documents that have a term, ascending, how often, and its positions; None where they weren't kept."""
        for segment, offset in zip(self.segments, self._offsets, strict=False):
            kept = bool(segment.about["positions"])
            for block in range(segment.blocks(term).size):
                documents, frequencies, positions, edges = segment.postings(term, block, kept)
                for at, document in enumerate(documents.tolist()):
                    places = None
                    if positions is not None and edges is not None:
                        places = positions[edges[at] : edges[at + 1]].tolist()
                    yield offset + document, int(frequencies[at]), places

    def document(self, number: int) -> Document:
        """A document.

        Raises:
          IndexError: there is none of this number.
        """
        place, local = self._locate(number)
        row = self.segments[place].document(local)
        return Document(**{**row, "document": number}, segment=place)

    def query(self, query: str) -> Query:
        """A query in the words of this index.

        Raises:
          QueryError: it finds nothing whatever the documents, or has phrases and the index no positions.
        """
        parsed = parse_query(query, self.words)
        without = [segment.folder for segment in self.segments if not segment.about["positions"]]
        if parsed.has_phrases and without:
            raise QueryError(
                f"{query!r}: phrases need positions, which {without[0]} doesn't have. Build it with "
                f"--positions=true, or ask without quotes."
            )
        return parsed

    def search(self, query: str, k: int = 10, k1: float = K1, b: float = B) -> Found:
        """The k best documents by BM25 (kernels.bm25), exactly as if every document were scored.

        Args:
          query: see kernels.query.
          k: how many.
          k1, b: parameters of the formula.

        Raises:
          QueryError: as `query`.
          ValueError: k, k1 or b can't be.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        parsed, formula = self.query(query), self._formula(k1, b)
        top = Top()
        if formula.documents:
            weights = [
                formula.weight(self._frequencies(clause.phrase), clause.times) for clause in parsed.scored
            ]
            top = top_documents(parsed, self.segments, self._offsets[:-1], weights, formula, k)
        hits = map(Hit, top.documents.tolist(), top.scores.tolist())
        return Found(tuple(hits), top.blocks, top.blocks_read)

    def explain(self, query: str, number: int, k1: float = K1, b: float = B) -> list[Contribution]:
        """What each term and phrase adds to the score of a document. In this order they are summed.

        Args and errors are those of `search` and `document`.
        """
        formula, (place, local) = self._formula(k1, b), self._locate(number)
        segment, document = self.segments[place], np.array([local], np.uint32)
        length = segment.lengths(document)
        found = []
        for phrase, times, _ in self.query(query).scored:
            frequencies = self._frequencies(phrase)
            frequency = self._postings_near(segment, phrase, local).of(document)
            added, idf = 0.0, formula.weight(frequencies, 1)
            if frequency[0]:
                added = float(formula.scores(formula.weight(frequencies, times), frequency, length)[0])
            found.append(
                Contribution(phrase, times, frequencies, idf, int(frequency[0]), int(length[0]), added)
            )
        return found

    def _postings_near(self, segment: IndexSegment, phrase: Phrase, document: int) -> Postings:
        """The postings of a term or phrase in one document."""
        words = []
        for word in phrase:
            blocks = segment.blocks(word)
            mine = np.flatnonzero((blocks.first <= document) & (blocks.last >= document))
            if not mine.size:
                return _NOTHING
            postings = segment.postings(word, int(mine[0]), len(phrase) > 1)
            words.append(postings.between(document, document + 1))
        return words[0] if len(words) == 1 else phrase_postings(words)

    def _frequencies(self, phrase: Phrase) -> tuple[int, ...]:
        return tuple(map(self.frequency, phrase))

    def _formula(self, k1: float, b: float) -> Bm25:
        statistics = self.statistics
        return Bm25(statistics.documents, statistics.average_length, k1, b)

    def _locate(self, number: int) -> tuple[int, int]:
        if not 0 <= number < self._offsets[-1]:
            raise IndexError(f"no document {number}: there are {self._offsets[-1]}")
        place = int(np.searchsorted(self._offsets, number, side="right")) - 1
        return place, number - self._offsets[place]


_NOTHING = Postings(np.zeros(0, np.uint32), np.zeros(0, np.uint32))
