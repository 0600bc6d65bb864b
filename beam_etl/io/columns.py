"""From the names in the user's data to the shared vocabulary: which stored columns are read, and as what."""

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.errors import InputError
from beam_etl.io.formats.base import LIMITS, Limits
from beam_etl.io.stored_types import READS, check_readable, check_type, check_widens
from beam_etl.kernels.utf8 import is_byte_string
from beam_etl.kernels.where import Condition, WhereError, bind, columns_of
from beam_etl.transforms.batches import MAX_ROWS

ALL = "all"
"""`carry=ALL` carries every other stored column along."""

STORED_PREFIX = "stored_"
"""Before the name of a carried column whose own name a shared column has."""

SHARED = tuple(name for name in schema.DOCUMENT.names if name != schema.ADDRESS)

LIKELY = {
    schema.TEXT: (
        "content",
        "contents",
        "body",
        "raw_content",
        "page_content",
        "document",
        "markdown",
        "article",
    ),
    schema.URL: ("uri", "source_url", "page_url", "warc_target_uri", "link"),
    schema.ID: ("doc_id", "document_id", "docid", "_id", "key", "uuid", "warc_record_id"),
    schema.DOMAIN: ("host", "hostname", "url_host_registered_domain", "site"),
    schema.LANGUAGE: ("language_code", "languages", "locale", "content_languages"),
    schema.DATE: ("timestamp", "crawl_date", "published", "publish_date", "created", "fetch_time"),
    schema.TIME: ("timestamp", "datetime", "crawl_time", "fetch_time", "created_at", "date"),
}
"""What others call our columns, for the hint in an error: never used without being told."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a job needs of its documents, and what the user's data calls it.

    A batch has `address` where it is wanted, then the needed columns in the order of schema.DOCUMENT and of its types,
    then the carried ones with their stored names and types. With ALL, a stored column that is read as a needed one
    isn't carried a second time. A carried column whose name is reserved, or another column's, is carried as
    `stored_NAME`.

    Args:
      needed: shared columns that the job uses.
      optional: more of them, which are null where the input has nothing to read them from, or nothing that can be read:
        a date that is none makes no reject here.
      carry: other stored columns to carry along; ALL for every one.
      addressed: whether batches have an address, by which a row is found again.
      coded: carried columns whose texts are wanted as dictionaries: what Parquet stores as such isn't decoded then.
      batch_rows: of a batch, at most; more than MAX_ROWS where a job does little with each row of few bytes.
      reserved: names that the job gives to columns of its own.
      private_suffixes: as for kernels.domains.registered_domain, where the domain is derived.
      id, url, domain, language, date, time, text: the stored column that is read as this one; None for the
        column of that name, or one of schema.SYNONYMS.
      where: a condition on stored columns. Other rows are neither documents nor rejects.
      time_unit: what numbers in the column of the time count since 1970 in UTC: s, ms, us or ns; None where there are
        no numbers.
      limits: what is beyond is rejected.

    Raises:
      ValueError: `needed` or `optional` has a name that isn't shared, or twice the same.
    """

    needed: tuple[str, ...] = (schema.TEXT,)
    optional: tuple[str, ...] = ()
    carry: tuple[str, ...] | str = ()
    addressed: bool = True
    coded: tuple[str, ...] = ()
    batch_rows: int = MAX_ROWS
    reserved: tuple[str, ...] = ()
    private_suffixes: bool = False
    id: str | None = None
    url: str | None = None
    domain: str | None = None
    language: str | None = None
    date: str | None = None
    time: str | None = None
    text: str | None = None
    where: Condition | None = None
    time_unit: str | None = None
    limits: Limits = LIMITS

    def __post_init__(self) -> None:
        if not set(self.shared) <= set(SHARED) or len(set(self.shared)) < len(self.shared):
            raise ValueError(f"needed has distinct names out of {', '.join(SHARED)}; got {self.shared!r}")
        if isinstance(self.carry, str) and self.carry != ALL:
            raise ValueError(f"carry is a tuple of names, or {ALL!r}; got {self.carry!r}")

    @property
    def shared(self) -> tuple[str, ...]:
        """The shared columns that a batch has."""
        return (*self.needed, *self.optional)

    def as_stored(self) -> pa.Schema:
        """Stored columns that would do, all of text: for a file without a record that tells any."""
        needed = [getattr(self, column) or column for column in self.needed]
        return pa.schema([(name, pa.string()) for name in dict.fromkeys((*needed, *self._named_to_carry()))])

    def _named_to_carry(self) -> tuple[str, ...]:
        return () if isinstance(self.carry, str) else self.carry


class Source(NamedTuple):
    """Where a needed column comes from."""

    column: str
    stored: str | None
    """None: `id` is made of the path and the position, an optional column is null."""
    derived: bool = False
    """The stored column is a URL, from which the domain is derived."""
    private_suffixes: bool = False
    """Sites under private suffixes have a domain each."""
    optional: bool = False
    """What can't be read is null."""
    others: tuple[str, ...] = ()
    """Synonyms that are stored as well: each is read where those before it are null."""

    @property
    def names(self) -> tuple[str, ...]:
        """All stored columns that it is read from."""
        return () if self.stored is None else (self.stored, *self.others)


class Carried(NamedTuple):
    """A column that is carried along."""

    stored: str
    column: str
    """Its name in the batch."""
    type: pa.DataType
    coded: bool = False
    """Texts in a dictionary, which most files have in none."""


@dataclass(frozen=True)
class Reading:
    """How the rows of one file become documents: `Columns` applied to its stored columns."""

    sources: tuple[Source, ...]
    carried: tuple[Carried, ...]
    complete: bool
    """Every stored column is wanted."""
    time_unit: str | None = None
    limits: Limits = LIMITS
    batch_rows: int = MAX_ROWS
    addressed: bool = True
    names: tuple[str, ...] = field(init=False)
    """The stored columns to read, each once."""

    def __post_init__(self) -> None:
        found = [name for source in self.sources for name in source.names]
        found += [carried.stored for carried in self.carried]
        object.__setattr__(self, "names", tuple(dict.fromkeys(found)))

    @property
    def coded(self) -> tuple[str, ...]:
        """Stored columns whose texts are wanted as dictionaries."""
        return tuple(one.stored for one in self.carried if one.coded)

    def names_in(self, stored: pa.Schema) -> list[str]:
        """Those of the columns that the file has."""
        own = set(stored.names)
        return [name for name in self.names if name in own]


def resolve(columns: Columns, stored: pa.Schema, path: str, common: pa.Schema | None = None) -> Reading:
    """Which stored columns of a file are read as what.

    Args:
      columns: what is asked for.
      stored: the file's columns.
      path: the file, for messages.
      common: the columns of the whole input, when carried columns are to be alike in all files: one that this
        file lacks is null, and a narrower type is widened.

    Raises:
      InputError: a column is absent or has a type that can't be read; the message names the file, the column,
        what was found and what to do.
    """
    twice = sorted(name for name, times in Counter(stored.names).items() if times > 1)
    if twice:
        raise InputError(f"{path}: several columns are called {twice[0]!r}")
    check_condition(columns.where, stored if common is None else common, path)
    sources = tuple(_read(columns, column, stored, path) for column in SHARED if column in columns.shared)
    carried = _carried(columns, sources, stored, path, common)
    complete = columns.carry == ALL
    return Reading(
        sources,
        carried,
        complete,
        columns.time_unit,
        columns.limits,
        columns.batch_rows,
        columns.addressed,
    )


def check_condition(where: Condition | None, stored: pa.Schema, path: str) -> None:
    """Raises an InputError where a condition names a column that isn't stored, or compares it with what it can't be."""
    if where is None:
        return
    missing = [name for name in columns_of(where) if name not in stored.names]
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r} for --where; {_has(stored)}")
    try:
        bind(where, {found.name: found.type for found in stored})
    except WhereError as error:
        raise InputError(f"{path}: {error}") from error


def _read(columns: Columns, column: str, stored: pa.Schema, path: str) -> Source:
    optional = column not in columns.needed
    try:
        return _source(columns, column, stored, path)._replace(optional=optional)
    except InputError:
        if not optional or getattr(columns, column) is not None:
            raise
        return Source(column, None, optional=True)


def _source(columns: Columns, column: str, stored: pa.Schema, path: str) -> Source:
    told: str | None = getattr(columns, column)
    candidates = (told,) if told is not None else (column, *schema.SYNONYMS.get(column, ()))
    there = [name for name in candidates if name in stored.names]
    if there:
        check_type(column, stored.field(there[0]), path, columns.time_unit)
        others = (name for name in there[1:] if READS[column].accepts(stored.field(name).type))
        return Source(column, there[0], others=tuple(others))
    if told is None and column == schema.ID:
        return Source(column, None)
    if told is None and column == schema.DOMAIN:
        try:
            url = _source(columns, schema.URL, stored, path)
            return url._replace(column=column, derived=True, private_suffixes=columns.private_suffixes)
        except InputError as error:
            raise InputError(f"{error} (a domain is read, or derived from the url)") from error
    raise InputError(_missing(column, told, stored, path))


def _missing(column: str, told: str | None, stored: pa.Schema, path: str) -> str:
    likely = _likely(column, told, stored) or "NAME"
    return f"{path}: no column {told or column!r}; {_has(stored)}. Use --{column}_column={likely}."


def _has(stored: pa.Schema) -> str:
    if not stored.names:
        return "it has none"
    more = f" and {len(stored.names) - MENTIONED} more" if len(stored.names) > MENTIONED else ""
    return f"it has {', '.join(repr(name) for name in stored.names[:MENTIONED])}{more}"


MENTIONED = 20
"""Columns that a message lists."""


def _likely(column: str, told: str | None, stored: pa.Schema) -> str | None:
    """The stored column that was probably meant."""
    readable = [
        item.name for item in stored if READS[column].accepts(item.type) and not pa.types.is_null(item.type)
    ]
    by_lower = {name.lower(): name for name in reversed(readable)}
    for name in (told or column, *LIKELY[column]):
        if name.lower() in by_lower:
            return by_lower[name.lower()]
    close = difflib.get_close_matches((told or column).lower(), by_lower, n=1)
    if close:
        return by_lower[close[0]]
    return readable[0] if column == schema.TEXT and len(readable) == 1 else None


def _carried(
    columns: Columns, sources: Iterable[Source], stored: pa.Schema, path: str, common: pa.Schema | None
) -> tuple[Carried, ...]:
    read = {source.stored for source in sources if not source.derived and columns.carry == ALL}
    everything = common if common is not None else stored
    taken = {schema.ADDRESS, *columns.reserved, *(source.column for source in sources)}
    own, known = set(stored.names), set(everything.names)
    read |= {source.column for source in sources if source.stored == source.column}
    read |= {source.column for source in sources if source.stored is None} - own  # other files may have it
    carried = []
    for name in everything.names if columns.carry == ALL else columns.carry:
        if name in read:
            continue
        if name not in known:
            raise InputError(f"{path}: no column {name!r}; {_has(stored)}")
        type_ = everything.field(name).type
        if name in own:
            check_readable(stored.field(name), path)
            check_widens(stored.field(name), type_, path)
        coded = name in columns.coded and is_byte_string(type_)
        if coded:
            type_ = pa.dictionary(pa.int32(), type_)
        carried.append(Carried(name, _free_name(name, taken), type_, coded))
        taken.add(carried[-1].column)
    strangers = [name for name in stored.names if name not in known]
    if strangers and columns.carry == ALL:
        raise InputError(
            f"{path}: column {strangers[0]!r} is in none of the files that were looked at before the job"
        )
    return tuple(carried)


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name = STORED_PREFIX + name
    return name
