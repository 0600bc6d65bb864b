"""Imported by every Python process that has this folder on its path: an SDK worker that tells what it does.

It says so in files, and waits at the points where a test wants to meet it: see tests/engines/faulty.py.
"""

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_WATCHED = (
    "apache_beam.runners.worker.sdk_worker",
    "beam_etl.transforms.metrics",
    "beam_etl.io.rewrite",
    "beam_etl.io.commit",
    "beam_etl.io.publishing",
    "beam_etl.io.spill_files",
    "beam_etl.io.spill",
    "beam_etl.io.apply_decisions",
    "beam_etl.kernels.token_counts",
)


class _Watch(MetaPathFinder):
    """Changes the watched modules when they have been imported; imports nothing by itself."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _WATCHED:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            faulty = _faulty()
            faulty.CHANGES[name](module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _faulty() -> ModuleType:
    """tests/engines/faulty.py: this folder's parent needn't be on the path."""
    if "_faulty" not in sys.modules:
        spec = importlib.util.spec_from_file_location("_faulty", os.path.join(_HERE, os.pardir, "faulty.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules["_faulty"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["_faulty"]


sys.meta_path.insert(0, _Watch())
