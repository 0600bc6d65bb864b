"""`python -m beam_etl.pipelines.search INDEX 'query'`: the documents of an index that answer a query best.

A query has words, "phrases", +required and -excluded ones; a word that stands there twice counts twice. Scores are
those of BM25 (kernels/bm25.py), summed in the order of the words' bytes. No Beam job: one process reads the few row
groups that have the words.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beam_etl import schema
from beam_etl.io.document_texts import Place, read_documents
from beam_etl.io.errors import InputError
from beam_etl.io.index.reader import Contribution, Document, Found, InvertedIndex
from beam_etl.io.manifest import DatasetError
from beam_etl.kernels.bm25 import K1, B, Bm25
from beam_etl.kernels.excerpts import excerpt, printable
from beam_etl.kernels.query import Phrase, QueryError
from beam_etl.observe.text import format_bytes
from beam_etl.pipelines import flags
from beam_etl.pipelines.flags import FOLDER, flag

NAME = "search"
SUMMARY = """The documents of an inverted index that answer a query best: INDEX[,INDEX...] 'QUERY' [-k 10] [--explain]

A query has words, "words of a phrase", +required and -excluded ones."""

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done, also where nothing was found; a file is gone or damaged; a command line, query or folder that
can't be searched; Ctrl-C."""

INDENT = "        "


@dataclass(frozen=True, kw_only=True)
class Config:
    """What can be asked."""

    index: tuple[str, ...] = flag("folders of the indexes; stands first, without --index=", unit=FOLDER)
    query: str = flag("what to find; stands second, without --query=")
    k: int = flag("how many documents; -k 10 as well", default=10)
    k1: float = flag("how much further occurrences of a word count, from 0", default=K1)
    b: float = flag("how much a document's length counts, from 0 to 1", default=B)
    explain: bool = flag("show what each word adds, and what was read", default=False, bare="true")
    documents: tuple[str, ...] = flag(
        "files, folders, globs or @list.txt where the documents are now, if they were moved", default=()
    )

    def __post_init__(self) -> None:
        if not self.index:
            raise ValueError("no index is named")
        if self.k < 1:
            raise ValueError(f"-k must be at least 1, got {self.k}")
        Bm25(0, 0.0, self.k1, self.b)


def run(argv: Sequence[str] | None = None) -> int:
    """Searches and prints; the exit code."""
    try:
        config, rest = flags.parse(
            Config, _named(sys.argv[1:] if argv is None else argv), f"beam-etl {NAME}", SUMMARY
        )
        if rest:
            raise flags.UsageError(f"unknown argument {rest[0]}. --help lists the flags.")
        index = InvertedIndex(config.index)
    except (flags.UsageError, InputError, DatasetError) as error:
        return _told(error, USAGE)
    try:
        for line in lines(index, config):
            print(line)
        return DONE
    except (QueryError, InputError) as error:
        return _told(error, USAGE)
    except (DatasetError, OSError) as error:
        return _told(error, FAILED)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _told(error: Exception, code: int) -> int:
    print(f"{NAME}: {error}", file=sys.stderr)
    return code


def _named(arguments: Sequence[str]) -> list[str]:
    """The command line with names for what may stand without."""
    named, rest, places = [], list(arguments), ["index", "query"]
    while rest:
        argument = rest.pop(0)
        if argument == "-k" and rest:
            named.append(f"--k={rest.pop(0)}")
        elif argument.startswith("--") or argument == "-h":
            named.append(argument)
        elif places:
            named.append(f"--{places.pop(0)}={argument}")
        else:
            raise flags.UsageError(f"{argument!r} is too much. A query of several words stands in quotes.")
    return named


def lines(index: InvertedIndex, config: Config) -> Iterator[str]:
    """What is printed."""
    found = index.search(config.query, config.k, config.k1, config.b)
    documents = [index.document(hit.document) for hit in found.hits]
    explained = [index.explain(config.query, hit.document, config.k1, config.b) for hit in found.hits]
    excerpts = _excerpts(index, documents, explained, config.documents)
    for rank, (hit, document) in enumerate(zip(found.hits, documents, strict=True), 1):
        named = "  ".join(printable(name) for name in (document.id, document.url) if name)
        yield f"{rank:4}  {hit.score:9.4f}  {named}"
        if line := excerpts.get(hit.document):
            yield f"{INDENT}{line}"
        if config.explain:
            yield from _explanation(explained[rank - 1])
    if not found.hits:
        yield f"no document of {index.statistics.documents:,} answers {config.query}"
    if config.explain:
        yield _work(index, found)


def _excerpts(
    index: InvertedIndex,
    documents: Sequence[Document],
    explained: Sequence[Sequence[Contribution]],
    patterns: Sequence[str],
) -> dict[int, str]:
    """A line of each document that is at hand."""
    found = {}
    for number, segment in enumerate(index.segments):
        mine = {
            document.document: Place(document.file, document.position, document.id)
            for document in documents
            if document.segment == number and document.file is not None and document.position is not None
        }
        rows = read_documents(mine.values(), segment.config, patterns) if mine else {}
        for document, parts in zip(documents, explained, strict=True):
            row = rows.get(mine[document.document]) if document.document in mine else None
            text = None if row is None else row.column(schema.TEXT)[0].as_py()
            line = None if text is None else excerpt(text, _most_first(parts), index.words)
            if line:
                found[document.document] = line
    return found


def _most_first(parts: Sequence[Contribution]) -> list[Phrase]:
    return [part.phrase for part in sorted(parts, key=lambda part: -part.score) if part.frequency]


def _explanation(parts: Sequence[Contribution]) -> Iterator[str]:
    shown = [_shown(part) for part in parts]
    width = max(len("term"), *map(len, shown))
    yield f"{INDENT}{'term':{width}} {'df':>9} {'idf':>8} {'tf':>6} {'length':>8} {'adds':>9}"
    for part, term in zip(parts, shown, strict=True):
        frequencies = "+".join(f"{frequency:,}" for frequency in part.document_frequency)
        yield (
            f"{INDENT}{term:{width}} {frequencies:>9} {part.idf:8.4f} {part.frequency:6,} {part.length:8,} "
            f"{part.score:9.4f}"
        )


def _shown(part: Contribution) -> str:
    term = part.phrase[0] if len(part.phrase) == 1 else f'"{" ".join(part.phrase)}"'
    return printable(term) + (f" x{part.times}" if part.times > 1 else "")


def _work(index: InvertedIndex, found: Found) -> str:
    skipped = found.blocks - found.blocks_read
    return (
        f"blocks: {found.blocks_read:,} read, {skipped:,} skipped; {format_bytes(index.bytes_read)} read of "
        f"{format_bytes(index.stored_bytes)}"
    )


if __name__ == "__main__":
    sys.exit(run())
