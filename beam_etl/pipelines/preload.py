"""What SDK workers use, loaded before there is a job: a pool's workers are copies of a process that has it."""

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import suppress

from beam_etl import io, kernels, observe, pipelines, transforms
from beam_etl.kernels.compiled import load_kept


def pieces() -> Iterator[str]:
    """Imports the suite's modules and loads the kernels that are kept compiled; yields the name of each.

    A module that can't be imported, for want of a library, is left out.
    """
    for package in (kernels, transforms, io, observe, pipelines):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            with suppress(ImportError):
                importlib.import_module(module.name)
            yield module.name
    yield from load_kept()
