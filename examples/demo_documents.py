"""Makes documents of the Python packages in this environment: real text with real duplicates, for nothing.

Each source, stub, header, README, licence and metadata file is one document; the standard library counts.
A document's date is the day its file was installed.
"""

import argparse
import os
import platform
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import Distribution, PackageMetadata, distributions
from itertools import islice
from pathlib import Path
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from beam_etl import schema

COLUMNS = (schema.ID, schema.URL, schema.LANGUAGE, schema.DATE, schema.TEXT)
ROWS_PER_FILE = 2_500

LANGUAGES = {
    "c": "c h",
    "c++": "cc cpp cxx hh hpp",
    "cython": "pyx pxd pxi",
    "fortran": "f f90 for pyf",
    "html": "html htm",
    "javascript": "js",
    "json": "json",
    "markdown": "md markdown",
    "proto": "proto",
    "python": "py pyi",
    "restructuredtext": "rst",
    "text": "txt",
    "toml": "toml",
    "yaml": "yaml yml",
}
LANGUAGE_OF_SUFFIX = {
    "." + suffix: language for language, suffixes in LANGUAGES.items() for suffix in suffixes.split()
}
PLAIN_NAMES = ("AUTHORS", "CHANGES", "COPYING", "LICENCE", "LICENSE", "METADATA", "NOTICE", "README", "WHEEL")
"""How the names of files begin that are text without a suffix."""

SITE_LABELS = (
    "homepage",
    "home",
    "documentation",
    "docs",
    "source",
    "sourcecode",
    "repository",
    "github",
    "code",
)
"""Labels of a package's links, the first choice first."""


@dataclass(frozen=True)
class Package:
    """Where a package's files are, and what its documents are called after."""

    name: str
    version: str
    site: str
    folder: Path
    files: tuple[str, ...]


def own_site(name: str, metadata: PackageMetadata) -> str:
    """The package's own site: home page, else documentation, else source, else a name that leads nowhere."""
    links: dict[str, str] = {}
    home = [f"homepage,{url}" for url in metadata.get_all("Home-page", [])]
    for entry in [*home, *metadata.get_all("Project-URL", [])]:
        label, _, url = entry.partition(",")
        if url.strip().startswith("http"):
            links.setdefault("".join(filter(str.isalnum, label)).lower(), url.strip())
    found = next((links[label] for label in SITE_LABELS if label in links), f"https://{name}.example.org")
    parts = urlsplit(found)
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def installed_package(distribution: Distribution) -> Package:
    """An installed package with the files it recorded, but for scripts outside the library folder."""
    name = distribution.metadata["Name"].lower().replace("_", "-")
    recorded = map(str, distribution.files or ())
    files = tuple(sorted(file for file in recorded if not file.startswith(("..", "/"))))
    site = own_site(name, distribution.metadata)
    return Package(name, distribution.version, site, Path(str(distribution.locate_file(""))), files)


def standard_library() -> Package:
    """The modules that came with the interpreter."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = tuple(sorted(str(file) for file in files if file.parts[0] != "site-packages"))
    return Package("python", platform.python_version(), "https://www.python.org", folder, names)


def packages() -> list[Package]:
    """Every package of this environment, and the standard library, by name."""
    paths = sysconfig.get_paths()
    installed = distributions(path=sorted({paths["purelib"], paths["platlib"]}))
    others = [installed_package(found) for found in installed if found.metadata["Name"] != "beam-etl"]
    return sorted([*others, standard_library()], key=lambda package: package.name)


def language_of(path: str) -> str | None:
    """What a file is written in by its name, or None for one that is no document."""
    name, suffix = os.path.splitext(os.path.basename(path))
    plain = suffix == "" and name.startswith(PLAIN_NAMES)
    return "text" if plain else LANGUAGE_OF_SUFFIX.get(suffix.lower())


def documents(package: Package, skipped: Counter[str]) -> Iterator[dict[str, object]]:
    """One document a file, by path; what is no text is counted in `skipped` by reason."""
    for path in package.files:
        language = language_of(path)
        file = package.folder / path
        if language is None or not file.is_file():
            continue
        try:
            text = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            skipped["not UTF-8"] += 1
            continue
        if not text.strip():
            skipped["empty"] += 1
            continue
        yield {
            schema.ID: f"{package.name}=={package.version}/{path}",
            schema.URL: f"{package.site}/{quote(path)}",
            schema.LANGUAGE: language,
            schema.DATE: datetime.fromtimestamp(file.stat().st_mtime, tz=timezone.utc).date(),
            schema.TEXT: text,
        }


def write(rows: Iterable[dict[str, object]], folder: Path) -> tuple[int, int]:
    """Parquet files of ROWS_PER_FILE documents. Returns how many documents, and bytes of text."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*.parquet"):
        old.unlink()
    columns = pa.schema([schema.DOCUMENT.field(name) for name in COLUMNS])
    count = size = 0
    remaining = iter(rows)
    while part := list(islice(remaining, ROWS_PER_FILE)):
        table = pa.Table.from_pylist(part, schema=columns)
        pq.write_table(table, folder / f"part-{count // ROWS_PER_FILE:05}.parquet", compression="zstd")
        count += len(part)
        size += pc.sum(pc.binary_length(table[schema.TEXT])).as_py()
    return count, size


def parse(argv: list[str]) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path("demo/documents"), help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--limit", type=int, help="stop after this many documents (default: all, some 10,000)"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Writes the documents, and says how many and from what."""
    arguments = parse(argv)
    began = time.monotonic()
    found = packages()
    skipped: Counter[str] = Counter()
    progress = tqdm(found, unit=" packages", leave=False, disable=not sys.stderr.isatty())
    rows = (row for package in progress for row in documents(package, skipped))
    try:
        count, size = write(islice(rows, arguments.limit), arguments.output)
    except OSError as error:
        print(
            f"Could not make the documents in {arguments.output}: {error}. Free some space, or name a folder"
            " on another disk that you may write to: --output=FOLDER",
            file=sys.stderr,
        )
        return 1
    left_out = "".join(f", {number} {reason} left out" for reason, number in sorted(skipped.items()))
    print(
        f"{count:,} documents, {size / 1e6:.0f} MB of text, from {len(found)} packages"
        f" in {time.monotonic() - began:.1f} s -> {arguments.output}{left_out}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
