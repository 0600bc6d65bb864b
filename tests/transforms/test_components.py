import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl.kernels.components import NODE_BYTES
from beam_etl.observe.plan import plan
from beam_etl.transforms import components as components_module
from beam_etl.transforms import link_files
from beam_etl.transforms.components import ConnectedComponents, FoundComponents
from tests.beam import counters, run
from tests.graphs import GRAPHS, RANDOM, Words, member_rows, oracle, path

SPARSE = GRAPHS["a sparse random graph, with all links twice"]
CLIQUES = GRAPHS["cliques"]
TANGLED: Words = RANDOM.permutation(20_000).astype("uint64")
FEW_ROUNDS = 6


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Bundles that hold 500 links, so that small graphs come in parts; the folder of temporary files."""
    monkeypatch.setattr("beam_etl.transforms.link_files.GATHER_BYTES", 500 * (18 + 64))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def cut(graph: pa.RecordBatch, rows: int) -> list[pa.RecordBatch]:
    return [graph.slice(start, rows) for start in range(0, graph.num_rows, rows)]


def find(
    pipeline: beam.Pipeline, graph: pa.RecordBatch, find: ConnectedComponents, rows: int = 250
) -> FoundComponents:
    batches = pipeline | "Graph" >> beam.Create(cut(graph, rows), reshuffle=False).with_output_types(
        pa.RecordBatch
    )
    return batches | "Components" >> find


def as_rows(batch: pa.RecordBatch) -> list[Any]:
    return member_rows([batch])


def check(found: FoundComponents, graph: pa.RecordBatch) -> None:
    assert_that(found.members | "Rows" >> beam.FlatMap(as_rows), equal_to(oracle(graph)), "members")
    assert_that(found.failures, equal_to([]), "failures")


def check_failure(found: FoundComponents, pattern: str) -> None:
    def matches(failures: list[str]) -> None:
        assert len(failures) == 1
        assert re.search(pattern, failures[0]), failures[0]

    assert_that(found.members, equal_to([]), "members")
    assert_that(found.failures, matches, "failures")


WAYS: dict[str, dict[str, Any]] = {
    "one process": {"way": "one"},
    "rounds": {"way": "rounds"},
    "one process, when counted": {},
    "rounds, when counted": {"memory": 10 * NODE_BYTES},
    "one process, as expected": {"expected_links": 20_000},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_members_are_those_of_a_plain_union_find(way: dict[str, Any]) -> None:
    with run() as pipeline:
        check(find(pipeline, CLIQUES, ConnectedComponents(rounds=2, **way)), CLIQUES)


@pytest.mark.parametrize("memory", [2 << 30, NODE_BYTES], ids=["one process", "rounds"])
@pytest.mark.parametrize("graph", ["none", "a band told apart", "the smallest at the far end"])
def test_members_of_other_graphs(graph: str, memory: int) -> None:
    with run() as pipeline:
        components = ConnectedComponents(rounds=FEW_ROUNDS, memory=memory)
        check(find(pipeline, GRAPHS[graph], components), GRAPHS[graph])


@pytest.mark.parametrize(
    ("way", "rows", "workers"),
    [("one", 900, 2), ("rounds", 900, 2), pytest.param("rounds", 6_001, 1, marks=pytest.mark.long)],
)
def test_members_depend_on_neither_batches_nor_order(way: str, rows: int, workers: int) -> None:
    shuffled = SPARSE.take(pa.array(RANDOM.permutation(SPARSE.num_rows)))
    with run(f"--direct_num_workers={workers}") as pipeline:
        components = ConnectedComponents(way=way, rounds=FEW_ROUNDS)
        check(find(pipeline, shuffled, components, rows), SPARSE)


RAN = {
    "one process": ({"way": "one"}, {"components_one_process": 1}),
    "one process, when counted": ({}, {"components_one_process": 1}),
    "rounds, when counted": (
        {"memory": NODE_BYTES},
        {"components_by_rounds": 1, "components_rounds": 1},
    ),
    "rounds": ({"way": "rounds"}, {"components_by_rounds": 1, "components_rounds": 1}),
}


@pytest.mark.parametrize(("way", "expected"), RAN.values(), ids=RAN)
def test_counters_tell_which_way_ran(way: dict[str, Any], expected: dict[str, int]) -> None:
    pipeline = run()
    find(pipeline, CLIQUES, ConnectedComponents(rounds=2, **way))
    found = counters(pipeline, "Components")
    assert {name: count for name, count in found.items() if name.startswith("components_")} == expected


def test_a_graph_that_is_not_finished_has_no_members_and_says_what_to_set() -> None:
    with run() as pipeline:
        found = find(pipeline, path(TANGLED), ConnectedComponents(rounds=1, way="rounds"))
        check_failure(
            found, r"after 1 rounds: [\d,]+ of 20,000 nodes.*--component_rounds.*--components_memory"
        )


LEFT_OUT: dict[str, dict[str, Any]] = {
    "forced": {"way": "one", "memory": 1_000 * NODE_BYTES},
    "expected to be small": {"memory": 1_000 * NODE_BYTES, "expected_links": 250},
}


@pytest.mark.parametrize("way", LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_graph_too_large_for_one_process_says_what_to_set(way: dict[str, Any]) -> None:
    with run() as pipeline:
        found = find(pipeline, path(TANGLED), ConnectedComponents(**way))
        check_failure(found, r"--components_memory=\d+, or --components=rounds")


@pytest.mark.parametrize("memory", [2 << 30, NODE_BYTES], ids=["one process", "rounds"])
def test_files_of_its_own_are_removed_when_they_were_read(memory: int, small_files: Path) -> None:
    with run() as pipeline:
        check(find(pipeline, CLIQUES, ConnectedComponents(rounds=2, memory=memory)), CLIQUES)
    assert small_files.exists()
    assert list(small_files.iterdir()) == []


def test_a_folder_that_was_given_is_left_to_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "staging" / "links"
    with run() as pipeline:
        check(find(pipeline, CLIQUES, ConnectedComponents(way="one", folder=str(folder))), CLIQUES)
    assert len(list(folder.iterdir())) > 1


@pytest.mark.parametrize("memory", [2 << 30, NODE_BYTES], ids=["one process", "rounds"])
def test_files_that_another_attempt_wrote_meanwhile_are_left_to_it(
    memory: int, small_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components_module, "_temporary_folder", lambda: str(small_files / "shared"))
    (small_files / "shared").mkdir(parents=True)
    (small_files / "shared/links-of-another.arrow").write_bytes(b"")
    with run() as pipeline:
        check(find(pipeline, CLIQUES, ConnectedComponents(rounds=2, memory=memory)), CLIQUES)
    assert [path.name for path in (small_files / "shared").iterdir()] == ["links-of-another.arrow"]


@pytest.mark.parametrize("memory", [2 << 30, NODE_BYTES], ids=["one process", "rounds"])
def test_files_that_are_gone_are_told_and_not_waited_for(
    memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where each machine has a folder of its own."""
    released = link_files.WriteLinks.release

    def then_removed(self: Any, batches: list[pa.RecordBatch]) -> Any:
        for file in released(self, batches):
            Path(file.path).unlink()
            yield file

    monkeypatch.setattr(link_files.WriteLinks, "release", then_removed)
    with run() as pipeline:
        found = find(pipeline, CLIQUES, ConnectedComponents(rounds=2, memory=memory))
        assert_that(found.members, equal_to([]), "members")
        assert_that(found.failures, all_are_gone, "failures")


def all_are_gone(failures: list[str]) -> None:
    assert failures
    assert all(re.search(r"links-\w+\.arrow .*is gone.*folder=", failure) for failure in failures)


SHUFFLES: dict[str, tuple[dict[str, Any], list[tuple[str, ...]]]] = {
    "one process": ({"way": "one"}, []),
    "few links": ({"expected_links": 1_000_000}, []),
    "3 rounds": ({"rounds": 3}, [*[("key",), ("node",)] * 3, ("key",), ("root",)]),
    "1 round, forced": ({"rounds": 1, "way": "rounds"}, [("key",), ("node",), ("key",), ("root",)]),
    "many links": (
        {"rounds": 1, "expected_links": 100_000_000},
        [("key",), ("node",), ("key",), ("root",)],
    ),
}


@pytest.mark.parametrize(("way", "keys"), SHUFFLES.values(), ids=SHUFFLES)
def test_the_plan_shows_these_shuffles(way: dict[str, Any], keys: list[tuple[str, ...]]) -> None:
    pipeline = run()
    find(pipeline, SPARSE, ConnectedComponents(**way))
    assert [shuffle.by for shuffle in plan(pipeline).shuffles] == keys


WRONG: dict[str, dict[str, Any]] = {
    "unknown way": {"way": "fast"},
    "no round": {"rounds": 0},
    "no memory": {"memory": 0},
    "negative links": {"expected_links": -1},
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_arguments_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
        ConnectedComponents(**arguments)
