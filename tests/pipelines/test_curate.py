"""Curate gives what its steps' own pipelines give one after the other, and its file is checked before anything runs."""

import html
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_etl.io.formats import FileEntry
from beam_etl.io.read import ReadDocuments
from beam_etl.pipelines import curate, decontaminate, dedup, domain_score, extract, lines, show, token_count
from beam_etl.pipelines.curate_config import Config
from beam_etl.transforms.children import close_children
from tests.archives import response
from tests.faults import EQUAL, FaultReport
from tests.faults import NOTHING as NO_DATASET
from tests.resuming import (
    ALL,
    IN_LAST_READ,
    LINES,
    SPLIT_FILE,
    Order,
    check_said,
    check_same,
    kill,
    resumed,
    taken,
)
from tests.stored import write

STEPS = """
[extract]
[urls]
blocklist = ["gnome-user-docs.bookworm.debdocs.example"]
[words]
forbidden_words = ["copyright notice"]
[language]
languages = ["en", "de"]
min_language_score = 0.65
[quality]
rules = ["gopher_quality", "gopher_repetition"]
thresholds = ["gopher_repetition.max_top_2gram:none", "gopher_quality.min_letter_tokens:0.6"]
[decontaminate]
evaluations = ["EVALUATIONS"]
[lines]
more_than = 2
min_length = 12
[exact]
keep = "first"
[near]
bands = 14
band_rows = 8
keep = "longest"
[domain_score]
rules = ["fineweb"]
min_domain_score = 0.09
[mask]
[tokens]
by = ["language"]
[funnel]
by = ["language", "domain"]
"""

EVALUATIONS = "questions.jsonl"

SPLIT_BYTES = 450_000
"""A fifth of the crawl."""

TOKENIZER = b"{}"

RULES = "--rules=gopher_quality,gopher_repetition"


def table(output: Path, name: str) -> list[dict[str, Any]]:
    folder = output / name
    rows: list[dict[str, Any]] = pq.read_table(folder).to_pylist() if folder.is_dir() else []
    return rows


@pytest.fixture(scope="module")
def crawl(webtext: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WARC of pages: real texts, some again as they are, some with other words, some with addresses."""
    chosen = [row for row in webtext if 400 < len(row["text"]) < 20_000][:420]
    texts = [(row["url"], row["text"]) for row in chosen]
    for place, (url, text) in enumerate(texts[:400:4]):
        kinds = [text, f"{text} and so on", f"Write to joe{place}@mail.example. {text}"]
        texts.append((f"{url}?copy={place}", kinds[place % 3]))
    pages = [
        response(url, text.encode(), kind="text/plain")
        if place % 2
        else response(url, "".join(f"<p>{html.escape(line)}</p>" for line in text.splitlines()).encode())
        for place, (url, text) in enumerate(texts)
    ]
    folder = tmp_path_factory.mktemp("crawl")
    questions = [{"text": " ".join(row["text"].split()[-30:])} for row in chosen]
    write(folder, EVALUATIONS, "\n".join(map(json.dumps, questions[::9])).encode())
    return write(folder, "a.warc", b"".join(pages))


def job(folder: Path, crawl: Path, steps: str = STEPS) -> list[str]:
    steps = steps.replace("EVALUATIONS", str(crawl.parent / EVALUATIONS))
    file = write(folder, "corpus.toml", f'input = ["{crawl}"]\noutput = "{folder}/out"\n{steps}'.encode())
    return [f"--config={file}"]


@pytest.fixture(scope="module")
def curated(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curated")
    try:
        assert curate.run(job(folder, crawl)) == 0
    finally:
        close_children()
    return folder / "out"


class Chain:
    """The single pipelines, each on what the one before has left."""

    def __init__(self, folder: Path, crawl: Path) -> None:
        self.removed: dict[str, Path] = {}
        self.left: dict[str, Path] = {}
        self._folder, self._last = folder, crawl
        blocked = "--blocklist=gnome-user-docs.bookworm.debdocs.example"
        languages = ["--languages=en,de", "--min_language_score=0.65", "--forbidden_words=copyright notice"]
        self._run("extract", extract.run, blocked, *languages)
        close_children()
        thresholds = "--thresholds=gopher_repetition.max_top_2gram:none,gopher_quality.min_letter_tokens:0.6"
        self._run("quality", domain_score.run, RULES, thresholds, "--filter=true")
        self._run("decontaminate", decontaminate.run, f"--evaluations={crawl.parent / EVALUATIONS}")
        self._run("lines", lines.run, "--more_than=2", "--min_length=12")
        self._run("exact", dedup.run, "--method=exact")
        self._run("near", dedup.run, "--bands=14", "--band_rows=8", "--keep=longest")
        self._run("domain_score", domain_score.run, "--rules=fineweb", "--min_domain_score=0.09")
        self._run("mask", extract.run, "--detect_language=false", "--mask=true")
        self._run("tokens", token_count.run, "--documents=true")

    def _run(self, step: str, run: Any, *flags: str) -> None:
        output = self._folder / step
        assert run([f"--input={self._last}", f"--output={output}", *flags]) == 0
        self.left[step] = output
        self._last = output


@pytest.fixture(scope="module")
def chain(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(tmp_path_factory.mktemp("chain"), crawl)


def by_id(rows: list[dict[str, Any]], *without: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: {name: value for name, value in row.items() if name not in without} for row in rows}


def test_documents_are_those_of_the_single_pipelines_one_after_the_other(curated: Path, chain: Chain) -> None:
    made, expected = table(curated, "documents"), table(chain.left["tokens"], "documents")
    assert len(made) > 20
    # The chain scores domains twice, and calls `lang` otherwise where it groups by it.
    of_chain = [{**row, "lang": row["language"]} for row in expected]
    assert by_id(made) == by_id(of_chain, "language", "stored_domain_score")


def test_each_removal_is_told_once_with_its_step_and_values(curated: Path, chain: Chain) -> None:
    names = ("id", "reason", "failed", "reasons", "survivor_id", "bytes", "cluster_size")
    steps = {
        "pages": "extract",
        "urls": "extract",
        "empty": "extract",
        "words": "extract",
        "language": "extract",
    }
    expected = []
    for step, output in chain.left.items():
        expected += [
            {"pipeline": step, **{name: row.get(name) or None for name in names}}
            for row in table(output, "removals")
        ]
    removals = table(curated, "removals")
    made = [
        {"pipeline": steps.get(row["step"], row["step"]), **{name: row[name] or None for name in names}}
        for row in removals
    ]
    key = json.dumps
    assert sorted(map(key, made)) == sorted(map(key, expected))
    assert {row["step"] for row in removals} >= {
        "urls",
        "language",
        "quality",
        "decontaminate",
        "exact",
        "near",
        "domain_score",
    }


def test_scores_and_counts_are_those_of_the_single_pipelines(curated: Path, chain: Chain) -> None:
    def sorted_rows(output: Path, name: str) -> list[str]:
        rows = table(output, name)
        for row in rows:  # of the chain's own files
            row.pop("file", None)
            row.pop("position", None)
        return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)

    steps = {
        "matches": "decontaminate",
        "edits": "lines",
        **dict.fromkeys(("domains", "score_parts"), "domain_score"),
        "counts": "tokens",
    }
    for name, step in steps.items():
        assert table(curated, name), name
        assert sorted_rows(curated, name) == sorted_rows(chain.left[step], name), name


def test_the_funnel_tells_what_each_step_left(curated: Path, chain: Chain) -> None:
    funnel = table(curated, "funnel")
    left = {row["step"]: 0 for row in funnel}
    for row in funnel:
        left[row["step"]] += row["documents"]
    for step, output in chain.left.items():
        rows = table(output, "documents")
        assert left["language" if step == "extract" else step] == len(rows)
        size = sum(len(row["text"].encode()) for row in rows)
        name = "language" if step == "extract" else step
        told = [row for row in funnel if row["step"] == name and row["documents"]]
        assert sum(row["bytes"] for row in told) == size
        assert {row["language"] for row in told} == {row.get("lang") or row["language"] for row in rows}
    [totals] = table(chain.left["tokens"], "totals")
    assert sum(row["tokens"] for row in funnel if row["step"] == "tokens") == totals["tokens"]


WRONG = {
    "no TOML": ("[near\n", "no TOML"),
    "an unknown step": ("[neer]\n", "line 3, [neer]: there is no such step; there are [extract], [urls]"),
    "an unknown key": (
        "[near]\n\nband = 14\n",
        "line 5, [near] band: [near] has no such key; it has ngram, bands",
    ),
    "a key of no step": ("steps = 4\n", "line 3, steps: no such key. Above the steps there may be"),
    "a text for a number": (
        '[near]\nbands = "14"\n',
        "line 4, [near] bands: a whole number is needed, got '14'",
    ),
    "a truth for a number": ("[near]\nbands = true\n", "line 4, [near] bands: a whole number is needed"),
    "a text for a list": ('[quality]\nrules = "c4"\n', "line 4, [quality] rules: a list of texts is needed"),
    "no such choice": ('[near]\noversized = "cut"\n', "line 4, [near] oversized: one of keep, split, fail"),
    "a value out of range": ("[language]\nmin_language_score = 2\n", "line 4, [language] min_language_score"),
    "no such rules": ('[quality]\nrules = ["gofer"]\n', "line 3, [quality]: no rule set 'gofer'"),
    "no such language": (
        '[language]\nlanguages = ["EN"]\n',
        "line 4, [language] languages: no language 'EN'; did you mean en?",
    ),
    "no such group": ('[funnel]\nby = ["url"]\n', "line 4, [funnel] by: a list out of domain, language"),
    "a column that isn't there": ('[exact]\nkey = ["title"]\n', "line 4, [exact] key: no column 'title'"),
    "no url": ('[urls]\nblocklist = ["a.example"]\n', "line 3, [urls]: needs a column 'url'"),
    "a key that is needed": (
        "[decontaminate]\n",
        "line 3, [decontaminate]: [decontaminate] needs evaluations",
    ),
    "no domain": ("[domain_score]\n", "line 3, [domain_score]: needs a column 'domain'"),
    "no domain of lines": ('[lines]\nscope = "domain"\n', "line 3, [lines]: needs a column 'domain'"),
    "no such unit": ('[lines]\nunit = "word"\n', "line 4, [lines] unit: one of line, paragraph"),
    "lines that occur": ("[lines]\nmore_than = 0\n", "line 4, [lines] more_than: more_than is from 1 to"),
    "no language": ('[tokens]\nby = ["language"]\n', "line 4, [tokens] by: no column 'language'"),
}


@pytest.mark.parametrize(("steps", "told"), WRONG.values(), ids=WRONG)
def test_the_file_is_checked_before_anything_runs(
    steps: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, "a.jsonl", b'{"id": "a", "text": "Some words."}\n')
    assert curate.run(job(tmp_path, source, steps)) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pages_ask_for_a_step_that_makes_text_of_them(
    crawl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate.run(job(tmp_path, crawl, "[exact]\n")) == 2
    assert "the input has pages, of which a text is to be made: write [extract]" in capsys.readouterr().err


def test_flags_of_the_command_line_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, "a.jsonl", b'{"id": "a", "text": "Some words."}\n')
    given = job(tmp_path, source, "[tokens]\nby = ['id']\n")
    assert curate.run([*given, f"--output={tmp_path}/other"]) == 0
    assert [row["token_count"] for row in table(tmp_path / "other", "documents")] == [2]
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr().out
    assert "tokens" in said
    assert "100.0%" in said


def test_lines_go_before_documents_are_judged_again(tmp_path: Path) -> None:
    told = [
        {"id": "a", "text": "Home\nThis is a whole sentence, and it ends.\nAbout"},
        {"id": "b", "text": "Home\nAbout\nContact"},
        {"id": "c", "text": "These are words[1] without any mark\nand here are more of them"},
    ]
    source = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, told)).encode())
    steps = '[c4_lines]\n[quality_again]\nrules = ["fineweb"]\n'
    assert curate.run(job(tmp_path, source, steps)) == 0
    [left] = table(tmp_path / "out", "documents")
    assert (left["text"], left["dropped_lines"]) == ("This is a whole sentence, and it ends.", 2)
    removed = {(row["id"], row["step"]): row["reasons"] for row in table(tmp_path / "out", "removals")}
    assert removed["b", "c4_lines"] == ["c4_lines: no line stays"]
    assert "fineweb.min_punctuated_lines: 0 < 0.12" in removed["c", "quality_again"]
    funnel = {row["step"]: (row["documents"], row["tokens"]) for row in table(tmp_path / "out", "funnel")}
    assert funnel == {"read": (3, 26), "c4_lines": (2, 20), "quality_again": (1, 8)}


def test_a_file_of_many_splits_is_dealt_out_and_decided_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker has every other split of it; decisions find their documents all the same."""
    size = 400
    monkeypatch.setitem(ReadDocuments.__init__.__kwdefaults__, "split_bytes", size)
    told = [{"id": f"{n:03}", "text": f"This is text number {n % 60}."} for n in range(90)]
    content = "\n".join(map(json.dumps, told)).encode()
    assert len(content) > 10 * size
    given = job(tmp_path, write(tmp_path, "a.jsonl", content), "[exact]\n")
    assert curate.run([*given, "--direct_num_workers=2"]) == 0
    assert sorted(row["id"] for row in table(tmp_path / "out", "documents")) == [f"{n:03}" for n in range(60)]
    removed = {row["id"]: row["survivor_id"] for row in table(tmp_path / "out", "removals")}
    assert removed == {f"{n:03}": f"{n - 60:03}" for n in range(60, 90)}


def test_each_shuffle_is_planned_by_the_bytes_that_it_expects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Documents too, where they are shuffled to the scores of their domains."""
    rows = [{"id": str(n), "text": "Some words. " * 90, "domain": f"{n}.example"} for n in range(50)]
    source = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    steps = '[lines]\n[exact]\n[domain_score]\njoin = "shuffle"\n'
    assert curate.run([*job(tmp_path, source, steps), "--plan=text"]) == 0
    shuffles = [line for line in capsys.readouterr().out.splitlines() if " SHUFFLE by " in line]
    assert len(shuffles) == 9
    assert not [line for line in shuffles if ": about " not in line]


def test_a_step_that_leaves_nothing_is_in_the_funnel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, "a.jsonl", b'{"id": "a", "text": "Some words.", "language": "en"}\n')
    steps = '[words]\nforbidden_words = ["some"]\n[exact]\n[mask]\n[funnel]\nby = ["language"]\n'
    assert curate.run(job(tmp_path, source, steps)) == 0
    funnel = {(row["step"], row["language"]): row["documents"] for row in table(tmp_path / "out", "funnel")}
    left = {step: sum(count for (name, _), count in funnel.items() if name == step) for step, _ in funnel}
    assert left == {"read": 1, **dict.fromkeys(("words", "exact", "mask"), 0)}
    assert "mask                    0    0.0%                  0                0" in capsys.readouterr().out


def test_lines_alone_are_those_of_their_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [
        {"id": f"{n}", "url": f"https://{'ab'[n % 2]}.example/{n}", "text": f"Menu\nText {n}\nFoot {n % 2}"}
        for n in range(8)
    ]
    told.append({"id": "8", "url": "https://a.example/8", "text": "Menu\nFoot 0"})
    source = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, told)).encode())
    steps = '[lines]\nmatch = "exact"\nscope = "domain"\nmore_than = 3\nkeep = "none"\n[funnel]\nby = ["domain"]\n'
    assert curate.run(job(tmp_path, source, steps)) == 0
    flags = ["--match=exact", "--scope=domain", "--more_than=3", "--keep=none"]
    assert lines.run([f"--input={source}", f"--output={tmp_path}/lines", *flags]) == 0
    for name in ("documents", "edits", "removals"):
        made, expected = (table(tmp_path / output, name) for output in ("out", "lines"))
        assert [row.pop("step", "lines") for row in made] == ["lines"] * len(expected)
        assert sorted(map(str, made)) == sorted(map(str, expected)), name
    assert [row["reason"] for row in table(tmp_path / "out", "removals")] == ["repeated_lines"]
    capsys.readouterr()
    assert show.run([str(tmp_path / "out"), "--removed=true", "--reason=lines"]) == 0
    assert "repeated_lines: all there was, 2 lines" in capsys.readouterr().out
    funnel = {(row["step"], row["domain"]): row["documents"] for row in table(tmp_path / "out", "funnel")}
    assert funnel == {
        ("read", "a.example"): 5,
        ("read", "b.example"): 4,
        ("lines", "a.example"): 4,
        ("lines", "b.example"): 4,
        ("lines", None): 0,
        ("read", None): 0,
    }
    assert not (tmp_path / "out/_staging").exists()


CHANGES = ("nothing", "a list", "a vocabulary", "a package", "a step", "an input")


@pytest.mark.parametrize("changed", CHANGES)
def test_what_decides_about_documents_decides_what_can_be_taken_over(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents, not times and paths: copies may have the same, and names in stores have none of a file."""
    words, vocabulary = write(tmp_path, "words.txt", b"some"), write(tmp_path, "small.json", TOKENIZER)
    steps = f'[words]\nforbidden_words = ["@{words}"]\n[exact]\n[tokens]\ntokenizer = "hf:{vocabulary}"\n'

    def folder(steps: str = steps, modified: int = 5) -> str:
        write(tmp_path, "steps.toml", steps.encode())
        config = Config(
            input=("in.jsonl",), output=f"{tmp_path}/out", config=f"{tmp_path}/steps.toml", resume=True
        )
        files = [FileEntry(0, "in.jsonl", 9, modified)]
        return config.spill_folder(SimpleNamespace(files=files, read=SimpleNamespace(split_bytes=1)))  # type: ignore[arg-type]

    before = folder()
    if changed == "a list":
        words.write_bytes(b"word")
    elif changed == "a vocabulary":
        vocabulary.write_bytes(TOKENIZER + b" ")
    elif changed == "a package":
        monkeypatch.setattr("beam_etl.pipelines.resume_config.version", lambda name: "0.0")
    for path in (words, vocabulary):
        os.utime(path, (5, 5))
    after = folder(steps + "[mask]\n" if changed == "a step" else steps, 6 if changed == "an input" else 5)
    assert (before == after) == (changed == "nothing")


KILLS_OF_PAGES = {
    "while text of pages is extracted": (
        ("beam_etl.transforms.extract", "_Extract._outputs", "", 2, False),
        ("2 splits of the input",),
    ),
    "in the first read": ((*SPLIT_FILE, 2, True), ("3 splits of the input",)),
    "while near-duplicates are put together": (
        ("beam_etl.transforms.components", "_InOneProcess._fill", "", 0, True),
        (ALL, LINES),
    ),
    "while domains are scored": (
        ("beam_etl.transforms.domain_score", "CountDomains.finish", "", 0, False),
        (ALL, LINES),
    ),
    "in the last read": ((*IN_LAST_READ, 0, False), (ALL, LINES)),
}


@pytest.fixture
def splits_of_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ReadDocuments.__init__.__kwdefaults__, "split_bytes", SPLIT_BYTES)


@pytest.mark.long
@pytest.mark.usefixtures("splits_of_pages")
@pytest.mark.parametrize(
    ("when", "where", "told"),
    [pytest.param(name, *kill, id=name) for name, kill in KILLS_OF_PAGES.items()],
)
def test_a_killed_run_over_pages_goes_on_and_ends_as_an_undisturbed_one(
    when: str,
    where: Sequence[Any],
    told: tuple[str, ...],
    crawl: Path,
    curated: Path,
    faults: FaultReport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    order = Order("curate", [*job(tmp_path, crawl), "--direct_num_workers=1"], where)
    kill(order)
    try:
        said = resumed(order, f"{tmp_path}/out", capsys)
    finally:
        close_children()
    check_said(said, told)
    check_same(f"{tmp_path}/out", f"{curated}", *("matches", "domains", "counts", "totals", "clusters"))
    faults.resume("curate: all steps, of pages", when, NO_DATASET, taken(told), EQUAL)
