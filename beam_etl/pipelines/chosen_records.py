"""Jobs that read crawls, whole or the records that indexes choose of them."""

from dataclasses import dataclass, replace

import apache_beam as beam

from beam_etl import schema
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats.archives.cdx import read_cdx
from beam_etl.io.formats.warc import with_only
from beam_etl.kernels.html import OF_PAGES
from beam_etl.pipelines.config import JobConfig
from beam_etl.pipelines.flags import FILE, flag
from beam_etl.pipelines.job import read_documents


@dataclass(frozen=True, kw_only=True)
class CrawlConfig(JobConfig):
    """What can be asked of a job that reads documents or a crawl."""

    cdx: tuple[str, ...] = flag(
        "indexes, CDX or CDXJ: only the records that they name are read of the input's archives",
        default=(),
        unit=FILE,
    )

    @property
    def others(self) -> tuple[str, ...]:
        return self.cdx


def read_crawl(pipeline: beam.Pipeline, config: CrawlConfig) -> FileSource:
    """The input, or what indexes choose of it.

    Raises:
      InputError: as `read_documents`; an index can't be read, or names nothing of the input.
    """
    source: FileSource = read_documents(pipeline, config)
    if config.cdx:
        places = read_cdx(config.cdx, source.files)
        source.narrow(with_only(source.read.known, places), places)
    if not is_pages(source):  # a title that is there stays one
        columns = source.read.columns
        own = tuple(name for name in columns.reserved if name not in OF_PAGES)
        source.read.columns = replace(columns, reserved=own)
    return source


def is_pages(source: FileSource) -> bool:
    """Whether the input has pages, of which a text is to be made."""
    stored = source.stored_schema.names
    return schema.PAYLOAD in stored and schema.TEXT not in stored
