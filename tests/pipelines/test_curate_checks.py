"""What a file of curate asks for is there as the steps' own pipelines have it, and else it is told where."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_etl.io.access import open_file
from beam_etl.io.file_source import FileSource
from beam_etl.pipelines import curate
from beam_etl.transforms.children import close_children
from tests.archives import offsets, records
from tests.stored import write

ROWS = [
    {"id": str(n), "url": f"https://{'ab'[n % 2]}.example/{n}", "text": f"This is text number {n % 3}."}
    for n in range(12)
]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def job(folder: Path, source: Path, told: str) -> list[str]:
    file = write(folder, "corpus.toml", f'input = ["{source}"]\noutput = "{folder}/out"\n{told}'.encode())
    return [f"--config={file}"]


def table(output: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(output / name).to_pylist()
    return rows


def test_documents_are_compared_and_counted_by_a_derived_domain_and_their_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    left: dict[tuple[str, str], str] = {}
    for name, some in (("a", ROWS[:5]), ("b", ROWS[5:])):
        path = write(folder, f"{name}.jsonl", lines(some))
        for row in some:
            left.setdefault((row["url"].split("/")[2], row["text"]), str(path))
    told = '[exact]\nwithin = "domain"\n[tokens]\nby = ["domain", "file"]\n'
    assert curate.run(job(tmp_path, folder, told)) == 0
    expected = Counter((domain, path) for (domain, _), path in left.items())
    assert len(expected) == 3
    counts = {(row["domain"], row["file"]): row["documents"] for row in table(tmp_path / "out", "counts")}
    assert counts == expected
    documents = table(tmp_path / "out", "documents")
    assert Counter(row["file"] for row in documents) == Counter(left.values())
    assert "domain" not in documents[0]  # no file has it


def test_a_launcher_reads_lists_and_samples_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path, "a.jsonl", lines(ROWS))
    hosts, words = write(tmp_path, "hosts", b"c.example"), write(tmp_path, "words", b"number")
    opened, sampled = Counter[tuple[str, str]](), list[int]()
    for module in ("beam_etl.io.item_lists", "beam_etl.pipelines.resume_config"):

        def counted(path: str, module: str = module) -> Any:
            opened[Path(path).name, module.rpartition(".")[2]] += 1
            return open_file(path)

        monkeypatch.setattr(f"{module}.open_file", counted)
    sample = FileSource.sample
    monkeypatch.setattr(
        FileSource, "sample", lambda *args, **named: sampled.append(1) or sample(*args, **named)
    )
    steps = f'[urls]\nblocklist = ["@{hosts}"]\n[words]\nrequired_words = ["@{words}"]\n[lines]\n[exact]\n'
    assert curate.run([*job(tmp_path, source, steps), "--plan=json"]) == 0
    readers = ("item_lists", "resume_config")  # for what they say, and to tell a run that may be resumed
    assert opened == dict.fromkeys(((name, reader) for name in ("hosts", "words") for reader in readers), 1)
    assert sampled == [1]


def test_a_day_a_url_and_a_language_are_read_as_the_pipelines_of_steps_read_them(tmp_path: Path) -> None:
    told = [
        {
            "id": str(n),
            "link": f"https://a.example/{n % 3}",
            "date": f"2024-05-0{1 + n % 2}T12:34:{n:02}Z" if n else "someday",
            "tongue": "en",
            "text": f"Text {n}",
        }
        for n in range(13)
    ]
    source = write(tmp_path, "a.jsonl", lines(told))
    steps = '[exact]\nkey = ["url"]\nwithin = "date"\n[tokens]\nby = ["date", "language"]\n'
    flags = ["--url_column=link", "--language_column=tongue", "--max_reject_fraction=1"]
    assert curate.run([*job(tmp_path, source, steps), *flags]) == 0
    left = {(row["link"], row["date"][:10]): row for row in reversed(told[1:])}
    made = table(tmp_path / "out", "documents")
    assert {row["id"] for row in made} == {row["id"] for row in left.values()}
    assert {(row["url"], str(row["date"]), row["language"]) for row in made} == {(*key, "en") for key in left}
    [reject] = table(tmp_path / "out", "rejects")
    assert "someday" in reject["reason"]
    counts = {str(row["date"]): row["documents"] for row in table(tmp_path / "out", "counts")}
    assert counts == Counter(day for _, day in left)


THERE = {
    "a domain, and lines": '[c4_lines]\n[exact]\nkey = ["text", "domain"]\n[near]\nwithin = "domain"\n'
    'keep = "min:dropped_lines"\n[domain_score]\n[mask]\n[tokens]\nby = ["domain_score", "masked", "dropped_lines"]\n',
    "a language": '[language]\n[exact]\nkey = ["text", "language"]\n[near]\nwithin = "language"\n',
}


@pytest.mark.parametrize("told", THERE.values(), ids=THERE)
def test_columns_that_steps_make_can_be_named_behind_them(told: str, tmp_path: Path) -> None:
    source = write(tmp_path, "a.jsonl", lines(ROWS))
    assert curate.run(job(tmp_path, source, told)) == 0
    expected = {(row["text"], row["url"].split("/")[2] if "domain" in told else None) for row in ROWS}
    removed = [row["reason"] for row in table(tmp_path / "out", "removals")]
    assert removed == ["exact"] * (len(ROWS) - len(expected))
    assert len(table(tmp_path / "out", "documents")) == len(expected)


WRONG = {
    "a score of no step": (
        '[tokens]\nby = ["domain_score"]\n',
        "line 4, [tokens] by: no column 'domain_score'",
    ),
    "masks of no step": ('[tokens]\nby = ["masked"]\n', "line 4, [tokens] by: no column 'masked'"),
    "a day that there isn't": (
        '[near]\nwithin = "date"\n',
        "line 4, [near] within: FOLDER/a.jsonl: no column 'date'; it has 'id', 'url', 'text'. Use --date_column=NAME",
    ),
    "titles of no pages": ('[extract]\n[exact]\nkey = ["title"]\n', "line 5, [exact] key: no column 'title'"),
    "a score that comes later": (
        '[exact]\nkey = ["domain_score"]\n[domain_score]\n',
        "line 4, [exact] key: no column 'domain_score'",
    ),
    "lines of no step": (
        '[near]\nkeep = "min:dropped_lines"\n',
        "line 4, [near] keep: no column 'dropped_lines'",
    ),
    "a funnel by no language": (
        '[funnel]\nby = ["language"]\n',
        "line 4, [funnel] by: the documents have no language",
    ),
    "groups by default": (
        "[tokens]\n",
        "line 3, [tokens]: goes by language, and documents have none by then: write by =",
    ),
    "groups by nothing": ("[tokens]\nby = []\n", "line 4, [tokens] by: by needs at least one column"),
    "no such evaluations": (
        '[decontaminate]\nevaluations = ["/no/such"]\n',
        "line 4, [decontaminate] evaluations: the evaluation set /no/such: ",
    ),
    "evaluations of two formats": (
        '[decontaminate]\nevaluations = ["FOLDER/sets"]\n',
        "[decontaminate] evaluations: the evaluation set FOLDER/sets: it has several formats: ",
    ),
    "evaluations of another column": (
        '[decontaminate]\nevaluations = ["FOLDER/b.jsonl"]\n',
        "no column 'text'; it has 'prompt'. Use evaluation_column = prompt",
    ),
    "no such list": ('[urls]\nblocklist = ["@/no/such"]\n', "line 4, [urls] blocklist: /no/such: no list"),
    "no such words": (
        '[words]\nrequired_words = ["@/no/such"]\n',
        "line 4, [words] required_words: /no/such: no list",
    ),
    "no such vocabulary": (
        '[tokens]\nby = ["id"]\ntokenizer = "tiktoken:nosuch"\n',
        "line 5, [tokens] tokenizer: tiktoken",
    ),
    "a flag that is no truth": ('strict = "yes"\n', "line 3, strict: true or false is needed, got 'yes'"),
    "a flag that is no number": (
        'max_nesting = "many"\n',
        "line 3, max_nesting: a whole number is needed, got 'many'",
    ),
    "a flag that is no choice": (
        'output_format = "csv"\n',
        "line 3, output_format: one of parquet, avro, jsonl is needed",
    ),
}


@pytest.mark.parametrize(("told", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_place(
    told: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, "a.jsonl", lines(ROWS))
    write(tmp_path, "b.jsonl", b'{"prompt": "Which?"}')
    (tmp_path / "sets").mkdir()
    for name in ("a.jsonl", "b.txt"):
        write(tmp_path / "sets", name, b"{}")
    assert curate.run(job(tmp_path, source, told.replace("FOLDER", str(tmp_path)))) == 2
    said = capsys.readouterr().err
    assert message.replace("FOLDER", str(tmp_path)) in said
    assert "--format" not in said


def test_an_index_chooses_the_records_of_a_crawl_and_those_passed_over_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [gzip.compress(one) for one in records(30)]
    starts = offsets(records(30), gzip.compress)
    chosen = (3, 5, 40)  # 40 is a request
    entries = [{"filename": "a.warc.gz", "offset": starts[at], "length": len(members[at])} for at in chosen]
    index = write(
        tmp_path, "a.cdxj", "".join(f"com,example)/ 2024 {json.dumps(one)}\n" for one in entries).encode()
    )
    source = write(tmp_path, "a.warc.gz", b"".join(members))
    told = f'cdx = ["{index}"]\n[extract]\nextract = "all"\n[exact]\nkey = ["url", "title"]\n'
    try:
        assert curate.run(job(tmp_path, source, told)) == 0
    finally:
        close_children()
    made = table(tmp_path / "out", "documents")
    assert sorted(row["url"] for row in made) == ["https://example.com/1", "https://example.com/2"]
    assert "records passed over: 1 request" in capsys.readouterr().out
    [report] = (tmp_path / "out/_manifests").glob("*.report.json")
    made_of = json.loads(report.read_text())
    assert made_of["passed_over"] == {"request": 1}
    assert made_of["input_bytes"] == sum(len(members[at]) for at in chosen)
