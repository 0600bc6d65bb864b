"""A small index that has what large ones have: blocks, split terms, several partitions and row groups."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from beam_etl.io.index import files as index_files
from beam_etl.io.index.check import IndexCheck
from beam_etl.io.index.compare import Comparison, read_as_built
from beam_etl.io.index.manifest import open_index
from beam_etl.io.report import Report
from beam_etl.kernels import blocks, indexing, pieces, split_terms
from beam_etl.kernels.index_check import Cuts
from beam_etl.pipelines import inverted_index
from tests.index_lies import ROW_GROUP_BYTES, Row

GRANULE_BITS, DOCUMENT_GRANULE_BITS, BLOCK_POSTINGS = 4, 4, 16
"""Instead of 14, 12 and 65,536: so that 200 documents have blocks and ranges."""

DOCUMENTS = 200


def document(number: int) -> Row:
    """One that has `the` once or more, `even` in half of them, and some rare words."""
    draw = random.Random(number)
    rare = [f"w{draw.randrange(60)}" for _ in range(draw.randrange(8))]
    regular = ["the"] * (1 + number % 3) + ["even"] * (number % 2 == 0) + ["seldom"] * (number % 20 == 0)
    text = " ".join([*regular, *rare, *["end"] * (number % 3 == 0)])
    return {"id": f"id{number}", "url": f"https://one.org/{number}", "text": text}


def write(folder: Path, numbers: range = range(DOCUMENTS)) -> Path:
    folder.mkdir(parents=True)
    half = len(numbers) // 2
    for name, part in (("a", numbers[:half]), ("b", numbers[half:])):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(document(number)) for number in part))
    return folder


@contextmanager
def small() -> Iterator[None]:
    """What is cut in thousands is cut in tens, and there are four partitions."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pieces, blocks, indexing, split_terms):
            patch.setattr(module, "GRANULE_BITS", GRANULE_BITS)
        for module in (indexing, index_files):
            patch.setattr(module, "DOCUMENT_GRANULE_BITS", DOCUMENT_GRANULE_BITS)
        patch.setattr(split_terms, "SAMPLED", 1)
        patch.setattr(split_terms, "SPLIT_BYTES", 400)
        patch.setattr(index_files, "ROW_GROUP_BYTES", ROW_GROUP_BYTES)
        patch.setattr(
            index_files, "merge_pieces", partial(blocks.merge_pieces, block_postings=BLOCK_POSTINGS)
        )
        build = inverted_index.BuildInvertedIndex
        patch.setattr(inverted_index, "BuildInvertedIndex", partial(build, partitions=4))
        yield


def checked(folder: Path, documents: Path | None = None, threads: int = 2) -> Report:
    report = Report()
    current = open_index(str(folder), report)
    if current is None:
        return report
    cuts = Cuts(
        granule_bits=GRANULE_BITS,
        document_granule_bits=DOCUMENT_GRANULE_BITS,
        block_postings=BLOCK_POSTINGS,
    )
    check = IndexCheck(str(folder), current, report, threads, documents is not None, cuts)
    check.run()
    if documents is not None:
        Comparison(check, read_as_built([str(documents)], current.about["config"]), threads).run()
    return report
