"""Who may import whom, and that rows are grouped in one place only: docs/design.md, "Layers"."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "beam_etl"

FILES = ("open", "glob", "io", "os", "pathlib", "shutil", "tempfile")
"""What reaches for a file; `open` is the builtin."""


@dataclass(frozen=True)
class Layer:
    """What the files of one layer may use. The standard library is free, but for what is banned."""

    ours: tuple[str, ...]
    """Modules of beam_etl, each with what is below it."""
    libraries: tuple[str, ...]
    banned: tuple[str, ...] = ()


LAYERS = {
    "schema": Layer(("schema",), ("pyarrow",)),
    "child_process": Layer((), ()),
    "kernels": Layer(
        ("schema", "kernels"), ("numpy", "numba", "pyarrow", "datasketch"), (*FILES, "random", "time")
    ),
    "transforms": Layer(
        ("schema", "child_process", "kernels", "transforms"),
        ("apache_beam", "numpy", "pyarrow"),
        ("apache_beam.options", "argparse", "pathlib", "shutil", "tempfile"),
    ),
    "io": Layer(
        (
            *("schema", "child_process", "kernels", "io"),
            *(
                f"transforms.{name}"
                for name in ("batches", "gather_panes", "gathering", "map_partitions", "metrics", "shuffle")
            ),
        ),
        ("apache_beam", "fastavro", "numpy", "pyarrow"),
    ),
    "observe": Layer(("schema", "observe"), ("apache_beam", "pyarrow", "tqdm")),
    "engines": Layer(("engines",), ("apache_beam", "google.protobuf", "grpc")),  # which Beam stands on
    "testing": Layer(("schema", "kernels", "transforms"), ("apache_beam", "numpy", "pyarrow")),
    "pipelines": Layer(
        ("schema", "kernels", "transforms", "io", "observe", "engines", "pipelines", "__version__"),
        ("apache_beam", "numpy", "pyarrow"),
    ),
    "templates": Layer(("pipelines", "templates"), ()),
    "__init__": Layer(("schema", "kernels", "transforms", "io", "observe", "engines"), ()),
    "__main__": Layer(("pipelines",), ()),
}

EXCEPTIONS = {
    "kernels/compiled.py": FILES,  # keeps compiled code for the next process
    "kernels/unicode_table.py": FILES,  # reads the table that ships with the package
    "kernels/tokens.py": ("tiktoken", "tokenizers"),
    "kernels/fast_tokens.py": ("awkward", "gigatoken", *FILES),  # gigatoken takes ranks from a file only
    "io/stores/objects.py": ("obstore",),
    "io/stores/uploads.py": ("obstore", "google.auth", "google.oauth2"),
    "io/vocabularies.py": ("tiktoken",),  # which knows where its files lie
    "io/inflate.py": ("isal",),
    "io/formats/archives/values.py": ("fastwarc",),
    "io/formats/archives/zstd_dictionaries.py": ("zstandard",),
    "kernels/domains.py": ("idna", "tldextract"),
    "transforms/children.py": ("tempfile",),  # memory that it shares with a child
    "io/streams/kafka.py": ("confluent_kafka",),
    "io/streams/kafka_client.py": ("confluent_kafka",),
    "kernels/charsets.py": ("resiliparse",),
    "kernels/html.py": ("resiliparse",),
    "kernels/languages.py": FILES,  # reads the model that ships with a package
    "pipelines/curate_file.py": ("tomli",),  # as the standard library has it from Python 3.11
}
"""What single files may use beyond their layer."""

GROUPINGS = {
    "CoGroupByKey",
    "CombineGlobally",
    "CombinePerKey",
    "Distinct",
    "GroupBy",
    "GroupByKey",
    "GroupIntoBatches",
    "Reshuffle",
    "ReshufflePerKey",
    "combiners",
}
"""Transforms of Beam that shuffle, under whatever name they were imported from."""

GROUPS = {"transforms/shuffle.py": GROUPINGS, "transforms/gather_panes.py": {"GroupByKey"}}
"""The files that may name them: of rows, and of small elements of a stream's panes."""


def imported(node: ast.AST, package: str) -> Iterator[str]:
    """Full names of what a statement or call imports; `open` is told as if it were a module."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            parents = package.split(".")[: len(package.split(".")) + 1 - level] if level else []
            base = ".".join([*parents, *([module] if module else [])])
            yield from (f"{base}.{alias.name}" for alias in names)
        case ast.Call(
            func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            yield name
        case ast.Call(func=ast.Name(id="open")):
            yield "open"


def below(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def allowed(name: str, layer: Layer, beyond: tuple[str, ...]) -> bool:
    if below(name, beyond):
        return True
    if below(name, ("beam_etl",)):
        return below(name.removeprefix("beam_etl."), layer.ours)
    standard = name.partition(".")[0] in sys.stdlib_module_names or name == "open"
    return (standard or below(name, layer.libraries)) and not below(name, layer.banned)


def named(node: ast.AST) -> str | None:
    """The last part of a name that is used or imported."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            return name.rpartition(".")[2]
    return None


def violations(path: str, source: str) -> list[str]:
    """What a file, by its path below beam_etl/, may not do; empty when it keeps to its layer."""
    layer = LAYERS[path.removesuffix(".py").partition("/")[0]]
    package = ".".join(["beam_etl", *path.split("/")[:-1]])
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [
            name for name in imported(node, package) if not allowed(name, layer, EXCEPTIONS.get(path, ()))
        ]
        if named(node) in GROUPINGS - GROUPS.get(path, set()):
            names.append(f"{named(node)}")
        found += [f"line {node.lineno}: {name}" for name in names]  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_a_file_keeps_to_its_layer(file: Path) -> None:
    assert violations(file.relative_to(PACKAGE).as_posix(), file.read_text(encoding="utf-8")) == []


FORBIDDEN = {
    "kernel with Beam": ("kernels/a.py", "import apache_beam as beam"),
    "kernel with Beam, inside a function": ("kernels/a.py", "def f():\n    from apache_beam import Map"),
    "kernel that opens a file": ("kernels/a.py", "def f(path):\n    return open(path)"),
    "kernel with a path": ("kernels/a.py", "from pathlib import Path"),
    "kernel with a clock": ("kernels/a.py", "import time"),
    "kernel with another kernel's library": ("kernels/minhash.py", "import tiktoken"),
    "transform that reads": ("transforms/a.py", "from beam_etl.io.read import ReadDocuments"),
    "transform with flags": ("transforms/a.py", "import argparse"),
    "transform with options": ("transforms/a.py", "from apache_beam.options.pipeline_options import A"),
    "transform with options, by their package": ("transforms/a.py", "from apache_beam import options"),
    "reader with a workload": ("io/formats/a.py", "from beam_etl.transforms import token_count"),
    "reader with a workload, relative": ("io/formats/a.py", "from ...transforms import token_count"),
    "reader with everything": ("io/a.py", "from beam_etl.transforms import *"),
    "layer through the front door": ("io/a.py", "from beam_etl import CountTokens"),
    "progress with a transform": ("observe/a.py", "import beam_etl.transforms.shuffle"),
    "engine with Arrow": ("engines/a.py", "import pyarrow"),
    "pipeline from a transform": ("transforms/a.py", "import beam_etl.pipelines.token_count"),
    "pipeline from the front door": ("__init__.py", "from beam_etl.pipelines import PIPELINES"),
    "pipeline by its name": ("io/a.py", "import importlib\nimportlib.import_module('beam_etl.pipelines')"),
    "schema with a kernel": ("schema/a.py", "from beam_etl.kernels import text"),
    "unknown library": ("pipelines/a.py", "import requests"),
    "grouping": ("transforms/a.py", "import apache_beam as beam\nx = beam.GroupByKey()"),
    "grouping under another name": ("io/a.py", "from apache_beam import CombinePerKey as c"),
    "grouping inside a combiner": ("pipelines/a.py", "import apache_beam as b\nb.combiners.Count.Globally()"),
    "another grouping of panes": ("transforms/gather_panes.py", "import apache_beam as b\nb.GroupBy('a')"),
    "grouping by its module": ("io/a.py", "from apache_beam.transforms.util import Reshuffle"),
}


@pytest.mark.parametrize(("path", "source"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_check_finds_what_is_forbidden(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


PERMITTED = {
    "kernel": ("kernels/a.py", "import math\nimport numpy as np\nfrom beam_etl import schema"),
    "kernel with its library": ("kernels/tokens.py", "def f():\n    import tiktoken"),
    "transform": ("transforms/a.py", "import apache_beam\nfrom beam_etl.kernels.text import words"),
    "the shuffle": ("transforms/shuffle.py", "import apache_beam as beam\nx = beam.GroupByKey()"),
    "reader": ("io/a.py", "import os\nfrom beam_etl.transforms.batches import MapBatches"),
    "plan that only compares names": ("observe/a.py", "KINDS = ('GroupByKey',)"),
    "Arrow's grouping": ("kernels/a.py", "def f(t):\n    return t.group_by('a').aggregate([])"),
}


@pytest.mark.parametrize(("path", "source"), PERMITTED.values(), ids=PERMITTED)
def test_the_check_passes_what_is_permitted(path: str, source: str) -> None:
    assert violations(path, source) == []
