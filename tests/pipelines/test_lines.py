"""What stays of real documents is what DuckDB leaves of them; the same rows however the input is stored."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl.pipelines.lines import run
from tests.tables import ask

Row = dict[str, Any]
TABLES = ("documents", "edits", "removals")

WITHOUT_REPEATED = """
WITH pieces AS (
  SELECT id, domain, unnest(string_split(text, chr(10))) AS piece,
    generate_subscripts(string_split(text, chr(10)), 1) AS place FROM documents
), said AS (SELECT *, trim(piece, concat(' ', chr(9), chr(11), chr(12), chr(13))) AS said FROM pieces),
counts AS (SELECT said, {scope} AS scope, count({what}) AS n FROM said WHERE length(said) >= {min_length} GROUP BY ALL)
SELECT id, string_agg(piece, chr(10) ORDER BY place) AS text
FROM said LEFT JOIN counts ON said.said = counts.said AND {scope} IS NOT DISTINCT FROM counts.scope
WHERE n IS NULL OR n <= {more_than} GROUP BY id
"""


def table(output: Path, name: str) -> list[Row]:
    return pq.read_table(output / name).to_pylist() if (output / name).is_dir() else []


@pytest.fixture(scope="module")
def rows(webtext: list[Row]) -> list[Row]:
    some = [{name: row[name] for name in ("id", "domain", "lang", "text")} for row in webtext[::9]]
    for number, row in enumerate(some):
        row["domain"] = ("hot.org", None, row["domain"])[number % 3]
        row["text"] += "\nShare this page\r\n" if number % 2 else f"\n\nfoot of {row['domain']}"
    return [*some, {**some[0], "id": "all repeats", "text": "Share this page\n \nShare this page"}]


def write(folder: Path, rows: list[Row], files: int) -> Path:
    folder.mkdir()
    for number in range(files):
        part = rows[number * len(rows) // files : (number + 1) * len(rows) // files]
        if files == 1:
            pq.write_table(pa.Table.from_pylist(part), folder / "all.parquet", row_group_size=20)
        else:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part)
            (folder / f"{number:03d}.jsonl").write_text(lines)
    return folder


def cut(source: Path, output: Path, *flags: str) -> dict[str, list[Row]]:
    assert run([f"--input={source}", f"--output={output}", *flags]) == 0
    return {name: table(output, name) for name in TABLES}


ASKED = [
    pytest.param("''", "*", 2, 4, ["--more_than=2", "--min_length=4"], id="corpus"),
    pytest.param("domain", "DISTINCT id", 3, 1, ["--scope=domain", "--more_than=3"], id="domain"),
]


@pytest.mark.parametrize(("scope", "what", "more_than", "min_length", "flags"), ASKED)
def test_what_stays_is_what_duckdb_leaves(
    scope: str, what: str, more_than: int, min_length: int, flags: list[str], rows: list[Row], tmp_path: Path
) -> None:
    query = WITHOUT_REPEATED.format(scope=scope, what=what, more_than=more_than, min_length=min_length)
    left = {row["id"]: row["text"] for row in ask(query, documents=pa.Table.from_pylist(rows))}
    before = {row["id"]: row for row in rows}
    done = cut(write(tmp_path / "in", rows, 1), tmp_path / "out", "--match=exact", "--keep=none", *flags)
    kept = {row["id"]: row for row in done["documents"]}
    assert {id: row["text"] for id, row in kept.items()} == {
        id: text for id, text in left.items() if text.strip()
    }
    assert all(row == {**before[id], "text": row["text"]} for id, row in kept.items())
    [removal] = done["removals"]
    assert (removal["id"], removal["reason"]) == ("all repeats", "repeated_lines")
    assert removal["position"] == len(rows) - 1
    changed = {id for id, row in kept.items() if row["text"] != before[id]["text"]}
    assert {row["id"] for row in done["edits"]} == changed
    assert len(changed) > 50


def test_the_first_stays_whatever_the_sharding(rows: list[Row], tmp_path: Path) -> None:
    told = {}
    for files in (1, 3):
        done = cut(write(tmp_path / f"in{files}", rows, files), tmp_path / f"out{files}")
        for row in (*done["edits"], *done["removals"]):
            del row["file"], row["position"]
        told[files] = {name: sorted(found, key=str) for name, found in done.items()}
    assert told[1] == told[3]
    shared = [row["id"] for row in told[1]["documents"] if "Share this page" in row["text"]]
    assert shared == [next(row["id"] for row in rows if "Share this page" in row["text"])]


def test_a_line_stays_where_the_first_document_that_has_it_cannot_be_read(tmp_path: Path) -> None:
    """Its text can: what is damaged is a column that is only copied."""
    source = tmp_path / "in/all.parquet"
    source.parent.mkdir()
    texts = [f"Same line\nand {chr(97 + number)}" for number in range(20)]
    columns = {
        "id": list(map(str, range(20))),
        "text": texts,
        "other": [f"{number}" * 50 for number in range(20)],
    }
    pq.write_table(pa.table(columns), source, row_group_size=10, use_dictionary=False)
    other = pq.read_metadata(source).row_group(0).column(2)
    with source.open("r+b") as file:
        file.seek(other.data_page_offset)
        file.write(b"\xff" * other.total_compressed_size)
    done = cut(source.parent, tmp_path / "out", "--max_reject_fraction=1")
    assert [row["text"] for row in done["documents"]] == [
        texts[10],
        *(f"and {chr(97 + number)}" for number in range(11, 20)),
    ]


def test_more_lines_than_a_process_may_hold_are_told(
    rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", rows[:30], 1)
    assert run([f"--input={source}", f"--output={tmp_path}/out", "--lines_memory=16"]) == 1
    told = capsys.readouterr().err
    assert "distinct lines occur more than 1 times; each process would hold" in told
    assert not (tmp_path / "out/documents").exists()


def test_records_of_an_archive_that_is_read_twice_are_told_once(tmp_path: Path) -> None:
    heads = [
        f"Type: {kind}\r\nWARC-Record-ID: <urn:{kind}>" for kind in ("warcinfo", "conversion", "metadata")
    ]
    made = [f"WARC/1.0\r\nWARC-{head}\r\nContent-Length: 4\r\n\r\nMenu\r\n\r\n" for head in heads]
    source = tmp_path / "a.wet"
    source.write_text("".join(made), newline="")
    assert len(cut(source, tmp_path / "out")["documents"]) == 1
    [report] = (tmp_path / "out/_manifests").glob("*.report.json")
    assert json.loads(report.read_text())["passed_over"] == {"metadata": 1, "warcinfo": 1}
