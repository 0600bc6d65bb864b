"""Bundles of signatures to links: how documents are spread changes nothing, and nothing grows with a bucket."""

import random
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from beam_etl import schema
from beam_etl.kernels.banding import Banding, band_bits
from beam_etl.kernels.candidates import (
    BUCKET_ROW,
    BUCKETS,
    LOW,
    RANK,
    TWIN,
    NearRule,
    bucket_links,
    bucket_rows,
    contract_signatures,
    distinct_links,
    sign,
    signature_buckets,
)
from beam_etl.kernels.choosing import facts_only
from beam_etl.kernels.components import Components, contract, link_batch
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.verification import CANDIDATE, grant, verify, wishes
from beam_etl.testing import check_kernel, check_merge, sorted_rows
from tests.duplicates import batch_of, buckets_of, clusters_of, families, near_clusters, union

DOCUMENTS = families(12, seed=5)
LOOSE = Banding(bands=20, rows=4)
RULES = {
    "near": NearRule(),
    "loose bands": NearRule(banding=LOOSE),
    "within": NearRule(banding=LOOSE, within="domain"),
    "verified": NearRule(banding=LOOSE, threshold=0.7),
    "verified within": NearRule(banding=LOOSE, threshold=0.6, within="domain"),
}
BUNDLES = {"one": (1, 1), "three": (2, 3), "forty": (3, 40), "one document each": (4, len(DOCUMENTS))}


def bundles(seed: int, count: int, rule: NearRule) -> list[pa.RecordBatch]:
    """Signatures of documents spread at random."""
    rows = random.Random(seed).sample(DOCUMENTS, len(DOCUMENTS))
    low = rule.threshold is not None
    return [sign(batch_of(rows[at::count]), rule, Keep(), low) for at in range(count)]


def members(rule: NearRule, parts: list[pa.RecordBatch], partitions: int) -> list[pa.RecordBatch]:
    """What the steps between shuffles make of bundles, each with its own share of the rows."""
    verified = rule.threshold is not None
    wanted = [schema.NODE, TWIN, BUCKETS]
    done = [contract_signatures(part.select(wanted), rule.banding, verified) for part in parts]
    half = len(done) // 2 + 1
    travelling = [
        pa.concat_batches([bundle.buckets for bundle in some]) for some in (done[:half], done[half:]) if some
    ]
    candidates = [
        links
        for number in range(partitions)
        for links in bucket_links(
            [share(rows, "bucket", number, partitions) for rows in travelling], rule.banding
        )
    ]
    known = [contract(bundle.links) for bundle in done]
    if rule.threshold is not None:
        asked = [wishes(pa.concat_batches(candidates), True), wishes(pa.concat_batches(known), False)]
        facts = [facts_only(pa.concat_batches(some)) for some in (parts[:half], parts[half:]) if some]
        granted = [
            batch
            for number in range(partitions)
            for batch in grant([share(rows, schema.NODE, number, partitions) for rows in (*asked, *facts)])
        ]
        told = [batch.filter(batch[CANDIDATE]) for batch in granted]
        candidates = [
            links
            for number in range(partitions)
            for links in verify(
                [share(rows, schema.ROOT, number, partitions) for rows in told], rule.threshold
            )
        ]
    clusters = Components()
    for links in (*known, *candidates):
        clusters.add(links)
    return list(clusters.members())


def share(rows: pa.RecordBatch, by: str, number: int, partitions: int) -> pa.RecordBatch:
    mixed = rows[by].to_numpy() * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
    return rows.filter(pa.array(mixed % np.uint64(partitions) == number))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_members_do_not_depend_on_bundles(rule: NearRule) -> None:
    found = {
        name: members(rule, bundles(seed, count, rule), partitions)
        for (name, (seed, count)), partitions in zip(BUNDLES.items(), (1, 7, 2, 4), strict=True)
    }
    expected = near_clusters(DOCUMENTS, rule)
    rows = {name: sorted_rows(pa.concat_batches(made)) for name, made in found.items()}
    for name, made in found.items():
        assert clusters_of(made) == expected, name
        assert rows[name] == rows["one"], name


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_equal_documents_of_a_bundle_travel_once(rule: NearRule) -> None:
    """With every bucket once where nothing is verified, with all buckets of each distinct signature where it is."""
    (signed,) = bundles(1, 1, rule)
    done = contract_signatures(
        signed.select([schema.NODE, TWIN, BUCKETS]), rule.banding, rule.threshold is not None
    )
    assert done.buckets.schema == BUCKET_ROW
    found = buckets_of(DOCUMENTS, rule)
    travelling = len(set(zip(*done.buckets.to_pydict().values(), strict=True)))
    assert travelling == done.buckets.num_rows
    if rule.threshold is None:
        assert done.buckets.num_rows == len(found)
        roots = {row["node"]: row["root"] for row in done.links.to_pylist()}
        assert all(root <= node for node, root in roots.items())
    else:
        twins = {tuple(key) for key in signed[BUCKETS].to_pylist()}
        assert done.buckets.num_rows == sum(len(set(key)) for key in twins)
    smallest = {min(nodes) for nodes in found.values()}
    assert smallest <= set(done.buckets["node"].to_pylist())


def test_all_buckets_are_those_of_datasketch() -> None:
    for rule in (RULES["near"], RULES["within"]):
        (signed,) = bundles(1, 1, rule)
        rows = signature_buckets(signed, rule.banding)
        groups = defaultdict(set)
        for bucket, node in zip(*rows.to_pydict().values(), strict=True):
            groups[bucket].add(node)
        expected = [frozenset(nodes) for nodes in buckets_of(DOCUMENTS, rule).values()]
        assert sorted(map(sorted, groups.values())) == sorted(map(sorted, expected))


def test_signing_is_the_same_anywhere() -> None:
    check_kernel(sign_all, batch_of(DOCUMENTS[:60]))


def sign_all(batch: pa.RecordBatch) -> pa.RecordBatch:
    return sign(batch, RULES["verified within"], Keep("score", True), low=True)


def test_only_what_is_asked_for_travels() -> None:
    batch = batch_of(DOCUMENTS)
    some = [row for row in DOCUMENTS if row["text"]]
    signed = sign(batch, NearRule(), Keep(), low=False)
    assert signed.schema.names == [schema.NODE, TWIN, BUCKETS]
    assert signed["node"].to_pylist() == [row["address"] for row in some]
    signed = sign(batch, NearRule(banding=Banding(bands=3, rows=50)), Keep("score"), low=True)
    assert signed.schema.names == [schema.NODE, TWIN, BUCKETS, RANK, LOW]
    assert signed.schema.field(LOW).type == pa.binary(150)
    assert sign(batch, NearRule(banding=Banding(bands=3, rows=5)), Keep(), low=True).schema.field(
        LOW
    ).type == pa.binary(128)


BANDS = Banding(bands=5, rows=1)
BITS = band_bits(BANDS)


def in_buckets(rows: list[tuple[int, int]]) -> pa.RecordBatch:
    bucket, node = (np.array(values, np.uint64) for values in zip(*rows, strict=True))
    return bucket_rows(bucket, node)


def test_a_bucket_of_k_documents_gives_k_rows_to_the_smallest() -> None:
    source = random.Random(4)
    rows = [
        (source.randrange(60) << BITS | source.randrange(6), node)
        for node in source.sample(range(2**60), 200)
    ]
    groups = defaultdict(list)
    for bucket, node in rows:
        groups[bucket].append(node)
    expected = sorted(
        (node, min(nodes), schema.NO_BAND if bucket % (1 << BITS) == 5 else bucket % (1 << BITS))
        for bucket, nodes in groups.items()
        if len(nodes) > 1
        for node in nodes
    )
    for size in (1, 13, 500):
        batches = [in_buckets(rows[at : at + size]) for at in range(0, len(rows), size)]
        found = pa.concat_batches(bucket_links(batches, BANDS))
        assert found.schema == schema.LINK
        assert sorted(map(tuple, map(dict.values, found.to_pylist()))) == expected
    edges = [1 for node, root, _ in expected if node != root]
    assert len(edges) == sum(len(nodes) - 1 for nodes in groups.values())


def test_earlier_documents_are_linked_to_and_never_from() -> None:
    new = [(1 << BITS, 2**63 + 5), (2 << BITS, 2**63 + 6), (2 << BITS, 2**63 + 7), (3 << BITS, 2**63 + 8)]
    earlier = [(1 << BITS, 50), (1 << BITS, 40), (9 << BITS, 60)]
    found = pa.concat_batches(bucket_links([in_buckets(new)], BANDS, [in_buckets(earlier)]))
    links = {row["node"]: row["root"] for row in found.to_pylist() if row["node"] >= 2**63}
    assert links == {2**63 + 5: 40, 2**63 + 6: 2**63 + 6, 2**63 + 7: 2**63 + 6}


def test_each_earlier_document_is_a_candidate_where_links_are_verified() -> None:
    new = [(1 << BITS, 2**63 + 5), (2 << BITS, 2**63 + 6)]
    earlier = [(1 << BITS, 50), (1 << BITS, 40), (9 << BITS, 60), (9 << BITS, 61)]
    links = bucket_links([in_buckets(new)], BANDS, [in_buckets(earlier)], verified=True)
    found = pa.concat_batches(links).to_pylist()
    assert {(row["node"], row["root"]) for row in found} == {(2**63 + 5, 40), (50, 40), (40, 40)}


class Boilerplate:
    """A million documents in one bucket, made anew each time they are read."""

    rows, size = 1_000_000, 10_000

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        same = np.full(self.size, 7 << BITS, np.uint64)
        for start in range(self.rows, 0, -self.size):
            yield bucket_rows(same, np.arange(start, start - self.size, -1, dtype=np.uint64))


def test_memory_does_not_grow_with_a_bucket() -> None:
    list(bucket_links([in_buckets([(1, 1), (1, 2)])], BANDS))
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        edges = most = 0
        for links in bucket_links(Boilerplate(), BANDS):  # type: ignore[arg-type]
            edges += int((links["node"].to_numpy() != links["root"].to_numpy()).sum())
            assert set(links["root"].unique().to_pylist()) == {1}
            most = max(most, pa.total_allocated_bytes() - arrow)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert edges == Boilerplate.rows - 1
    assert peak + most < 100 * Boilerplate.size, "far less than the 16 MB that the rows take"


def links_told(rows: list[tuple[int, int, int]]) -> pa.RecordBatch:
    node, root, band = zip(*rows, strict=True)
    return link_batch(np.array(node, np.uint64), np.array(root, np.uint64), np.array(band, np.uint16))


def test_distinct_links_keep_the_smallest_band() -> None:
    source = random.Random(2)
    rows = [
        (source.randrange(2**63, 2**63 + 9), source.randrange(9), source.choice([0, 3, 0xFFFF]))
        for _ in range(400)
    ]
    smallest: dict[tuple[int, int], int] = {}
    for node, root, band in rows:
        smallest[node, root] = min(band, smallest.get((node, root), band))
    parts = [links_told(rows[at : at + 90]) for at in range(0, 400, 90)]
    found = distinct_links(pa.concat_batches(parts))
    assert sorted_rows(found) == sorted(((*key, band) for key, band in smallest.items()), key=repr)
    check_merge(distinct_links, parts)


def test_contracted_links_join_what_shares_a_bucket() -> None:
    rule = RULES["loose bands"]
    (signed,) = bundles(1, 1, rule)
    done = contract_signatures(signed, rule.banding, verified=False)
    found = union((row["node"], row["root"]) for row in done.links.to_pylist())
    assert found == union(buckets_of(DOCUMENTS, rule).values())


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan")])
def test_a_threshold_has_bounds(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold is a similarity above 0 and at most 1"):
        NearRule(threshold=threshold)


@pytest.mark.parametrize("ngram", [0, 65])
def test_a_shingle_has_bounds(ngram: int) -> None:
    with pytest.raises(ValueError, match=f"ngram is 1 to 64 words, got {ngram}"):
        NearRule(ngram=ngram)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_has_bounds(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed is a number of 32 bits, got {seed}"):
        NearRule(seed=seed)


def test_texts_of_a_dictionary_are_signed_as_they_are() -> None:
    plain = batch_of(DOCUMENTS)
    place = plain.schema.get_field_index("text")
    encoded = plain.set_column(place, "text", plain.column(place).dictionary_encode())
    for name in ("first", "longest"):
        keep = Keep.parse(name)
        assert sign(encoded, RULES["verified"], keep, low=True) == sign(
            plain, RULES["verified"], keep, low=True
        )
