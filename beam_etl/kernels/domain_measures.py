"""What is counted of domains, and the rows that the counts are.

A row says how much of one thing a domain has. `kind` and `key` say of what:

| kind | key | label | count | equal rows become |
|---|---|---|---|---|
| COUNT | place in Measures.counts | | a sum over documents | their sum |
| BUCKET | signal << BUCKET_BITS, and quantiles.bucket_of its value | | documents | their sum |
| LANGUAGE | 0 | language, one of MAX_LANGUAGES | documents | their sum |
| FIRST, LAST | 0 | | days since 1970; of FIRST times -1 | the largest |
| FAULT | 0 | why it isn't known which documents are duplicates | 1 | one |
| EXAMPLE | hash of Measures.sample_by | id | rules that it fails, a bit each | rows with the EXAMPLES smallest keys |
| SAMPLE | hash of Measures.sample_by | | address | rows with the Measures.sample smallest keys, ties by count |

A domain that is null is one as any other. All is integers: no order of merging moves a digit.
"""

from dataclasses import dataclass

import pyarrow as pa

from beam_etl import schema

COUNT, BUCKET, LANGUAGE, FIRST, LAST, FAULT, EXAMPLE, SAMPLE = range(8)

BUCKET_BITS = 12
"""Of a bucket's number: there are some 2,000."""

EXAMPLES = 3
"""Failing documents that are named of each domain: those with the smallest hashes."""

MAX_LANGUAGES = 1000
"""Of a domain: far more than there are. So a column that holds something else doesn't fill the memory."""

MAX_RULES = 63
"""Bits of a count for the rules that a document fails."""

FAILED_BITS = "failed_rules"
"""int64: bit r is set where the document fails rule r of Measures."""

DOCUMENTS, BYTES, DUPLICATES = "documents", "bytes", "duplicates"

TEXT_BYTES = "beam_etl.text_bytes"
"""int64, in place of the text where that isn't there any more: its bytes in UTF-8."""

STATISTIC = pa.schema(
    [
        pa.field(schema.DOMAIN, pa.dictionary(pa.int32(), pa.string())),
        pa.field("kind", pa.int8(), nullable=False),
        pa.field("key", pa.int64(), nullable=False),
        pa.field("label", pa.dictionary(pa.int32(), pa.string())),
        pa.field("count", pa.int64(), nullable=False),
    ]
)
"""Names are dictionaries: they travel once a slice."""


@dataclass(frozen=True)
class Measures:
    """What is counted of each document.

    Args:
      rules: at most MAX_RULES.
      rule_sets: names, and which rules are in each. A document fails a set when it fails a rule of it.
      signals: columns of whole numbers from 0 on, of which there are sums and quantiles.
      sample: documents that are chosen of each domain; None for no choice.
      sample_by: columns whose hash chooses them, and the examples.

    Raises:
      ValueError: too many rules, or a sample below 1 or by no column.
    """

    rules: tuple[str, ...]
    rule_sets: tuple[tuple[str, tuple[int, ...]], ...]
    signals: tuple[str, ...]
    sample: int | None = None
    sample_by: tuple[str, ...] = (schema.ID,)

    def __post_init__(self) -> None:
        if len(self.rules) > MAX_RULES:
            raise ValueError(f"statistics are of at most {MAX_RULES} rules, got {len(self.rules)}")
        if self.sample is not None and (self.sample < 1 or not self.sample_by):
            raise ValueError(f"a sample has 1 document or more, by some columns; got {self}")

    @property
    def counts(self) -> tuple[str, ...]:
        """What rows of COUNT are of: general numbers, failures by rule set, failures by rule, sums of signals."""
        return (
            DOCUMENTS,
            BYTES,
            DUPLICATES,
            *(name for name, _ in self.rule_sets),
            *self.rules,
            *self.signals,
        )

    @property
    def first_set(self) -> int:
        """The place in `counts` where rule sets begin; rules and signals follow."""
        return 3

    @property
    def first_rule(self) -> int:
        """Where rules begin."""
        return self.first_set + len(self.rule_sets)

    @property
    def first_signal(self) -> int:
        """Where signals begin."""
        return self.first_rule + len(self.rules)
