"""The published quality rules over document signals, and which of them each document breaks.

A rule compares a ratio of two signals with a threshold. All are asked of every document, so that each reason is known,
not only the first.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.repetition import DUPLICATE, TOP
from beam_etl.kernels.signal_table import SIGNAL_SCHEMA, SIGNALS
from beam_etl.kernels.signals import signals
from beam_etl.schema import QUALITY_FAILURES

__all__ = [
    "RULE_SETS",
    "SIGNALS",
    "SIGNAL_SCHEMA",
    "Rule",
    "failures",
    "parse_thresholds",
    "rules_of",
    "signals",
]
"""Signals too: whoever asks for failures needs them."""

MINIMUM, MAXIMUM = "min", "max"

DIGITS = 6
"""Decimals of a value in a reason, as long as they tell it from the threshold."""


@dataclass(frozen=True)
class Rule:
    """A bound that documents keep, or fail.

    name: unique among all rules, `set.min_what` or `set.max_what`.
    signal: what is compared, by its name in SIGNALS.
    of: the signal that it is divided by; None for none. Nothing in nothing (0/0) breaks no rule.
    threshold: the value itself is within the bound.
    """

    name: str
    signal: str
    threshold: float
    of: str | None = None

    def __post_init__(self) -> None:
        if self.bound not in (MINIMUM, MAXIMUM):
            raise ValueError(f"a rule's name is set.min_what or set.max_what, got {self.name!r}")
        for signal in (self.signal, self.of):
            if signal is not None and signal not in SIGNAL_SCHEMA.names:
                raise ValueError(
                    f"{self.name}: no signal {signal!r}; there are {', '.join(SIGNAL_SCHEMA.names)}"
                )

    @property
    def bound(self) -> str:
        """MINIMUM or MAXIMUM."""
        return self.name.rpartition(".")[2].partition("_")[0]

    def values(self, found: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """What is compared, of each document: float64[rows], NaN for 0/0 and null."""
        values = _floats(found, self.signal)
        if self.of is None:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return values / _floats(found, self.of)

    def broken_by(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which values are outside the bound."""
        return values < self.threshold if self.bound == MINIMUM else values > self.threshold


def _rules(of_set: str, *rows: tuple[str, str, str | None, float]) -> tuple[Rule, ...]:
    return tuple(Rule(f"{of_set}.{name}", signal, threshold, of) for name, signal, of, threshold in rows)


_TOP_SHARES = (0.20, 0.18, 0.16)
_DUPLICATE_SHARES = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)

GOPHER_QUALITY = _rules(
    "gopher_quality",
    ("min_words", "words", None, 50),
    ("max_words", "words", None, 100_000),
    ("min_mean_word_length", "word_characters", "words", 3),
    ("max_mean_word_length", "word_characters", "words", 10),
    ("max_hash_signs", "hash_signs", "tokens", 0.1),
    ("max_ellipses", "ellipses", "tokens", 0.1),
    ("max_bullet_lines", "bullet_lines", "lines", 0.9),
    ("max_ellipsis_lines", "ellipsis_lines", "lines", 0.3),
    ("min_letter_tokens", "letter_tokens", "tokens", 0.8),
    ("min_stop_words", "stop_words", None, 2),
)
GOPHER_REPETITION = _rules(
    "gopher_repetition",
    ("min_characters", "characters", None, 1),
    ("max_duplicate_paragraphs", "duplicate_paragraphs", "paragraphs", 0.30),
    ("max_duplicate_paragraph_characters", "duplicate_paragraph_characters", "characters", 0.20),
    ("max_duplicate_lines", "duplicate_lines", "cut_lines", 0.30),
    ("max_duplicate_line_characters", "duplicate_line_characters", "characters", 0.20),
    *(
        (f"max_top_{n}gram", f"top_{n}gram_characters", "characters", share)
        for n, share in zip(range(TOP[0], TOP[1] + 1), _TOP_SHARES, strict=True)
    ),
    *(
        (f"max_duplicate_{n}gram", f"duplicate_{n}gram_characters", "characters", share)
        for n, share in zip(range(DUPLICATE[0], DUPLICATE[1] + 1), _DUPLICATE_SHARES, strict=True)
    ),
)
FINEWEB = _rules(
    "fineweb",
    ("min_filled_lines", "filled_lines", None, 1),
    ("min_punctuated_lines", "punctuated_lines", "filled_lines", 0.12),
    ("max_short_lines", "short_lines", "filled_lines", 0.67),
    ("max_duplicate_line_characters", "duplicate_filled_line_characters", "line_characters", 0.01),
    ("max_new_lines", "new_lines", "tokens", 0.3),
)
C4 = _rules(
    "c4",
    ("max_lorem_ipsum_lines", "c4_lorem_ipsum_lines", None, 0),
    ("max_brace_lines", "c4_brace_lines", None, 0),
    ("min_sentences", "c4_sentences", None, 5),
)

RULE_SETS: Mapping[str, tuple[Rule, ...]] = {
    "gopher_quality": GOPHER_QUALITY,
    "gopher_repetition": GOPHER_REPETITION,
    "fineweb": FINEWEB,
    "c4": C4,
}
"""With the thresholds that were published. An empty document breaks a rule of each set."""


def rules_of(
    given: Iterable[str | Rule], thresholds: Mapping[str, float | None] | None = None
) -> tuple[Rule, ...]:
    """Rules, each once.

    Args:
      given: names in RULE_SETS, or rules.
      thresholds: other thresholds, by the name of the rule; None leaves the rule out.

    Raises:
      ValueError: there is no such set, or no such rule in those sets. The message names those there are.
    """
    rules: dict[str, Rule] = {}
    for item in given:
        if isinstance(item, str) and item not in RULE_SETS:
            raise ValueError(f"no rule set {item!r}; there are {', '.join(RULE_SETS)}")
        rules |= {rule.name: rule for rule in ((item,) if isinstance(item, Rule) else RULE_SETS[item])}
    for name, threshold in (thresholds or {}).items():
        if name not in rules:
            raise ValueError(f"no rule {name!r}; there are {', '.join(rules)}")
        if threshold is not None:
            rules[name] = replace(rules[name], threshold=threshold)
        else:
            del rules[name]
    return tuple(rules.values())


def parse_thresholds(given: Iterable[str]) -> dict[str, float | None]:
    """Thresholds from a flag: `fineweb.max_new_lines:0.5`, or `:none` where the rule is left out.

    Raises:
      ValueError: an item is of another form. The message shows it.
    """
    thresholds: dict[str, float | None] = {}
    for item in given:
        name, _, number = item.partition(":")
        try:
            thresholds[name] = None if number == "none" else _finite(number)
        except ValueError:
            raise ValueError(f"a threshold is RULE:NUMBER or RULE:none, got {item!r}") from None
    return thresholds


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError
    return value


def failures(found: pa.RecordBatch, rules: Sequence[Rule]) -> pa.RecordBatch:
    """All rules that each document fails.

    Args:
      found: signals of documents.
      rules: in the order in which they are told.

    Returns:
      schema.QUALITY_FAILURES, a row a document.

    Raises:
      KeyError: a signal is missing.
    """
    values = np.empty((found.num_rows, len(rules)))
    broken = np.empty(values.shape, np.bool_)
    for place, rule in enumerate(rules):
        values[:, place] = rule.values(found)
        broken[:, place] = rule.broken_by(values[:, place])
    rows, places = np.nonzero(broken)
    edges = np.searchsorted(rows, np.arange(found.num_rows + 1)).astype(np.int32)
    names = pa.array([rule.name for rule in rules], pa.string()).take(pa.array(places))
    signs = pa.array([_sign(rule) for rule in rules], pa.string()).take(pa.array(places))
    told = pc.binary_join_element_wise(names, ": ", _told(values[rows, places], rules, places), signs, "")
    lists = [pa.ListArray.from_arrays(pa.array(edges), strings) for strings in (names, told)]
    return pa.RecordBatch.from_arrays(lists, schema=QUALITY_FAILURES)


@lru_cache(maxsize=1000)
def _sign(rule: Rule) -> str:
    (threshold,) = _text(np.array([rule.threshold], np.float64))
    return f" {'<' if rule.bound == MINIMUM else '>'} {threshold}"


def _told(values: npt.NDArray[np.float64], rules: Sequence[Rule], places: npt.NDArray[np.int64]) -> pa.Array:
    """Values that break rules, rounded where that doesn't bring them to the threshold: `0.3 > 0.3` tells nothing."""
    rounded = pc.round(pa.array(values), DIGITS).to_numpy()
    threshold = np.array([rule.threshold for rule in rules], np.float64)[places]
    tells = np.sign(rounded - threshold) == np.sign(values - threshold)
    return _text(np.where(tells, rounded, values))


def _text(values: npt.NDArray[np.float64]) -> pa.Array:
    """Numbers as people write them: whole ones without a point, others with as few digits as tell them apart."""
    is_whole = np.isfinite(values) & (values == np.floor(values))
    whole = pa.array(np.where(is_whole, values, 0).astype(np.int64)).cast(pa.string())
    return pc.if_else(pa.array(is_whole), whole, pa.array(values).cast(pa.string()))


def _floats(found: pa.RecordBatch, name: str) -> npt.NDArray[np.float64]:
    place = found.schema.get_field_index(name)
    if place < 0:
        raise KeyError(f"no signal {name!r}; there are {', '.join(found.schema.names)}")
    return np.asarray(
        found.column(place).to_numpy(zero_copy_only=False), np.float64
    )  # without a call of Arrow's
