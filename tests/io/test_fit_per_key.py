import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pytest
import xxhash
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import Columns, FitPerKey, UnbatchRows, plan
from beam_etl.io import fit_per_key, key_buckets
from beam_etl.io.file_source import FileSource
from beam_etl.io.key_buckets import KeyBuckets
from beam_etl.kernels import join_salts
from beam_etl.pipelines import repartition
from tests.beam import run

LEAST, MOST = 8, 30

Documents = list[dict[str, Any]]


class Lengths(NamedTuple):
    """A model: what it was fitted to, in order."""

    ids: tuple[str, ...]
    total: int


def fit(sample: pa.RecordBatch) -> Lengths | None:
    """None for the domain that makes none."""
    assert set(sample.schema.names) == {"address", "id", "domain", "text"}
    if "none.example" in sample.column("domain").to_pylist() and len(set(sample.column("domain"))) == 1:
        return None
    texts = sample.column("text").to_pylist()
    return Lengths(tuple(sample.column("id").to_pylist()), sum(map(len, texts)))


def score(model: Lengths, batch: pa.RecordBatch) -> list[float]:
    """How much longer a document is than the mean, and which documents that is of."""
    texts = batch.column("text").to_pylist()
    if "poison" in texts:
        raise ValueError("not this one")
    fingerprint = xxhash.xxh32_intdigest(",".join(model.ids).encode())
    return [len(text) * len(model.ids) / model.total + fingerprint for text in texts]


def by_plain_python(documents: Documents) -> list[tuple[str, float, bool]]:
    """Id, score and whether the domain's own model gave it."""

    def model_of(some: Documents) -> Lengths | None:
        first = sorted(some, key=lambda one: xxhash.xxh64_intdigest(one["id"].encode()) >> 1)[:MOST]
        return Lengths(tuple(one["id"] for one in first), sum(len(one["text"]) for one in first))

    domains: defaultdict[str | None, Documents] = defaultdict(list)
    for one in documents:
        domains[one["domain"]].append(one)
    whole = model_of(documents)
    found = []
    for domain, own in domains.items():
        is_own = len(own) >= LEAST and domain != "none.example"
        model = model_of(own) if is_own else whole
        assert model is not None
        fingerprint = xxhash.xxh32_intdigest(",".join(model.ids).encode())
        for one in own:
            value = len(one["text"]) * len(model.ids) / model.total + fingerprint
            found.append((one["id"], value, is_own))
    return found


def made() -> Documents:
    sizes = {
        "large.example": 300,
        "middle.example": 40,
        "few.example": LEAST - 1,
        "none.example": 20,
        None: 12,
    }
    named = [domain for domain, count in sizes.items() for _ in range(count)]
    named += [f"site{number}.example" for number in range(15) for _ in range(number)]
    return [
        {"id": f"d{number}", "domain": domain, "text": "x" * (1 + number * 7 % 50)}
        for number, domain in enumerate(named)
    ]


def stored(folder: Path, documents: Documents, files: int) -> Path:
    folder.mkdir()
    for number in range(files):
        lines = [json.dumps(one) for one in documents[number::files]]
        (folder / f"{number}.jsonl").write_text("\n".join(lines))
    return folder


def partitioned(folder: Path, documents: Documents) -> Path:
    source = stored(folder / "in", documents, 2)
    flags = [f"--input={source}", f"--output={folder}/out", "--partition=hash:domain:4"]
    assert repartition.run(flags) == 0
    return folder / "out"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions go to files, keys are spread, and documents are put together some at a time."""
    monkeypatch.setattr(fit_per_key, "GATHER_BYTES", 5_000)
    monkeypatch.setattr(KeyBuckets.__init__, "__defaults__", (3_000,))
    monkeypatch.setattr(join_salts.key_salts, "__defaults__", (4_000,))


CASES = [
    pytest.param(1, 1, False, 1, id="shuffled", marks=pytest.mark.long),
    pytest.param(3, 2, True, 1, id="shuffled, spread"),
    pytest.param(0, 2, False, 0, id="in place", marks=pytest.mark.long),
    pytest.param(0, 1, True, 0, id="in place, in files"),
]


@pytest.mark.parametrize(("files", "workers", "is_small", "shuffles"), CASES)
def test_scores_are_those_of_plain_python_whatever_the_sharding(
    files: int,
    workers: int,
    is_small: bool,
    shuffles: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    documents = made()
    if is_small:
        request.getfixturevalue("small")
    source = stored(tmp_path / "docs", documents, files) if files else partitioned(tmp_path, documents)
    pipeline = run(f"--direct_num_workers={workers}")
    columns = Columns(needed=("id", "domain", "text"))
    done = pipeline | FitPerKey(
        source=FileSource(pipeline, str(source), columns),
        by="domain",
        fit=fit,
        score=score,
        least=LEAST,
        most=MOST,
    )
    drawn = plan(pipeline).shuffles
    assert len(drawn) == shuffles
    assert all((len(one.by) == 2) == is_small for one in drawn)
    found = done.batches | UnbatchRows() | beam.Map(lambda row: (row["id"], row["score"], row["own_model"]))
    assert_that(found, equal_to(by_plain_python(documents)))
    pipeline.run().wait_until_finish()


IN_PLACE = [pytest.param(False, id="shuffled"), pytest.param(True, id="in place", marks=pytest.mark.long)]


@pytest.mark.parametrize("in_place", IN_PLACE)
def test_what_a_model_fails_on_is_a_reject_with_its_file(in_place: bool, tmp_path: Path) -> None:
    documents = made()[-40:]
    documents[3]["text"] = "poison"
    source = partitioned(tmp_path, documents) if in_place else stored(tmp_path / "docs", documents, 2)
    with run() as pipeline:
        read = FileSource(pipeline, str(source), Columns(needed=("id", "domain", "text")))
        done = pipeline | FitPerKey(source=read, by="domain", fit=fit, score=score, least=LEAST, most=MOST)
        ids = done.batches | UnbatchRows() | beam.Map(lambda row: row["id"])
        assert_that(ids, equal_to([one["id"] for one in documents if one is not documents[3]]), label="ids")
        told = done.rejects | "Rejects" >> UnbatchRows()
        assert_that(told, lambda rows: _check_reject(rows, source), label="rejects")


def _check_reject(rows: list[dict[str, Any]], folder: Path) -> None:
    [row] = rows
    assert (row["stage"], row["reason"]) == ("fit per key", "ValueError: not this one")
    assert row["payload"] == b"poison"
    assert Path(row["file"]).is_relative_to(folder)
    assert row["position"] is not None


def refuse(sample: pa.RecordBatch) -> None:
    raise RuntimeError("can't")


def test_a_fit_that_fails_ends_the_job_and_names_the_key(tmp_path: Path) -> None:
    source = stored(tmp_path / "docs", made(), 1)
    pipeline = run()
    read = FileSource(pipeline, str(source), Columns(needed=("id", "domain", "text")))
    pipeline | FitPerKey(source=read, by="domain", fit=refuse, score=score)
    with pytest.raises(
        Exception, match="fit failed on .* rows, a sample of all documents: RuntimeError: can't"
    ):
        pipeline.run().wait_until_finish()


def refuse_one(sample: pa.RecordBatch) -> Lengths | None:
    if set(sample.column("domain").to_pylist()) == {"middle.example"}:
        raise RuntimeError("can't")
    return fit(sample)


def unfinished(sample: pa.RecordBatch) -> Any:
    return (text for text in sample.column("text"))


FAILING: dict[str, tuple[Any, Any, str]] = {
    "a fit of one key": (refuse_one, score, "a sample of domain='middle.example': RuntimeError: can't"),
    "a model of all that stays": (
        unfinished,
        score,
        "the model of all documents, a generator, travels to the workers",
    ),
    "a score of all": (fit, lambda model, batch: 0.5, "a model gave 'score' as float, of .* rows"),
}


@pytest.mark.parametrize(("fitting", "scoring", "message"), FAILING.values(), ids=FAILING)
def test_what_is_wrong_with_functions_is_told_with_the_key(
    fitting: Any, scoring: Any, message: str, tmp_path: Path
) -> None:
    source = stored(tmp_path / "docs", made(), 1)
    pipeline = run()
    read = FileSource(pipeline, str(source), Columns(needed=("id", "domain", "text")))
    pipeline | FitPerKey(source=read, by="domain", fit=fitting, score=scoring, least=LEAST, most=MOST)
    with pytest.raises(Exception, match=message):
        pipeline.run().wait_until_finish()


def test_a_key_of_one_document_may_have_a_model(tmp_path: Path) -> None:
    documents = [{"id": f"d{number}", "domain": f"{number}.example", "text": "x" * 7} for number in range(5)]
    source = stored(tmp_path / "docs", documents, 1)
    with run() as pipeline:
        read = FileSource(pipeline, str(source), Columns(needed=("id", "domain", "text")))
        done = pipeline | FitPerKey(source=read, by="domain", fit=fit, score=score, least=1)
        found = (
            done.batches | UnbatchRows() | beam.Map(lambda row: (row["id"], row["score"], row["own_model"]))
        )
        alone = [(one["id"], 1 + xxhash.xxh32_intdigest(one["id"].encode()), True) for one in documents]
        assert_that(found, equal_to(alone))


def test_columns_that_are_absent_and_sizes_that_can_not_be_are_told_at_once(tmp_path: Path) -> None:
    source = stored(tmp_path / "docs", made(), 1)
    pipeline = run()
    read = FileSource(pipeline, str(source), Columns(needed=("id", "text")))
    with pytest.raises(ValueError, match="no column 'domain'; documents have address, id, text"):
        pipeline | FitPerKey(source=read, by="domain", fit=fit, score=score)
    with pytest.raises(ValueError, match="least is 1 to most, got least=5, most=4"):
        FitPerKey(source=read, by="domain", fit=fit, score=score, least=5, most=4)
    with pytest.raises(ValueError, match="column='own_model' is the name of another column"):
        FitPerKey(source=read, by="domain", fit=fit, score=score, column="own_model")


@pytest.mark.parametrize("held", [10, 1 << 20], ids=["in files", "held"])
def test_parts_have_all_rows_of_their_keys_and_can_be_read_again(held: int) -> None:
    rows = pa.record_batch({"key": [f"k{n % 300}" for n in range(900)], "n": range(900)})
    with KeyBuckets("key", held) as buckets:
        for start in range(0, 900, 50):
            buckets.add(rows.slice(start, 50))
        parts = list(buckets.parts())
        seen = [[row for batch in part for row in batch.to_pylist()] for part in parts]
        assert seen == [[row for batch in part for row in batch.to_pylist()] for part in parts]
    assert sorted((row for part in seen for row in part), key=lambda row: row["n"]) == rows.to_pylist()
    keys = [{row["key"] for row in part} for part in seen]
    assert sum(map(len, keys)) == len(set().union(*keys)) == 300
    assert (len(seen) > key_buckets.BUCKETS // 2) == (held == 10)
