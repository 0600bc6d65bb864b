"""The whole search on documents that lie in one place: what needs no shuffle where the data is partitioned already."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.candidates import BUCKETS, TWIN, NearRule, bucket_links, contract_signatures, sign
from beam_etl.kernels.choosing import choose, facts_only, join_facts, keep_first
from beam_etl.kernels.components import Components
from beam_etl.kernels.exact import ExactRule, choose_exact, exact_rows, stack_equal
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.verification import CANDIDATE, concat_facts, grant, verify, wishes


def near_decisions(
    documents: Iterable[pa.RecordBatch], rule: NearRule, keep: Keep
) -> Iterator[pa.RecordBatch]:
    """What FindNearDuplicates decides: schema.DECISION. Holds the signatures of all documents, some 300 bytes each.

    Args:
      documents: with an address and the columns of both rules.
      rule: what makes two documents near-duplicates.
      keep: which one stays.
    """
    verified = rule.threshold is not None
    batches = [sign(batch, rule, keep, low=verified) for batch in documents]
    if not batches:
        return
    signed = pa.concat_batches(batches)
    done = contract_signatures(signed.select([schema.NODE, TWIN, BUCKETS]), rule.banding, verified)
    candidates, known = list(bucket_links([done.buckets], rule.banding)), signed
    if rule.threshold is not None:
        wanted = [wishes(done.links, False), *(wishes(links, True) for links in candidates)]
        granted = concat_facts(grant([facts_only(signed), *wanted]))
        is_candidate = granted.column(CANDIDATE)
        candidates = list(verify([granted.filter(is_candidate)], rule.threshold))
        known = granted.filter(pc.invert(is_candidate))
    clusters = Components()
    for links in (done.links, *candidates):
        clusters.add(links)
    members = list(clusters.members())
    if keep.column is None and not verified:
        yield from map(keep_first, members)
    elif members:
        yield from choose(join_facts([*members, facts_only(known)]))


def exact_decisions(
    documents: Iterable[pa.RecordBatch], rule: ExactRule, keep: Keep
) -> Iterator[pa.RecordBatch]:
    """What FindExactDuplicates decides: schema.DECISION. Holds 32 bytes a document."""
    rows = [exact_rows(batch, rule, keep) for batch in documents]
    some = any(batch.num_rows for batch in rows)
    return choose_exact([stack_equal(pa.concat_batches(rows))]) if some else iter(())
