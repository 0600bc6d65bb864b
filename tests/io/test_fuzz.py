"""Readers given valid files that were changed here and there: what they read or reject, never how they end.

FUZZ_EXECUTIONS=20000 runs as many of each; `make fuzz` a million, in a form that is quicker.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_etl.io.columns import Columns
from beam_etl.io.files import match_files
from beam_etl.io.formats import format_named
from beam_etl.io.rejects import Reject
from beam_etl.io.splits import plan_splits, read_split
from tests.io.fuzzing import KINDS, read_changed
from tests.stored import avro, json_lines, parquet

EXECUTIONS = int(os.environ.get("FUZZ_EXECUTIONS", "150"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_read_or_rejected(kind: str, tmp_path: Path) -> None:
    read_changed(kind, range(EXECUTIONS), tmp_path)


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5)


@pytest.mark.parametrize("encode", [parquet, avro, json_lines], ids=["parquet", "avro", "jsonl"])
def test_any_text_comes_back_as_it_was(
    encode: Callable[[list[dict[str, str]]], bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("texts")

    @settings(max_examples=min(EXECUTIONS, 1000))
    @given(TEXTS)
    def check(texts: list[str]) -> None:
        name = {parquet: "parquet", avro: "avro", json_lines: "jsonl"}[encode]
        path = folder / f"a.{name}"
        path.write_bytes(encode([{"text": text} for text in texts]))
        read: list[str] = []
        known = format_named(name)
        for split in plan_splits(match_files(str(path))[0], known, 1 << 20):
            for found in read_split(split, known, Columns()):
                assert not isinstance(found, Reject), found
                read += found.column("text").to_pylist()
        assert read == texts

    check()
