import gzip
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken
import xxhash

from beam_etl.io import manifest, sort_ranges, write_tokens
from beam_etl.pipelines import show, token_count, verify
from beam_etl.pipelines.tokenize import run
from tests.vocabularies import SMALL

REPOSITORY = Path(__file__).parents[2]

Documents = list[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _offline(shared: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "data/tokens/tiktoken_cache"))
        yield


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, blocks and merges of some kilobytes."""
    monkeypatch.setattr(sort_ranges, "RUN_BYTES", 100_000)
    monkeypatch.setattr(sort_ranges, "MERGE_BYTES", 10_000)
    monkeypatch.setattr(sort_ranges, "MIN_BLOCK_BYTES", 3_000)


def stored(folder: Path, documents: Documents, files: int) -> Path:
    folder.mkdir()
    for number in range(files):
        pq.write_table(
            pa.Table.from_pylist(documents[number::files]), folder / f"{number}.parquet", row_group_size=50
        )
    return folder


def read_shards(output: Path) -> list[list[int]]:
    """The documents of all shards by a reader of the published layout: lengths, places and documents of each .idx."""
    found = []
    for index in sorted((output / "tokens").glob("*.idx")):
        data = index.read_bytes()
        assert data[:9] == b"MMIDIDX\x00\x00"
        assert int.from_bytes(data[9:17], "little") == 1
        kind = {8: np.uint16, 4: np.int32}[data[17]]
        sequences, documents = (int(value) for value in np.frombuffer(data, "<u8", 2, 18))
        lengths = np.frombuffer(data, "<i4", sequences, 34)
        places = np.frombuffer(data, "<i8", sequences, 34 + lengths.nbytes)
        first = np.frombuffer(data, "<i8", documents, 34 + lengths.nbytes + places.nbytes)
        assert 34 + lengths.nbytes + places.nbytes + first.nbytes == len(data)
        assert first[-1] == len(lengths)
        ids = index.with_suffix(".bin").read_bytes()
        for begin, end in itertools.pairwise(first):
            document = [
                np.frombuffer(ids, kind, lengths[at], places[at]).tolist() for at in range(begin, end)
            ]
            found.append([number for sequence in document for number in sequence])
    return found


def read_arrays(output: Path) -> list[list[int]]:
    """The documents of all shards as NumPy loads them."""
    found = []
    for file in sorted((output / "tokens").glob("*.npy")):
        ids, offsets = np.load(file, mmap_mode="r"), np.load(file.with_suffix(".offsets"))
        assert (ids.ndim, offsets.dtype, offsets[-1]) == (1, np.int64, len(ids))
        found += [ids[begin:end].tolist() for begin, end in itertools.pairwise(offsets)]
    return found


def shuffled(documents: Documents, seed: int) -> Documents:
    """In the order of the hashes of their ids with the seed, by the library xxhash."""

    def place(document: dict[str, Any]) -> int:
        first = xxhash.xxh64_intdigest(seed.to_bytes(8, "little", signed=True))
        return xxhash.xxh64_intdigest(xxhash.xxh64_digest(document["id"].encode())[::-1], first)

    return sorted(documents, key=place)


def expected(documents: Documents, name: str, mark: int, seed: int = 0) -> list[list[int]]:
    encoding = tiktoken.get_encoding(name)
    return [[*encoding.encode_ordinary(one["text"]), mark] for one in shuffled(documents, seed)]


@pytest.mark.slow
def test_shards_hold_all_documents_in_the_order_of_their_hashed_ids(
    webtext: Documents, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their tokens are as many as token_count counts."""
    documents = webtext[::15]
    source = stored(tmp_path / "in", documents, 3)
    flags = [f"--input={source}", f"--output={tmp_path}/out", "--tokenizer=tiktoken:gpt2", "--shards=4"]
    assert run([*flags, "--seed=11", "--direct_num_workers=2"]) == 0
    assert read_shards(tmp_path / "out") == expected(documents, "gpt2", 50256, 11)
    assert "cut by gigatoken" in capsys.readouterr().out
    shards = pq.read_table(tmp_path / "out/shards").sort_by("shard").to_pylist()
    names = sorted(path.name for path in (tmp_path / "out/tokens").glob("*.bin"))
    assert [shard["file"] for shard in shards] == [f"tokens/{name}" for name in names]
    assert [shard["shard"] for shard in shards] == [0, 1, 2, 3]
    counting = [f"--input={source}", f"--output={tmp_path}/counts", "--tokenizer=tiktoken:gpt2"]
    assert token_count.run(counting) == 0
    [total] = pq.read_table(tmp_path / "counts/totals").to_pylist()
    for name in ("documents", "tokens"):
        assert sum(shard[name] for shard in shards) == total[name]
    assert sum(shard["marks"] for shard in shards) == len(documents)
    told = manifest.latest(str(tmp_path / "out"))
    assert told is not None
    assert told.about["tokenized"] == {
        "vocabulary_ids": 50257,
        "end_of_document": 50256,
        "id_type": "uint16",
        "order": "XXH64 of id, seed 11",
        "shards": 4,
    }
    assert told.rows("tokens") == len(documents)


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    return f"--tokenizer=hf:{tmp_path}/small.json"


WIDE = {**SMALL, "added_tokens": [{**SMALL["added_tokens"][0], "id": 70000}]}
"""A mark that takes four bytes."""


def test_ids_depend_on_nothing_but_documents_and_seed(small: None, tmp_path: Path) -> None:
    """Not on files, their order, workers or shards."""
    documents = [{"id": f"d{number}", "text": "the cat " * (number % 90)} for number in range(900)]
    (tmp_path / "wide.json").write_text(json.dumps(WIDE))
    for name, (files, workers, shards) in {"one": (1, 1, 1), "many": (4, 3, 5)}.items():
        source = stored(tmp_path / f"in {name}", documents if files == 1 else documents[::-1], files)
        flags = [f"--input={source}", f"--output={tmp_path}/{name}", f"--tokenizer=hf:{tmp_path}/wide.json"]
        assert run([*flags, f"--shards={shards}", f"--direct_num_workers={workers}"]) == 0
        assert read_shards(tmp_path / name) == [
            [*[1, 2] * (int(one["id"][1:]) % 90), 70000] for one in shuffled(documents, 0)
        ]
        assert len(list((tmp_path / name / "tokens").iterdir())) == 2 * shards


def test_parquet_has_a_row_for_each_document(tokenizer: str, tmp_path: Path) -> None:
    documents = [{"id": f"d{number}", "text": "the cat " * number} for number in range(40)]
    source = stored(tmp_path / "in", documents, 2)
    flags = [f"--input={source}", f"--output={tmp_path}/out", tokenizer, "--layout=parquet", "--shards=2"]
    assert run([*flags, "--end_of_document=0"]) == 0
    files = sorted((tmp_path / "out/tokens").iterdir())
    assert len(files) == 2
    rows = pa.concat_tables([pq.read_table(file) for file in files])
    assert rows.schema.field("tokens").type.value_type == pa.uint16()
    assert rows.to_pylist() == [
        {"id": one["id"], "tokens": [*[1, 2] * int(one["id"][1:]), 0]} for one in shuffled(documents, 0)
    ]


@pytest.mark.parametrize(
    ("shards", "wide"),
    [pytest.param(1, True, id="uint32", marks=pytest.mark.long), pytest.param(7, False, id="uint16")],
)
def test_arrays_hold_all_documents_in_their_order(
    shards: int, wide: bool, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And tell their lengths before their values, which are written as they come."""
    documents = [{"id": f"d{number}", "text": "the cat " * (number % 90)} for number in range(400)]
    (tmp_path / "small.json").write_text(json.dumps(WIDE if wide else SMALL))
    source = stored(tmp_path / "in", documents, 3)
    flags = [f"--input={source}", f"--output={tmp_path}/out", f"--tokenizer=hf:{tmp_path}/small.json"]
    assert run([*flags, "--layout=numpy", f"--shards={shards}", "--direct_num_workers=2"]) == 0
    mark = 70000 if wide else 3
    expected = [[*[1, 2] * (int(one["id"][1:]) % 90), mark] for one in shuffled(documents, 0)]
    assert read_arrays(tmp_path / "out") == expected
    files = sorted((tmp_path / "out/tokens").glob("*.npy"))
    assert len(files) == shards
    assert {np.load(file, mmap_mode="r").dtype.name for file in files} == {"uint32" if wide else "uint16"}
    told = pq.read_table(tmp_path / "out/shards").to_pylist()
    assert sum(shard["tokens"] + shard["marks"] for shard in told) == sum(map(len, expected))
    assert verify.run([str(tmp_path / "out")]) == 0
    assert "not checked" not in capsys.readouterr().out


def test_an_array_of_another_length_than_it_tells_is_not_published(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a tokenizer gives other ids the second time."""
    count = write_tokens.ids_of_shards
    monkeypatch.setattr(write_tokens, "ids_of_shards", lambda *arguments: count(*arguments) + 1)
    source = stored(tmp_path / "in", [{"id": "a", "text": "the cat"}], 1)
    flags = [f"--input={source}", f"--output={tmp_path}/out", tokenizer, "--layout=numpy", "--shards=1"]
    assert run(flags) == 1
    assert "4 ids were counted for its array and 3 written" in capsys.readouterr().err
    assert manifest.latest(str(tmp_path / "out")) is None


def test_documents_without_ids_are_shuffled_by_their_places(tokenizer: str, tmp_path: Path) -> None:
    """So a folder that is moved gives the same; what can't be read is a reject."""
    texts = ["the " * number for number in range(60)]
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with gzip.open(tmp_path / name / "in.jsonl.gz", "wt") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in [*texts, None])
        flags = [f"--input={tmp_path / name}/*.gz", f"--output={tmp_path / name}/out", tokenizer]
        assert run([*flags, "--max_reject_fraction=1"]) == 0
        found.append(read_shards(tmp_path / name / "out"))
        assert pq.read_table(tmp_path / name / "out/rejects").num_rows == 1
    assert found[0] == found[1]
    assert sorted(map(len, found[0])) == list(range(1, 61))
    assert list(map(len, found[0])) != sorted(map(len, found[0]))


def test_shards_without_documents_have_no_file(tokenizer: str, tmp_path: Path) -> None:
    documents = [{"id": f"d{number}", "text": "the cat " * number} for number in range(5)]
    source = stored(tmp_path / "in", documents, 1)
    assert run([f"--input={source}", f"--output={tmp_path}/out", tokenizer, "--shards=50"]) == 0
    assert read_shards(tmp_path / "out") == [
        [*[1, 2] * int(one["id"][1:]), 3] for one in shuffled(documents, 0)
    ]
    shards = pq.read_table(tmp_path / "out/shards")["shard"].to_pylist()
    assert len(list((tmp_path / "out/tokens").glob("*.bin"))) == len(shards) <= 5


def test_no_documents_are_no_files(tokenizer: str, tmp_path: Path) -> None:
    source = stored(tmp_path / "in", [{"id": "a", "text": "the"}], 1)
    flags = [f"--input={source}", f"--output={tmp_path}/out", tokenizer, "--where=id = 'b'"]
    assert run(flags) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_manifests"]


DAMAGES = {
    "a flipped bit": (".bin", lambda data: bytes([data[0] ^ 1]) + data[1:], "checksum of a file"),
    "a cut index": (".idx", lambda data: data[:-1], "size of a file"),
}


def test_verify_reads_shards_and_the_example_too(
    tokenizer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [{"id": f"d{number}", "text": "the cat " * number} for number in range(9)]
    source = stored(tmp_path / "in", documents, 1)
    output = tmp_path / "out"
    assert run([f"--input={source}", f"--output={output}", tokenizer, "--shards=2"]) == 0
    assert verify.run([str(output)]) == 0
    assert "not checked" not in capsys.readouterr().out
    ran = subprocess.run(
        [sys.executable, str(REPOSITORY / "examples/read_tokens.py"), str(output), "--length=5"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ran.stdout.splitlines()
    assert lines[0] == "2 shards, 9 documents, 72 tokens and 9 marks"
    stream = [number for document in read_shards(output) for number in document]
    assert lines[2:] == [
        f"inputs: {[stream[:5], stream[6:11]]}",
        f"targets: {[stream[1:6], stream[7:12]]}",
    ]
    assert show.run([str(output), "--table=tokens"]) == 2
    assert "no rows to read, but .bin and .idx files" in capsys.readouterr().err
    for suffix, damage, kind in DAMAGES.values():
        [file, *_] = sorted((output / "tokens").glob(f"*{suffix}"))
        whole = file.read_bytes()
        file.write_bytes(damage(whole))
        assert verify.run([str(output)]) == 1
        assert kind in capsys.readouterr().out
        file.write_bytes(whole)


WRONG = {
    "words": ("--tokenizer=words", "words have no ids"),
    "mark": ("--end_of_document=<eod>", "its special tokens are: </s>"),
    "shards": ("--shards=0", "--shards is 1 to 1,024"),
    "seed": ("--seed=9223372036854775808", "--seed is a number of 64 bits"),
}


@pytest.mark.parametrize(("flag", "message"), WRONG.values(), ids=WRONG)
def test_what_can_not_be_tokenized_is_told_before_the_job(
    flag: str, message: str, tokenizer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stored(tmp_path / "in", [{"id": "a", "text": "the"}], 1)
    given = [tokenizer] if not flag.startswith("--tokenizer") else []
    assert run([f"--input={source}", f"--output={tmp_path}/out", *given, flag]) == 2
    assert message in capsys.readouterr().err
