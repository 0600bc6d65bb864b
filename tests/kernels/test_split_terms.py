from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from beam_etl.kernels.inverting import invert
from beam_etl.kernels.pieces import GRANULE_BITS
from beam_etl.kernels.split_terms import (
    COSTS,
    SAMPLED,
    SPLIT_BYTES,
    in_sample,
    sample_costs,
    split_terms,
    sum_costs,
    term_strings,
)
from beam_etl.schema import INDEXED_DOCUMENT
from beam_etl.testing import check_merge
from beam_etl.transforms.batches import merge_batches


def named(ids: Sequence[str | None], lengths: Sequence[int]) -> pa.RecordBatch:
    rows = [
        {"id": each, "url": None, "length": length, "position": place}
        for place, (each, length) in enumerate(zip(ids, lengths, strict=True))
    ]
    return pa.RecordBatch.from_pylist(rows, INDEXED_DOCUMENT)


def costs(ids: list[str], texts: list[str], positions: bool, batch: int) -> dict[str, int]:
    parts = []
    for at in range(0, len(texts), batch):
        inverted = invert(pa.array(texts[at : at + batch]), positions=positions)
        chosen = in_sample(named(ids[at : at + batch], inverted.lengths.tolist()))
        part = sample_costs(inverted, chosen, term_strings(inverted))
        parts += [part] if part else []
    return {row["term"]: row["bytes"] for row in sum_costs(merge_batches(parts)).to_pylist()}


def test_the_sample_depends_on_documents_alone() -> None:
    ids = [f"id {number}" for number in range(2000)]
    texts = [f"all all {'even' if number % 2 == 0 else 'odd'} only{number}" for number in range(2000)]
    chosen = np.flatnonzero(in_sample(named(ids, [4] * 2000)[::-1])[::-1]).tolist()
    assert len(chosen) == pytest.approx(2000 / SAMPLED, rel=0.5)
    for positions in (False, True):
        expected: Counter[str] = Counter()
        for number in chosen:
            for word in texts[number].split():
                expected[word] += positions
            for word in set(texts[number].split()):
                expected[word] += 2
        assert costs(ids, texts, positions, 7) == costs(ids, texts, positions, 2000) == expected


def test_the_sample_has_its_share_of_documents_whose_ids_repeat() -> None:
    count = 64_000
    for ids, lengths in ((["same"] * count, range(count)), ([None] * count, [512] * count)):
        chosen = in_sample(named(ids, lengths))
        assert chosen.mean() == pytest.approx(1 / SAMPLED, rel=0.15)


def test_terms_of_many_bytes_are_split_into_ranges_of_whole_granules() -> None:
    limit = SPLIT_BYTES // SAMPLED
    rows = [("few", limit - 1), ("some", limit), ("many", 5 * limit), ("most", 5000 * limit)]
    batch = pa.RecordBatch.from_pylist([{"term": term, "bytes": cost} for term, cost in rows], COSTS)
    widths = {row["term"]: row["width"] for row in split_terms(batch, 10_000_000).to_pylist()}
    assert widths == {"some": 23, "many": 20, "most": GRANULE_BITS}


def test_costs_are_summed_in_any_order() -> None:
    parts = [
        [{"term": term, "bytes": cost} for cost, term in enumerate(terms)]
        for terms in ("abc", "ab", "c", "aab")
    ]
    check_merge(sum_costs, [pa.RecordBatch.from_pylist(part, COSTS) for part in parts])
