"""The whole job, beside plain Python, datasketch and dicts; each run is checked for what any run promises."""

import gzip
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.io import manifest
from beam_etl.io.read import ReadDocuments
from beam_etl.kernels.banding import Banding
from beam_etl.kernels.candidates import NearRule
from beam_etl.kernels.partition import PartitionPlan, plan_partitions
from beam_etl.pipelines.dedup import run
from tests.duplicates import Clusters, Document, families, near_clusters, survivors

Files = dict[str, list[Document]]
MISSING = math.inf


def made_documents(count: int, seed: int = 1) -> list[Document]:
    """Families, with what an owner of documents may choose by."""
    rows = families(count, seed)
    for number, row in enumerate(rows):
        row["text"] = row["text"] or ""
        row["url"] = f"https://{row['domain'] or 'none.org'}/page/{number % 50}" if number % 7 else None
        row["time"] = row["seen"] = f"2026-{number % 9 + 1:02d}-11T05:06:07Z" if number % 5 else None
        row["views"] = (number * 7919) % 101 if number % 6 else None
        row["score"] = None if row["score"] != row["score"] else row["score"]
        del row["address"]
    return rows


ROWS = made_documents(10)
COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("text", "id", "domain", "url", "time", "seen")),
        ("views", pa.int64()),
        ("score", pa.float64()),
    ]
)


def cut(rows: Sequence[Document], count: int, suffix: str) -> Files:
    """Files whose names are in the order of the documents, however many there are."""
    edges = [len(rows) * number // count for number in range(count + 1)]
    return {
        f"{number:03d}.{suffix}": list(rows[edges[number] : edges[number + 1]]) for number in range(count)
    }


def lines_of(rows: Sequence[Document]) -> list[bytes]:
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True)
    for name, rows in files.items():
        content = b"".join(lines_of(rows))
        if name.endswith("parquet"):
            pq.write_table(pa.Table.from_pylist(rows, COLUMNS), folder / name, row_group_size=23)
        else:
            (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return folder


def positions(name: str, rows: Sequence[Document]) -> list[int]:
    if name.endswith("parquet"):
        return list(range(len(rows)))
    return [0, *accumulate(map(len, lines_of(rows)))][:-1]


def read(path: Path) -> list[Document]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    content = path.read_bytes()
    return [
        json.loads(line)
        for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
    ]


@dataclass(frozen=True)
class Done:
    """What a run gave."""

    kept: list[Document]
    removals: list[Document]

    @property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.kept]

    @property
    def survivors(self) -> dict[str, str]:
        return {row["id"]: row["survivor_id"] for row in self.removals}


def table(output: Path, name: str) -> list[Document]:
    return pq.read_table(output / name).to_pylist() if (output / name).is_dir() else []


def deduplicate(folder: Path, files: Files, *flags: str) -> Done:
    """Runs the job over files, and checks all that holds for any rule."""
    source, output = write(folder / "in", files), folder / "out"
    assert run([f"--input={source}", f"--output={output}", *flags]) == 0
    found = manifest.latest(str(output))
    assert found is not None
    written: dict[str, list[Document]] = defaultdict(list)
    for path in sorted(file.path for file in found.table("documents")):
        written[Path(path).name.split("-")[1]] += read(output / path)
    removals = table(output, "removals")
    places = {
        row["id"]: (str(source / name), position)
        for name, rows in files.items()
        for row, position in zip(rows, positions(name, rows), strict=True)
    }
    removed = {row["id"] for row in removals}
    assert len(removed) == len(removals)
    expected = [[row for row in rows if row["id"] not in removed] for rows in files.values()]
    assert [rows for rows in written.values() if rows] == [rows for rows in expected if rows]
    assert sum(map(len, written.values())) + len(removals) == sum(map(len, files.values()))
    for row in removals:
        assert (row["file"], row["position"]) == places[row["id"]]
        assert (row["survivor_file"], row["survivor_position"]) == places[row["survivor_id"]]
        assert row["survivor_id"] not in removed
        assert row["survivor_dataset"] is None
    check_report(output, files, removals)
    return Done([row for rows in written.values() for row in rows], removals)


def check_report(output: Path, files: Files, removals: list[Document]) -> None:
    """The tables of the report add up to the removals, counted without our code."""
    rows = {row["id"]: row for some in files.values() for row in some}
    clusters = defaultdict(list)
    for row in removals:
        clusters[row["cluster"]].append(row)
        assert row["bytes"] == len(rows[row["id"]]["text"].encode())
    for some in clusters.values():
        assert {row["cluster_size"] for row in some} == {len(some) + 1}
        assert len({row["survivor_id"] for row in some}) == 1
    sizes = Counter(len(some) + 1 for some in clusters.values())
    assert summed(table(output, "cluster_sizes"), "cluster_size", "clusters") == sizes
    assert {row["cluster"]: row["removed"] for row in table(output, "clusters")} == {
        cluster: len(some) for cluster, some in clusters.items()
    }
    has_domains = any("domain" in row for row in rows.values())
    domains = Counter(rows[row["id"]].get("domain") for row in removals if has_domains)
    assert summed(table(output, "domains"), "domain", "removed") == domains
    for name in ("cluster_sizes", "clusters", "domains")[: 2 + has_domains]:
        told = table(output, name)
        assert sum(row["bytes"] for row in told) == sum(row["bytes"] for row in removals)
        assert sum(row["exact"] for row in told) == sum(row["reason"] == "exact" for row in removals)


def summed(rows: list[Document], key: str, value: str) -> Counter[Any]:
    """A run without shuffles tells a size once a file."""
    found: Counter[Any] = Counter()
    for row in rows:
        found[row[key]] += row[value]
    return found


def near(rows: Sequence[Document], **rule: Any) -> Clusters:
    numbered = [{**row, "address": place} for place, row in enumerate(rows)]
    return near_clusters(numbered, NearRule(**rule))


def equal(rows: Sequence[Document], *names: str) -> Clusters:
    groups = defaultdict(set)
    for place, row in enumerate(rows):
        key = tuple(row[name] for name in names)
        if None not in key and key != ("",):
            groups[key].add(place)
    return {place: nodes for nodes in groups.values() if len(nodes) > 1 for place in nodes}


def expected_survivors(
    rows: Sequence[Document], clusters: Clusters, worth: Callable[[Document], Any] = lambda row: 0
) -> dict[str, str]:
    best = survivors(clusters, lambda place: worth(rows[place]))
    return {rows[place]["id"]: rows[other]["id"] for place, other in best.items() if place != other}


LOOSE = Banding(bands=20, rows=4)
LOOSE_FLAGS = ("--bands=20", "--band_rows=4")


def known(row: Document, name: str, sign: int) -> float:
    return MISSING if row[name] is None else sign * row[name]


def month(row: Document) -> int:
    return int(row["time"][5:7])


MODES: dict[
    str, tuple[tuple[str, ...], Callable[[Sequence[Document]], Clusters], Callable[[Document], Any]]
] = {
    "near": ((), near, lambda row: 0),
    "other bands": (
        (*LOOSE_FLAGS, "--seed=9", "--ngram=3"),
        lambda rows: near(rows, banding=LOOSE, seed=9, ngram=3),
        lambda row: 0,
    ),
    "threshold": (
        ("--threshold=0.8",),
        lambda rows: near(rows, banding=Banding(bands=14, rows=9), threshold=0.8),
        lambda row: 0,
    ),
    "threshold, loose, longest": (
        ("--threshold=0.7", *LOOSE_FLAGS, "--keep=longest"),
        lambda rows: near(rows, banding=LOOSE, threshold=0.7),
        lambda row: -len(row["text"]),
    ),
    "within": (("--within=domain",), lambda rows: near(rows, within="domain"), lambda row: 0),
    "longest": (("--keep=longest",), near, lambda row: -len(row["text"])),
    "shortest": (("--keep=shortest",), near, lambda row: len(row["text"])),
    "newest": (("--keep=newest",), near, lambda row: MISSING if row["time"] is None else -month(row)),
    "oldest": (("--keep=oldest",), near, lambda row: MISSING if row["time"] is None else month(row)),
    "largest of a column": (("--keep=max:views",), near, lambda row: known(row, "views", -1)),
    "smallest of a column": (("--keep=min:score",), near, lambda row: known(row, "score", 1)),
    "exact": (("--method=exact",), lambda rows: equal(rows, "text"), lambda row: 0),
    "exact url": (
        ("--method=exact", "--key=url", "--keep=longest"),
        lambda rows: equal(rows, "url"),
        lambda row: -len(row["text"]),
    ),
    "exact of two columns": (
        ("--method=exact", "--key=domain,views"),
        lambda rows: equal(rows, "domain", "views"),
        lambda row: 0,
    ),
}


TIMES_AS_TEXT = pytest.mark.xfail(
    strict=True, reason="a time that is stored as text is refused, though it is read as one"
)


@pytest.mark.parametrize(
    ("flags", "clusters", "worth"),
    [
        pytest.param(*mode, id=name, marks=[TIMES_AS_TEXT] if name in ("newest", "oldest") else [])
        for name, mode in MODES.items()
    ],
)
def test_what_is_removed_is_what_plain_python_removes(
    flags: tuple[str, ...],
    clusters: Callable[[Sequence[Document]], Clusters],
    worth: Callable[[Document], Any],
    tmp_path: Path,
) -> None:
    expected = expected_survivors(ROWS, clusters(ROWS), worth)
    assert expected
    assert deduplicate(tmp_path, cut(ROWS, 3, "parquet"), *flags).survivors == expected


def test_real_documents(webtext: list[Document], tmp_path: Path) -> None:
    rows = webtext[:1500]
    expected = expected_survivors(rows, near(rows))
    assert len(expected) > 20
    assert deduplicate(tmp_path, cut(rows, 3, "jsonl.gz")).survivors == expected


@pytest.mark.parametrize("keep", ["newest", "oldest"])
def test_times_may_have_another_name(keep: str, tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "time"} for row in ROWS]
    expected = expected_survivors(ROWS, near(ROWS), MODES[keep][2])
    done = deduplicate(tmp_path, cut(rows, 3, "jsonl"), f"--keep={keep}", "--time_column=seen")
    assert done.survivors == expected


EXPECTED = expected_survivors(ROWS, near(ROWS, banding=LOOSE, threshold=0.7), lambda row: -len(row["text"]))

SHARDINGS = {
    "one file": (1, "parquet", ()),
    "three packed files": (3, "jsonl.gz", ("--direct_num_workers=1",)),
    "ten files, two workers": (10, "jsonl", ("--direct_num_workers=2",)),
    "ten files, one worker": (10, "parquet", ("--direct_num_workers=1",)),
    "a file for each document": (len(ROWS), "jsonl", ()),
}


@pytest.mark.parametrize(("count", "suffix", "flags"), SHARDINGS.values(), ids=SHARDINGS)
def test_the_same_documents_stay_however_they_are_stored(
    count: int, suffix: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    done = deduplicate(
        tmp_path, cut(ROWS, count, suffix), "--threshold=0.7", *LOOSE_FLAGS, "--keep=longest", *flags
    )
    assert done.survivors == EXPECTED


def many_partitions(
    expected_bytes: int | None, key_limit: int, partitions: int | None = None
) -> PartitionPlan:
    return plan_partitions(expected_bytes, key_limit, partitions or 17)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits, bundles and slices of clusters are small, and partitions are many."""
    monkeypatch.setattr("beam_etl.io.read.ReadDocuments", partial(ReadDocuments, split_bytes=4000))
    monkeypatch.setattr("beam_etl.transforms.duplicates.GATHER_BYTES", 1)
    monkeypatch.setattr("beam_etl.transforms.link_files.GATHER_BYTES", 1)
    monkeypatch.setattr("beam_etl.transforms.shuffle.plan_partitions", many_partitions)
    monkeypatch.setattr("beam_etl.kernels.removals.CLUSTER_SLICE", 30)


COPIES = [{**ROWS[0], "id": f"copy{number}"} for number in range(100)]
MORE = [*ROWS[:60], *COPIES, *ROWS[60:]]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", ["near", "threshold, loose, longest", "exact"])
def test_small_splits_and_many_partitions_change_nothing(
    name: str, suffix: str, tmp_path: Path, small: None
) -> None:
    flags, clusters, worth = MODES[name]
    done = deduplicate(tmp_path, cut(MORE, 2, suffix), *flags)
    assert done.survivors == expected_survivors(MORE, clusters(MORE), worth)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="{0[0]} then {0[1]}".format)
def test_the_order_of_patterns_does_not_matter(order: tuple[str, str], tmp_path: Path) -> None:
    half = len(ROWS) // 2
    write(tmp_path / "a", {"x.jsonl": ROWS[:half]})
    write(tmp_path / "b", {"x.jsonl": ROWS[half:]})
    inputs = ",".join(str(tmp_path / name) for name in order)
    assert run([f"--input={inputs}", f"--output={tmp_path}/out"]) == 0
    found = {row["id"]: row["survivor_id"] for row in table(tmp_path / "out", "removals")}
    assert found == expected_survivors(ROWS, near(ROWS))


def chain(length: int) -> list[Document]:
    """Each document shares a half of its words with the one before it, and half with the one after."""
    return [
        {"id": f"c{place}", "text": " ".join(f"w{number}" for number in range(30 * place, 30 * place + 60))}
        for place in range(length)
    ]


CHAIN = ("--ngram=1", "--bands=128", "--band_rows=1")


def test_one_process_and_rounds_give_the_same_clusters(tmp_path: Path, small: None) -> None:
    rows = chain(120)
    found = {
        way: deduplicate(tmp_path / way, cut(rows, 30, "jsonl"), *CHAIN, f"--components={way}").removals
        for way in ("one", "rounds")
    }
    without_files = {
        way: sorted(
            (row["id"], row["survivor_id"], row["cluster"], row["cluster_size"], row["band"]) for row in rows
        )
        for way, rows in found.items()
    }
    assert without_files["one"] == without_files["rounds"]
    assert len(without_files["one"]) == 119


def test_a_graph_that_needs_more_rounds_publishes_nothing(
    tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", cut(chain(200), 50, "jsonl"))
    flags = [
        f"--input={source}",
        f"--output={tmp_path}/out",
        *CHAIN,
        "--components=rounds",
        "--component_rounds=1",
    ]
    assert run(flags) == 1
    errors = capsys.readouterr().err
    assert "--component_rounds" in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "out").rglob("*.json*"))


USAGE = {
    "a threshold above 1": (["--threshold=2"], "threshold.*2"),
    "no threshold": (["--threshold=0", *LOOSE_FLAGS], "threshold is a similarity above 0"),
    "a rule without its column": (["--keep=max:"], "keep is one of first, longest.*'max:'"),
    "no rule": (["--keep=best"], "keep is one of first, longest.*'best'"),
    "no bands": (["--bands=0"], "0 bands"),
    "no rows": (["--band_rows=0"], "of 0"),
    "no bands beside a threshold": (["--bands=0", "--threshold=0.8"], "0 bands"),
    "a key that is absent": (["--method=exact", "--key=nocolumn"], "no column 'nocolumn'"),
    "a column within that is absent": (["--within=nocolumn"], "no column 'nocolumn'"),
    "a column to keep by that is absent": (["--keep=max:nocolumn"], "no column 'nocolumn'"),
    "a text to keep by": (["--keep=max:url"], "'url' is (large_)?string: documents are kept by numbers"),
    "no time": (["--keep=newest", "--time_column=nocolumn"], "nocolumn"),
    "a seed below 0": (["--seed=-1"], "seed"),
    "a seed beyond 32 bits": ([f"--seed={2**32}"], "seed"),
    "no shingle": (["--ngram=0"], "ngram is 1 to 64 words, got 0"),
    "no rounds": (["--component_rounds=0"], "rounds"),
    "no memory": (["--components_memory=0"], "memory"),
    "no key": (["--method=exact", "--key="], "key has at least one column"),
    "a key twice": (["--method=exact", "--key=url,url"], "each once"),
    "a key that can't be hashed": (["--method=exact", "--key=tags"], "tags.*list"),
    "a column within that can't be hashed": (["--within=tags"], "tags.*list"),
}


LATE = {
    "no bands": "0 is taken for the default",
    "no rows": "0 is taken for the default",
    "no bands beside a threshold": "0 is taken for the default",
    "no rounds": "told by a traceback",
    "no memory": "told by a traceback",
    "a key that can't be hashed": "told by a traceback while the job runs",
    "a column within that can't be hashed": "told by a traceback while the job runs",
}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(
            *case, id=name, marks=[pytest.mark.xfail(strict=True, reason=LATE[name])] if name in LATE else []
        )
        for name, case in USAGE.items()
    ],
)
def test_what_cannot_run_is_told_before_the_job_starts(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", {"a.jsonl": [{**row, "tags": ["a"]} for row in ROWS[:10]]})
    assert run([f"--input={source}", f"--output={tmp_path}/out", *flags]) == 2
    errors = capsys.readouterr().err
    assert re.search(message, errors.replace("\n", " ")), errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_an_input_without_time_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in", {"a.jsonl": [{"id": "a", "text": "x"}]})
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--keep=newest"]) == 2
    assert "no column 'time'" in capsys.readouterr().err


def test_rejects_stay_out_and_are_told_once(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    lines = lines_of(ROWS)
    broken = [b"{broken\n", b'{"id": "no text"}\n', b"[]\n"]
    (source / "a.jsonl").write_bytes(b"".join([*lines[:20], *broken, *lines[20:]]))
    for method in ("near", "exact"):
        output = tmp_path / method
        assert run([f"--input={source}", f"--output={output}", f"--method={method}"]) == 0
        rejects = table(output, "rejects")
        kept = [row for path in sorted((output / "documents").iterdir()) for row in read(path)]
        removed = table(output, "removals")
        assert len(kept) + len(removed) + len(rejects) == len(lines) + len(broken)
        clusters = near(ROWS) if method == "near" else equal(ROWS, "text")
        assert {row["id"]: row["survivor_id"] for row in removed} == expected_survivors(ROWS, clusters)
        assert b"{broken" in {row["payload"].strip() for row in rejects}


def test_empty_documents_are_counted_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": f"e{place}", "text": ""} for place in range(1234)]
    for method in ("near", "exact"):
        done = deduplicate(tmp_path / method, cut(rows, 2, "jsonl"), f"--method={method}")
        assert done.ids == [row["id"] for row in rows]
        assert "1,234 empty documents" in capsys.readouterr().out


def test_an_input_without_documents(tmp_path: Path) -> None:
    for number, flags in enumerate([("--threshold=0.8", "--keep=longest"), ("--method=exact",)]):
        done = deduplicate(tmp_path / str(number), {"a.parquet": []}, *flags)
        assert done == Done([], [])


def test_a_document_alone_is_kept(tmp_path: Path) -> None:
    for number, flags in enumerate([("--threshold=0.8", "--keep=longest"), ("--method=exact",)]):
        done = deduplicate(tmp_path / str(number), {"a.parquet": ROWS[:1]}, *flags)
        assert done == Done(ROWS[:1], [])


@pytest.mark.parametrize(
    "name",
    [
        "dataset",
        "file",
        "rank",
        pytest.param(
            "cluster", marks=pytest.mark.xfail(strict=True, reason="a decision has a column of that name")
        ),
    ],
)
def test_columns_of_the_user_may_have_our_names(name: str, tmp_path: Path) -> None:
    """As a key, within and to keep by. The removal table has none of their values."""
    rows = [{"id": f"d{place}", "text": f"text {place % 9}", name: place % 4} for place in range(40)]
    for number, (flags, clusters, sign) in enumerate(
        [
            (("--method=exact", f"--key={name}", f"--keep=max:{name}"), equal(rows, name), -1),
            (("--method=exact", f"--within={name}"), equal(rows, name, "text"), 0),
            ((f"--within={name}", f"--keep=min:{name}"), near(rows, within=name), 1),
        ]
    ):
        done = deduplicate(tmp_path / str(number), cut(rows, 2, "jsonl"), *flags)
        assert done.survivors == expected_survivors(rows, clusters, lambda row: sign * row[name])  # noqa: B023
        alike = defaultdict(set)
        for row in done.removals:
            alike[row["cluster"]].add((row["reason"], row["content_hash"], row["band"], row["similarity"]))
        assert {len(told) for told in alike.values()} == {1}
        assert {row["reason"] for row in done.removals} == {"exact"}


@pytest.mark.parametrize("name", ["near", "threshold, loose, longest", "exact"])
def test_files_that_are_partitioned_already_need_no_shuffle(name: str, tmp_path: Path) -> None:
    parts = defaultdict(list)
    for row in ROWS:
        parts[str(row["domain"])].append(row)
    rows = [row for some in parts.values() for row in some]
    flags, _, worth = MODES[name]
    files = {f"{number}.parquet": some for number, some in enumerate(parts.values())}
    clusters = {
        "near": partial(near, within="domain"),
        "threshold, loose, longest": partial(near, within="domain", banding=LOOSE, threshold=0.7),
        "exact": lambda rows: equal(
            [{**row, "domain": str(row["domain"])} for row in rows], "domain", "text"
        ),
    }[name]
    expected = {
        node: nodes
        for node, nodes in clusters(rows).items()
        if rows[node]["text"]  # type: ignore[operator]
    }
    done = deduplicate(tmp_path, files, *flags, "--within=domain", "--partitioned=true")
    assert done.survivors == expected_survivors(rows, expected, worth)
