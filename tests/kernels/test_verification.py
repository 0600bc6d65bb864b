import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.banding import Banding
from beam_etl.kernels.candidates import (
    BUCKETS,
    LOW,
    TWIN,
    NearRule,
    bucket_links,
    contract_signatures,
    sign,
)
from beam_etl.kernels.choosing import facts_only
from beam_etl.kernels.components import link_batch
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.verification import (
    CANDIDATE,
    FACT,
    PASSES,
    concat_facts,
    first_of_groups,
    grant,
    verify,
    wishes,
)
from beam_etl.testing import sorted_rows
from tests.duplicates import Document, batch_of, families, minima, similarity

SIZE = 64


def low_of(agreeing: int, other: int = 1) -> bytes:
    """Bytes of a signature that agrees with `low_of(SIZE)` in so many places."""
    return bytes([0] * agreeing + [other] * (SIZE - agreeing))


def facts(rows: list[tuple[int, int, int, bytes]]) -> pa.RecordBatch:
    """Candidates: node, root, band and low bytes."""
    node, root, band, low = zip(*rows, strict=True)
    links = link_batch(np.array(node, np.uint64), np.array(root, np.uint64), np.array(band, np.uint16))
    told = wishes(links, True)
    columns = [*told.columns, pa.array([0] * len(rows), pa.uint64()), pa.array(low, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=FACT)


def links_of(batches: list[pa.RecordBatch], threshold: float) -> set[tuple[int, int]]:
    """Pairs that are linked, without rows that tell a band alone."""
    found = pa.concat_batches(verify(batches, threshold)).to_pylist()
    return {(row["node"], row["root"]) for row in found if row["node"] != row["root"]}


ESTIMATE = (48 / SIZE - 1 / 256) / (1 - 1 / 256)
"""Of 48 bytes that agree."""


@pytest.mark.parametrize(
    ("threshold", "holds"),
    [(ESTIMATE - 1e-4, True), (ESTIMATE + 1e-4, False)],
    ids=["just enough", "too little"],
)
def test_a_link_needs_the_threshold(threshold: float, holds: bool) -> None:
    rows = facts([(5, 3, 1, low_of(48)), (3, 3, 1, low_of(SIZE))])
    assert links_of([rows], threshold) == ({(5, 3)} if holds else set())


STARS = [low_of(SIZE), low_of(32, 1), low_of(32, 2), low_of(32, 3), low_of(32, 4)]
"""Each agrees with every other one in half of its bytes."""


def test_what_does_not_hold_forms_stars_of_its_own() -> None:
    """Nodes 1 to 5 are the centres of as many kinds, of which PASSES are looked at; equal ones are always linked."""
    kinds = [STARS[(node - 1) % 5] for node in range(1, 16)]
    rows = [(node, 1, 2, low[:-1] + bytes([node])) for node, low in enumerate(kinds, 1)]
    rows += [(100 + place, 1, 2, rows[place][3]) for place in range(15)]
    expected = {(node, (node - 1) % 5 + 1) for node in range(6, 16) if (node - 1) % 5 < PASSES}
    expected |= {(100 + place, place + 1) for place in range(15)}
    for seed, size in ((1, 1), (2, 7), (3, 100)):
        mixed = random.Random(seed).sample(rows, len(rows))
        batches = [facts(mixed[at : at + size]) for at in range(0, len(rows), size)]
        assert links_of(batches, 0.9) == expected


def test_roots_are_told_apart() -> None:
    """Documents of different centres are not compared, even if they are alike."""
    rows = [(1, 1, 0, STARS[0]), (3, 1, 0, STARS[1]), (2, 2, 0, STARS[0]), (4, 2, 0, STARS[1])]
    assert links_of([facts(rows)], 0.9) == set()
    assert links_of([facts(rows)], 0.4) == {(3, 1), (4, 2)}


def test_a_document_tells_a_band_of_its_own() -> None:
    """The centre of a later star met the others where each of them met the first one."""
    rows = [(1, 1, 0, STARS[0]), (2, 1, 7, STARS[1]), (3, 1, 4, STARS[1][:-1] + b"x"), (4, 1, 5, STARS[0])]
    found = pa.concat_batches(verify([facts(rows)], 0.9)).to_pylist()
    bands: dict[int, set[int]] = {}
    for row in found:
        bands.setdefault(row["node"], set()).add(row["band"])
    assert bands == {1: {5}, 2: {7}, 3: {4}, 4: {5}}


def test_no_candidates_give_no_links() -> None:
    assert list(verify([], 0.5)) == []
    assert list(verify([facts([(1, 1, 0, STARS[0])]).slice(0, 0)], 0.5)) == []


DOCUMENTS = families(10, seed=8)
RULE = NearRule(banding=Banding(bands=20, rows=4), threshold=0.7)


def candidates_of(documents: list[Document]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Signatures, and candidate links between them."""
    signed = sign(batch_of(documents), RULE, Keep("score"), low=True)
    done = contract_signatures(signed.select([schema.NODE, TWIN, BUCKETS]), RULE.banding, verified=True)
    return signed, pa.concat_batches(bucket_links([done.buckets], RULE.banding))


def test_every_link_holds_between_real_signatures() -> None:
    signed, links = candidates_of(DOCUMENTS)
    granted = list(grant([facts_only(signed), wishes(links, True)]))
    told = [batch.filter(batch[CANDIDATE]) for batch in granted]
    mins = dict(
        zip(
            (row["address"] for row in DOCUMENTS),
            minima([row["text"] for row in DOCUMENTS], RULE),
            strict=True,
        )
    )
    texts = {row["address"]: row["text"] for row in DOCUMENTS}
    assert RULE.threshold is not None
    found = links_of(told, RULE.threshold)
    candidates = {(row["node"], row["root"]) for row in links.to_pylist() if row["node"] != row["root"]}
    assert len(found) > 30
    assert candidates - found
    for node, root in found:
        assert texts[node] == texts[root] or similarity(mins[node], mins[root]) >= RULE.threshold - 1e-6
    for node, root in candidates - found:
        assert similarity(mins[node], mins[root]) < RULE.threshold + 1e-6


@pytest.mark.parametrize("size", [1, 17, 1000])
def test_wishes_are_granted_once(size: int) -> None:
    """A row for each candidate link, and one more for each node, whatever is asked for how often and in which order."""
    signed, links = candidates_of(DOCUMENTS)
    known, wanted = facts_only(signed), links.slice(0, 50)
    asked = [wishes(links, True), wishes(wanted, True), wishes(wanted, False)]
    batches = [part.slice(at, size) for part in (known, *asked) for at in range(0, part.num_rows, size)]
    random.Random(size).shuffle(batches)
    found = pa.concat_batches(grant(batches))
    assert found.schema == FACT
    about = {row["node"]: (row["rank"], row["low"]) for row in known.to_pylist()}
    bands: dict[tuple[int, int], int] = {}
    for row in links.to_pylist():
        pair = row["node"], row["root"]
        bands[pair] = min(row["band"], bands.get(pair, schema.NO_BAND))
    expected = [(*pair, band, True, *about[pair[0]]) for pair, band in bands.items()]
    expected += [(node, node, schema.NO_BAND, False, *about[node]) for node in {node for node, _ in bands}]
    assert sorted_rows(found) == sorted(expected, key=repr)


def test_facts_without_wishes_grant_nothing() -> None:
    signed, _ = candidates_of(DOCUMENTS)
    assert list(grant([facts_only(signed)])) == []


def test_ranks_are_none_where_the_first_stays() -> None:
    signed, links = candidates_of(DOCUMENTS)
    found = pa.concat_batches(grant([facts_only(signed.select([schema.NODE, LOW])), wishes(links, True)]))
    assert set(found["rank"].to_pylist()) == {0}


def test_the_first_of_each_group() -> None:
    source = random.Random(3)
    one, two = (
        np.array([source.randrange(2**64 - 3, 2**64) for _ in range(60)], np.uint64) for _ in range(2)
    )
    value = np.array(source.sample(range(60), 60))
    found = first_of_groups(np.lexsort((value, two, one)), one, two)
    for row, first in enumerate(found.tolist()):
        group = [at for at in range(60) if (one[at], two[at]) == (one[row], two[row])]
        assert first == min(group, key=lambda at: value[at])
    assert first_of_groups(np.empty(0, np.int64), one[:0]).size == 0
    assert len(set(itertools.chain(found))) == len(set(zip(one.tolist(), two.tolist(), strict=True)))


def test_facts_of_a_partition_may_take_more_than_offsets_of_32_bits_tell() -> None:
    """Two GiB can't be made here; joined columns of 32-bit offsets would fail there."""
    rows = link_batch(*(np.arange(3, dtype=kind) for kind in (np.uint64, np.uint64, np.uint16)))
    kinds = (pa.binary(), pa.binary(2))
    parts = [rows.append_column(LOW, pa.array([b"ab", None, b"cd"], kind)) for kind in kinds]
    joined = concat_facts(parts)
    assert joined.column(LOW).type == pa.large_binary()
    assert joined.to_pylist() == 2 * parts[0].to_pylist()
