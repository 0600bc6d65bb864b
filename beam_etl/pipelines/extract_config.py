"""The flags of extraction, and what they say together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from beam_etl import schema
from beam_etl.io.blocklists import blocklist_rules
from beam_etl.io.columns import ALL, Columns
from beam_etl.io.item_lists import FILE_MARK, read_items
from beam_etl.kernels.document_rules import (
    HTTP_STATUS,
    DocumentRule,
    HasText,
    InLanguages,
    ReadablePage,
    Words,
)
from beam_etl.kernels.html import CONTENT_TYPE, EXTRACTS, LINKS, MAIN, MAX_PAGE_BYTES, TITLE
from beam_etl.kernels.languages import LANG, LANG_SCORE, NoDetectorError, check_codes
from beam_etl.kernels.masking import MASKED
from beam_etl.pipelines.flags import flag
from beam_etl.pipelines.resume_config import ResumeConfig
from beam_etl.transforms.extract import PAGE_MEMORY, PAGE_SECONDS, ExtractText


@dataclass(frozen=True, kw_only=True)
class Config(ResumeConfig):
    """What can be asked of the job."""

    job = "extract"

    extract: str = flag(
        "what is taken of a page: its main content, all text, or none but its tags",
        default=MAIN,
        choices=EXTRACTS,
    )
    links: bool = flag("add a column links, the URLs that a page links to", default=False)
    max_page_bytes: int = flag("a larger page, or text, is a reject", default=MAX_PAGE_BYTES, unit="bytes")
    page_seconds: float = flag(
        "a page that takes more of the processor is a reject", default=PAGE_SECONDS, unit="seconds"
    )
    page_memory: int = flag("a page that takes more is a reject", default=PAGE_MEMORY, unit="bytes")
    detect_language: bool = flag("add the columns lang and lang_score", default=True)
    languages: tuple[str, ...] = flag("remove documents in other languages, such as en,de", default=())
    min_language_score: float = flag(
        "remove documents whose language is told with a lower score, 0 to 1", default=0.0
    )
    blocklist: tuple[str, ...] = flag(
        "remove documents of these hosts, those below them, and URLs; @PATH is a file of any size with one a line",
        default=(),
    )
    required_words: tuple[str, ...] = flag(
        "remove documents with none of these words or phrases; or @PATH", default=()
    )
    forbidden_words: tuple[str, ...] = flag(
        "remove documents with any of these words or phrases; or @PATH", default=()
    )
    mask: bool = flag(
        "mask e-mail addresses and public IP addresses, and count them in a column masked", default=False
    )

    resume: bool = flag(
        "put down what is made of each split of the input, and take over what a run with the same flags and input had "
        "put down when it failed or was killed",
        default=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_language_score <= 1:
            raise ValueError(f"--min_language_score is between 0 and 1, got {self.min_language_score}")
        if (self.languages or self.min_language_score) and not self.detect_language:
            raise ValueError("--languages and --min_language_score need --detect_language=true")
        if self.languages:
            _check_languages(self.languages)
        self.extracting  # noqa: B018 - limits that can't be are told at once

    @property
    def others(self) -> tuple[str, ...]:
        words = (*self.blocklist, *self.required_words, *self.forbidden_words)
        return (*super().others, *(item for item in words if item.startswith(FILE_MARK)))

    @property
    def contents(self) -> tuple[str, ...]:
        return tuple(item.removeprefix(FILE_MARK) for item in self.others)

    @property
    def columns(self) -> Columns:
        """All columns. Archives have a payload for text, and documents of other files no URL perhaps."""
        optional = (schema.URL, schema.DATE, schema.TIME, schema.TEXT)
        made = (TITLE, *((LINKS,) if self.links else ()), *((MASKED,) if self.mask else ()))
        told = (LANG, LANG_SCORE) if self.detect_language else ()
        return replace(self.read_as((schema.ID,), carry=ALL, optional=optional), reserved=(*made, *told))

    @property
    def extracting(self) -> ExtractText:
        """The step that makes texts of pages."""
        return ExtractText(
            extract=self.extract,
            links=self.links,
            max_page_bytes=self.max_page_bytes,
            seconds=self.page_seconds,
            memory_bytes=self.page_memory,
        )

    @cached_property
    def blocked(self) -> tuple[DocumentRule, ...]:
        """What the blocklists say. Raises what `blocklist_rules` does."""
        return blocklist_rules(self.blocklist)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Words of which a document has one. Raises what `read_items` does."""
        return read_items(self.required_words)

    @cached_property
    def forbidden(self) -> tuple[str, ...]:
        """Words of which it has none. Raises what `read_items` does."""
        return read_items(self.forbidden_words)

    def first_rules(self, stored: Sequence[str]) -> tuple[DocumentRule, ...]:
        """What can be told without a text, of documents with these columns."""
        pages = {HTTP_STATUS, CONTENT_TYPE} <= set(stored)
        return (ReadablePage(), *self.blocked) if pages else self.blocked

    @property
    def text_rules(self) -> tuple[DocumentRule, ...]:
        """What takes the text."""
        asked = self.required or self.forbidden
        words: tuple[DocumentRule, ...] = (Words(self.required, self.forbidden),) if asked else ()
        return (HasText(), *words)

    @property
    def language_rules(self) -> tuple[DocumentRule, ...]:
        """What takes the language."""
        if not self.languages and not self.min_language_score:
            return ()
        return (InLanguages(self.languages, self.min_language_score),)


def _check_languages(asked: Sequence[str]) -> None:
    try:
        check_codes(asked)
    except NoDetectorError:
        return  # which the step tells
    except ValueError as error:
        raise ValueError(f"--languages: {error}") from error
