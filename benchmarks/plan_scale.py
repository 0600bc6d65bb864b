"""--plan over an input of a petabyte by size: seconds and peak memory of the whole process.

    python -m benchmarks.plan_scale FOLDER [--files=1000000] [--pipeline=token_count] [-- FLAG...]

Makes FOLDER/files once: hard links to some sparse Parquet files of 1 GiB. Their real documents stand at the start and
their footers at the end, with a hole between: they are read as any other. Needs a filesystem with both.
"""

import argparse
import os
import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import run_once

FILE_BYTES = 1 << 30
FOLDER_FILES = 1000
LINKS = 50_000
"""Names of one file: ext4 permits 65,000."""

DOCUMENTS = 1500
WORDS = 750
"""Documents of 5 KB. More text than a sample reads of a file, so that the sample ends before the hole."""


def write_sparse(path: Path, seed: int) -> None:
    """A Parquet file of FILE_BYTES that is mostly a hole."""
    pick = random.Random(seed)
    vocabulary = [
        "".join(pick.choices("abcdefghijklmnopqrstuvwxyz", k=pick.randint(2, 11))) for _ in range(20_000)
    ]
    texts = [" ".join(pick.choices(vocabulary, k=WORDS)) for _ in range(DOCUMENTS)]
    names = [f"{seed}-{i}" for i in range(DOCUMENTS)]
    languages = pick.choices(["en", "de", "fr", "ja"], k=DOCUMENTS)
    table = pa.table({"id": names, "lang": languages, "text": pa.array(texts, pa.large_string())})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=200, compression="zstd")
    whole = sink.getvalue().to_pybytes()
    end = 8 + int.from_bytes(whole[-8:-4], "little")
    with path.open("xb") as file:
        file.write(whole[:-end])
        file.seek(FILE_BYTES - end)
        file.write(whole[-end:])


def make(folder: Path, files: int) -> Path:
    """The list of `files` files, which are made where they aren't there yet."""
    listing = folder / f"{files}.txt"
    if listing.exists():
        return listing
    root = folder / f"files-{files}"
    paths = []
    for number in range(files):
        path = root / f"{number // FOLDER_FILES:04d}" / f"part-{number:07d}.parquet"
        if number % FOLDER_FILES == 0:
            path.parent.mkdir(parents=True)
        if number % LINKS == 0:
            first = path
            write_sparse(path, number // LINKS)
        else:
            os.link(first, path)
        paths.append(str(path))
    listing.write_text("\n".join(paths))
    return listing


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--pipeline", default="token_count")
    parser.add_argument("flags", nargs="*", help="further flags of the pipeline, behind --")
    given = parser.parse_args()
    listing = make(given.folder.resolve(), given.files)
    command = [sys.executable, "-m", f"beam_etl.pipelines.{given.pipeline}", *given.flags, "--plan"]
    command += [f"--output={given.folder / 'planned'}", "--cluster=nodes=100,nic=25Gbps"]
    inputs = {"a list": f"@{listing}", "a folder": listing.with_name(f"files-{given.files}")}
    for name, pattern in inputs.items():
        measured = run_once([*command, f"--input={pattern}"])
        print(f"{given.files:,} files, {given.files * FILE_BYTES / 1e15:.3g} PB, {name}: ", end="")
        print(f"{measured.seconds:.1f} s, {measured.peak_bytes / 1e9:.2f} GB\n{measured.stdout}")


if __name__ == "__main__":
    main()
