"""Jobs that read from and write to object stores: the rows of a local run; what goes wrong is told."""

import datetime
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import WriteDataset
from beam_etl.io import manifest, splits
from beam_etl.io.file_source import FileSource
from beam_etl.io.formats import FileEntry
from beam_etl.io.stores import store_of
from beam_etl.io.stores.objects import forget_stores
from beam_etl.io.stores.signing import Keys, sign_request
from beam_etl.pipelines import dedup, token_count, tokenize, verify
from tests.beam import run
from tests.cloud import CLOUDS, Cloud, in_environment
from tests.sites import site_documents
from tests.vocabularies import SMALL


@pytest.fixture(scope="module", params=CLOUDS)
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with CLOUDS[request.param]() as made, in_environment(made):
        yield made


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet, in row groups of 40 rows."""
    folder = tmp_path_factory.mktemp("in")
    for seed in range(2):
        pq.write_table(
            pa.Table.from_pylist(site_documents(seed, 200)), folder / f"{seed}.parquet", row_group_size=40
        )
    return folder


@pytest.fixture(scope="module")
def copied(cloud: Cloud, local: Path) -> str:
    for path in local.iterdir():
        store_of(cloud.root).write(f"{cloud.root}/in/{path.name}", path.read_bytes())
    return f"{cloud.root}/in"


def rows(dataset: str, table: str, leave: tuple[str, ...] = ()) -> list[str]:
    """Of a table, in any order, but for columns."""
    found = manifest.latest(dataset)
    assert found is not None
    tables = [
        pq.read_table(pa.BufferReader(store_of(dataset).read(f"{dataset}/{file.path}")))
        for file in found.table(table)
    ]
    return sorted(
        json.dumps({name: value for name, value in row.items() if name not in leave}, default=str)
        for each in tables
        for row in each.to_pylist()
    )


JOBS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "token_count": (token_count, "counts", ()),
    "dedup": (dedup, "documents", ("file",)),
}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_from_store_to_store_has_the_rows_of_a_local_one(
    job: str, copied: str, cloud: Cloud, local: Path, tmp_path: Path
) -> None:
    module, table, leave = JOBS[job]
    output = f"{cloud.root}/out-{job}"
    assert module.run([f"--input={local}", f"--output={tmp_path}/out"]) == 0
    assert module.run([f"--input={copied}/*.parquet", f"--output={output}/"]) == 0
    assert rows(output, table, leave) == rows(f"{tmp_path}/out", table, leave) != []
    assert module.run([f"--input={copied}", f"--output={output}"]) == 2
    assert store_of(output).names(f"{output}/_staging") == []
    assert verify.run([output]) == 0


def shards(dataset: str) -> dict[str, list[bytes]]:
    """The files of token ids by the ends of their names, each kind in the order of shards."""
    found: dict[str, list[bytes]] = {}
    for path in sorted(file.path for file in manifest.latest(dataset).table("tokens")):  # type: ignore[union-attr]
        found.setdefault(Path(path).suffix, []).append(store_of(dataset).read(f"{dataset}/{path}"))
    return found


def test_token_ids_in_a_store_are_the_bytes_of_a_local_run(
    copied: str, cloud: Cloud, local: Path, tmp_path: Path
) -> None:
    """Also where another layout takes their place."""
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    flags = [f"--tokenizer=hf:{tmp_path}/small.json", "--shards=2", "--seed=3"]
    output = f"{cloud.root}/ids"
    assert tokenize.run([f"--input={local}", f"--output={tmp_path}/ids", *flags]) == 0
    assert tokenize.run([f"--input={copied}/*.parquet", f"--output={output}", *flags]) == 0
    here = shards(f"{tmp_path}/ids")
    assert shards(output) == here
    assert list(map(len, here.values())) == [2, 2]
    assert all(here[".bin"])
    again = [f"--input={copied}", f"--output={output}", *flags, "--layout=numpy"]
    assert tokenize.run(again) == 2
    assert tokenize.run([*again, "--overwrite=true"]) == 0
    arrays = shards(output)
    assert [np.load(io.BytesIO(array)).tobytes() for array in arrays[".npy"]] == here[".bin"]
    assert verify.run([output]) == 0
    assert len(list(store_of(output).files(f"{output}/tokens"))) == 4
    assert store_of(output).names(f"{output}/_staging") == []


def test_a_dataset_in_a_store_is_read_by_its_manifest(cloud: Cloud) -> None:
    output = f"{cloud.root}/cleaned"
    table = pa.Table.from_pylist(site_documents(0, 10))
    with run() as pipeline:
        rows = pipeline | beam.Create(table.to_batches())
        {"documents": rows} | WriteDataset(output=output)
    store_of(output).write(f"{output}/documents/stray.parquet", b"not of the dataset")
    found = FileSource(run(), output)
    assert sorted(file.path for file in found.files) == sorted(
        f"{output}/{file.path}"
        for file in manifest.latest(output).table("documents")  # type: ignore[union-attr]
    )


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_records_are_read_at_their_positions_however_a_file_is_split(
    suffix: str, cloud: Cloud, tmp_path: Path
) -> None:
    content = "".join(json.dumps(each) + "\n" for each in site_documents(3, 3000)).encode()
    content = gzip.compress(content) if suffix.endswith(".gz") else content
    (tmp_path / f"a.{suffix}").write_bytes(content)
    store_of(cloud.root).write(f"{cloud.root}/lines/a.{suffix}", content)
    found = []
    for path in (f"{tmp_path}/a.{suffix}", f"{cloud.root}/lines/a.{suffix}"):
        read = FileSource(run(), path).read
        read.split_bytes = 100_000
        batches = list(read.read_file(read.files[0]))
        found.append([(row["address"], row["text"]) for batch in batches for row in batch.to_pylist()])
    assert found[0] == found[1]
    assert len(found[0]) == 3300


def test_input_that_is_written_anew_while_a_job_runs_is_noticed(
    cloud: Cloud, local: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With as many bytes as before: the ETag tells."""
    path = f"{cloud.root}/changing/a.parquet"
    content = (local / "0.parquet").read_bytes()
    store_of(path).write(path, content)
    looked = splits.mark_of

    def changing(file: FileEntry) -> Any:
        seen = looked(file)
        store_of(path).write(path, content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        return seen

    monkeypatch.setattr(splits, "mark_of", changing)
    assert token_count.run([f"--input={path}", f"--output={cloud.root}/never"]) == 1
    assert "the file changed while the job ran: it was written anew" in capsys.readouterr().err
    assert manifest.latest(f"{cloud.root}/never") is None


FAULTS: dict[str, tuple[str, str]] = {
    "busy": ("503 Slow Down", "<Code>SlowDown</Code>"),
    "broken": ("500 Internal Server Error", "<Code>InternalError</Code>"),
    "too many": ("429 Too Many Requests", ""),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_passes_is_asked_again_and_counted(
    fault: tuple[str, str], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr("beam_etl.io.stores.objects.FIRST_SECONDS", 0.001)
    monkeypatch.setattr("beam_etl.io.stores.objects.retried_request", lambda: counted.append(1))
    left = iter(range(3))
    with cloud.answering(lambda method, path: fault if next(left, None) is not None else None):
        assert store_of(cloud.root).create(f"{cloud.root}/busy/{fault[0]}", b"x")
    assert len(counted) == 3
    with cloud.answering(lambda method, path: fault), pytest.raises(OSError, match="status code"):
        store_of(cloud.root).read(f"{cloud.root}/busy/{fault[0]}")


DENIED = ("403 Forbidden", "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
REGION = (
    "400 Bad Request",
    "<Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting 'eu-west-3'",
)
REFUSALS: dict[str, tuple[Callable[[str], str], tuple[str, str] | None, str]] = {
    "no bucket": (
        lambda root: root.replace("bucket", "no-such-bucket"),
        None,
        "there is no bucket 'no-such-bucket'",
    ),
    "no permission": (lambda root: root, DENIED, "permission denied. Set "),
    "another region": (lambda root: root, REGION, "Set AWS_REGION=eu-west-3"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("side", ["input", "output"])
def test_what_a_user_can_mend_is_told_before_anything_runs(
    side: str, refusal: str, cloud: Cloud, copied: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where, answer, told = REFUSALS[refusal]
    path = f"{where(cloud.root)}/{'in' if side == 'input' else 'out-refused'}"
    given = {
        "input": copied if answer is None else str(tmp_path),
        "output": f"{cloud.root}/elsewhere",
        side: path,
    }
    pq.write_table(pa.Table.from_pylist(site_documents(0, 10)), tmp_path / "a.parquet")
    if side == "input":
        given["output"] = str(tmp_path / "out")
    with cloud.answering(lambda method, path: answer):
        assert token_count.run([f"--{name}={value}" for name, value in given.items()]) == 2
    assert told in capsys.readouterr().err


def test_without_credentials_it_is_said_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with CLOUDS["s3"]() as made, in_environment(made):
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr("beam_etl.io.stores.objects.FIRST_SECONDS", 0.001)
        forget_stores()
        with pytest.raises(OSError, match="AWS_ACCESS_KEY_ID"):
            store_of(made.root).uploads(made.root)


def test_a_signature_is_that_of_the_published_example() -> None:
    """GET Object of Amazon's documentation would sign a range too; this is its list of objects (`GET Bucket`)."""
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    when = datetime.datetime(2013, 5, 24, tzinfo=datetime.timezone.utc)
    query = {"max-keys": "2", "prefix": "J"}
    made = sign_request("GET", "https://examplebucket.s3.amazonaws.com", "/", query, "us-east-1", keys, when)
    expected = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    assert str(made.get_header("Authorization")).endswith(f"Signature={expected}")
