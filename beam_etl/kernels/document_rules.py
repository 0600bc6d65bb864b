"""Rules that documents keep or break by their columns: pages, languages, blocklists, words."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.filtering import Filtered, one_failure, removals_of, text_of
from beam_etl.kernels.hash_set import places_in
from beam_etl.kernels.hashing import Hashes, hash_values
from beam_etl.kernels.html import CONTENT_TYPE, HTML_TYPES, PLAIN_TYPES
from beam_etl.kernels.languages import LANG, LANG_SCORE
from beam_etl.kernels.utf8 import SPACE

HTTP_STATUS = "http_status"

READABLE_TYPES = (*HTML_TYPES, *PLAIN_TYPES)


class DocumentRule(Protocol):
    """Something that a document may break."""

    @property
    def name(self) -> str:
        """The reason of a removal."""

    def broken(self, batch: pa.RecordBatch) -> pa.Array:
        """string[rows]: what broke it; null where a document keeps it."""


def filter_documents(batch: pa.RecordBatch, rules: Sequence[DocumentRule], id: str = schema.ID) -> Filtered:
    """The documents of a batch, by whether they break a rule: the first one that they do is the reason.

    Args:
      batch: documents with the columns that the rules look at, and text or payload.
      rules: in order.
      id: the column that names documents.

    Raises:
      KeyError: there is no column that a rule needs. The message names it and the columns there are.
    """
    told = [rule.broken(batch) for rule in rules]
    names = [
        pc.if_else(pc.is_valid(why), pa.scalar(rule.name), None)
        for rule, why in zip(rules, told, strict=True)
    ]
    reason, why = pc.coalesce(*names), pc.coalesce(*told)
    fails = pc.is_valid(reason)
    removed = batch.filter(fails)
    reason, why = reason.filter(fails), why.filter(fails)
    told_as = pc.binary_join_element_wise(reason, why, ": ")
    kept = batch.filter(pc.invert(fails)) if removed.num_rows else batch
    return Filtered(kept, removals_of(removed, one_failure(reason, told_as), reason, id))


def _column(batch: pa.RecordBatch, name: str, rule: str) -> pa.Array:
    if name not in batch.schema.names:
        raise KeyError(f"the rule {rule} needs a column {name!r}; there are {', '.join(batch.schema.names)}")
    return batch.column(name)


def _where(condition: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(pc.fill_null(condition, False), values, pa.scalar(None, pa.string()))


@dataclass(frozen=True)
class ReadablePage:
    """A page that was there (HTTP status 2xx), of a type that has text."""

    types: tuple[str, ...] = READABLE_TYPES
    name: str = field(default="page", init=False)

    def broken(self, batch: pa.RecordBatch) -> pa.Array:
        """Null status and null type break nothing: conversions have none, and servers that don't tell."""
        status = _column(batch, HTTP_STATUS, self.name)
        kind = _column(batch, CONTENT_TYPE, self.name)
        bad = pc.or_(pc.less(status, 200), pc.greater(status, 299))
        first = _where(bad, pc.binary_join_element_wise("status", status.cast(pa.string()), " "))
        other = pc.invert(pc.is_in(kind, pa.array(self.types, pa.string())))
        return pc.coalesce(first, _where(pc.and_(pc.is_valid(kind), other), kind))


@dataclass(frozen=True)
class HasText:
    """A text with a character that isn't white space."""

    name: str = field(default="empty", init=False)

    def broken(self, batch: pa.RecordBatch) -> pa.Array:
        """A null text is none."""
        text = pc.fill_null(text_of(batch), "")
        bare = pc.or_(pc.equal(text, ""), pc.utf8_is_space(text))
        return _where(bare, pa.repeat("no text", batch.num_rows))


@dataclass(frozen=True)
class InLanguages:
    """A language that is wanted, told with enough confidence."""

    languages: tuple[str, ...] = ()
    min_score: float = 0.0
    name: str = field(default="language", init=False)

    def broken(self, batch: pa.RecordBatch) -> pa.Array:
        """Without a language a document breaks it. No `languages`: any will do."""
        lang, score = _column(batch, LANG, self.name), _column(batch, LANG_SCORE, self.name)
        keeps = pc.and_(
            pc.is_in(lang, pa.array(self.languages, pa.string())) if self.languages else pc.is_valid(lang),
            pc.greater_equal(score, pa.scalar(self.min_score, pa.float32())),
        )
        told = pc.binary_join_element_wise(
            pc.fill_null(lang, "none"),
            pc.round(score.cast(pa.float64()), 3).cast(pa.string()),
            " ",
            null_handling="skip",
        )
        return _where(pc.invert(pc.fill_null(keeps, False)), told)


_HOST = r"^[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)"


@dataclass(frozen=True)
class NotBlocked:
    """A URL that is on no list.

    Args:
      hosts: in lower case; each stands for the hosts below it as well.
      urls: as they are written.
    """

    hosts: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    name: str = field(default="blocklist", init=False)

    def broken(self, batch: pa.RecordBatch) -> pa.Array:
        """What is on the list. A null URL, or one without a host, isn't."""
        url = _column(batch, schema.URL, self.name)
        whole = _where(pc.is_in(url, pa.array(sorted(self.urls), url.type)), url)
        return pc.coalesce(whole, _by_host(url, lambda hosts: [host in self.hosts for host in hosts]))


@dataclass(frozen=True)
class NotListed:
    """The same as NotBlocked for lists of millions.

    Args:
      listed: Listed, or what makes it in each process.
    """

    listed: Callable[[pa.Array], pa.Array]
    name: str = field(default="blocklist", init=False)

    def broken(self, batch: pa.RecordBatch) -> pa.Array:
        """As of NotBlocked."""
        return self.listed(_column(batch, schema.URL, self.name))


@dataclass(frozen=True)
class Listed:
    """A blocklist as the XXH64 hashes of its items: 8 bytes each.

    Of n items, a URL or host that isn't among them is taken for one of them with a probability of n / 2^64.

    Args:
      hosts: uint64, ascending, of hosts in lower case; each stands for the hosts below it as well.
      urls: uint64, ascending, of URLs as they are written.
    """

    hosts: Hashes
    urls: Hashes

    def __call__(self, url: pa.Array) -> pa.Array:
        """string[rows]: what is on the list, null where nothing is."""
        whole = places_in(self.urls, hash_values(url)) >= 0
        listed = _by_host(url, self._are_listed)
        return pc.coalesce(_where(pc.and_(pa.array(whole), pc.is_valid(url)), url), listed)

    def _are_listed(self, hosts: list[str]) -> list[bool]:
        found: list[bool] = (places_in(self.hosts, hash_values(pa.array(hosts, pa.string()))) >= 0).tolist()
        return found


def _by_host(url: pa.Array, is_listed: Callable[[list[str]], Sequence[bool]]) -> pa.Array:
    """Of each URL its host, or the nearest one above it, that is listed; null where none is."""
    hosts = pc.struct_field(pc.extract_regex(url, _HOST), "host").dictionary_encode()
    above: list[str] = []
    edges = [0]
    for host in hosts.dictionary.to_pylist():
        name = host.lower().rstrip(".")
        while name:
            above.append(name)
            name = name.partition(".")[2]
        edges.append(len(above))
    told = is_listed(above)
    found = [
        next((above[place] for place in range(begin, end) if told[place]), None)
        for begin, end in pairwise(edges)
    ]
    return pa.array(found, pa.string()).take(hosts.indices)


@dataclass(frozen=True)
class Words:
    """Words, or phrases, that a text has to have (one of them at least), or may not have.

    They are compared without case, and stand between other characters than letters, digits, marks and underscores.
    """

    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    name: str = field(default="words", init=False)

    def __post_init__(self) -> None:
        empty = [word for word in (*self.required, *self.forbidden) if not word.strip()]
        if empty:
            raise ValueError(f"a word needs more than spaces, got {empty[0]!r}")

    def broken(self, batch: pa.RecordBatch) -> pa.Array:
        """The first forbidden word; or that none of the required ones is there. A null text has no words."""
        text, none = text_of(batch), pa.nulls(batch.num_rows, pa.string())
        found, lacking = none, none
        if self.forbidden:
            told = pc.extract_regex(text, _pattern(self.forbidden))
            found = pc.utf8_lower(pc.struct_field(told, "word")).cast(pa.string())
        if self.required:
            has = pc.fill_null(pc.match_substring_regex(text, _pattern(self.required)), False)
            lacking = _where(pc.invert(has), pa.repeat("none of those required", batch.num_rows))
        return pc.coalesce(found, lacking)


def _pattern(words: Sequence[str]) -> str:
    """Longer ones first, so that what is told is the whole phrase."""
    longest_first = sorted(words, key=len, reverse=True)
    escaped = "|".join(f"[{SPACE}]+".join(map(re.escape, phrase.split())) for phrase in longest_first)
    return rf"(?i)(?:^|[^\pL\pN\pM_])(?P<word>{escaped})(?:$|[^\pL\pN\pM_])"
