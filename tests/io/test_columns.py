"""From stored columns to the shared ones."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_etl import schema
from beam_etl.io.columns import ALL, Columns, resolve
from beam_etl.io.errors import InputError
from tests.stored import read

DAY = datetime.date(2026, 2, 3)

READABLE: dict[str, tuple[str, pa.Array, list[Any]]] = {
    "text": ("text", pa.array(["a", ""]), ["a", ""]),
    "text, large": ("text", pa.array(["a", ""], pa.large_string()), ["a", ""]),
    "text, view": (
        "text",
        pa.array(["a", "long enough for its own buffer"], pa.string_view()),
        ["a", "long enough for its own buffer"],
    ),
    "text, bytes": ("text", pa.array(["ż".encode(), b""]), ["ż", ""]),
    "text, dictionary": ("text", pa.array(["a", "a"]).dictionary_encode(), ["a", "a"]),
    "id, numbers": ("id", pa.array([12345678901234567890, 7], pa.uint64()), ["12345678901234567890", "7"]),
    "id, nulls": ("id", pa.array(["a", None]), ["a", "{path}#1"]),
    "url, never there": ("url", pa.nulls(2), [None, None]),
    "language": ("language", pa.array(["de", None]), ["de", None]),
    "date": ("date", pa.array([DAY, None]), [DAY, None]),
    "date, text": ("date", pa.array(["2026-02-03T23:00:00-05:00", ""]), [DAY + datetime.timedelta(1), None]),
    "date, dictionary": ("date", pa.array(["2026-02-03", "2026-02-03"]).dictionary_encode(), [DAY, DAY]),
}


def test_a_number_tells_the_time_in_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"at": pa.array([1_770_073_200, None], pa.int64())}), path)
    [batch] = read(path, Columns(needed=("time",), time="at", time_unit="s")).batches
    assert batch.column("time").cast(pa.int64()).to_pylist() == [1_770_073_200 * 10**6, None]


@pytest.mark.parametrize(("column", "values", "expected"), READABLE.values(), ids=READABLE)
def test_a_column_is_read_in_its_type(
    column: str, values: pa.Array, expected: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"other": [1, 2], column: values}), path)
    [batch] = read(path, Columns(needed=(column,))).batches
    assert batch.schema.field(column).type == schema.DOCUMENT.field(column).type
    assert batch.column(column).to_pylist() == [
        str(v).replace("{path}", str(path)) if isinstance(v, str) else v for v in expected
    ]


def test_shared_columns_come_in_their_order_then_the_carried_ones(tmp_path: Path) -> None:
    table = pa.table(
        {"z": [1], "content": ["c"], "lang": ["en"], "text": ["t"], "address": ["Main St"], "id": [5]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    [batch] = read(
        tmp_path / "a.parquet", Columns(needed=("text", "id", "language"), text="content", carry=ALL)
    ).batches
    assert batch.to_pylist() == [
        {
            "address": 0,
            "id": "5",
            "language": "en",
            "text": "c",
            "z": 1,
            "stored_text": "t",
            "stored_address": "Main St",
        }
    ]


def test_only_the_columns_that_are_named_are_carried(tmp_path: Path) -> None:
    pq.write_table(pa.table({"lang": ["en"], "text": ["t"], "b": [1], "a": [2]}), tmp_path / "a.parquet")
    [batch] = read(tmp_path / "a.parquet", Columns(needed=("text", "language"), carry=("a", "lang"))).batches
    assert batch.to_pylist() == [{"address": 0, "language": "en", "text": "t", "a": 2, "lang": "en"}]


def test_a_domain_is_derived_from_the_url_where_there_is_none(tmp_path: Path) -> None:
    urls = ["https://www.example.co.uk/a", None]
    pq.write_table(pa.table({"link": urls}), tmp_path / "derived.parquet")
    pq.write_table(pa.table({"link": urls, "domain": ["told", "so"]}), tmp_path / "told.parquet")
    wanted = Columns(needed=("domain",), url="link")
    assert read(tmp_path / "derived.parquet", wanted).column("domain") == ["example.co.uk", None]
    assert read(tmp_path / "told.parquet", wanted).column("domain") == ["told", "so"]


def test_a_date_that_cannot_be_read_is_a_reject(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"date": ["2026-02-03", "soon", None], "text": ["a", "b", "c"]}), tmp_path / "a.parquet"
    )
    found = read(tmp_path / "a.parquet", Columns(needed=("text", "date")))
    assert found.column("text") == ["a", "c"]
    assert [(reject.position, reject.reason) for reject in found.rejects] == [
        (1, "column 'date': no date in 'soon'")
    ]


STRING, INT, LIST = pa.string(), pa.int64(), pa.list_(pa.string())

ERRORS: dict[str, tuple[dict[str, pa.DataType], Columns, str]] = {
    "likely name": (
        {"content": STRING, "url": STRING},
        Columns(),
        "a.parquet: no column 'text'; it has 'content', 'url'. Use --text_column=content.",
    ),
    "likely name, but of a type that can't be": (
        {"content": LIST, "Body": STRING, "url": STRING},
        Columns(),
        "a.parquet: no column 'text'; it has 'content', 'Body', 'url'. Use --text_column=Body.",
    ),
    "misspelt": (
        {"tetx": STRING, "n": INT, "url": STRING},
        Columns(),
        "a.parquet: no column 'text'; it has 'tetx', 'n', 'url'. Use --text_column=tetx.",
    ),
    "misspelt by the user": (
        {"article_body": STRING, "url": STRING},
        Columns(text="artcle_body"),
        "a.parquet: no column 'artcle_body'; it has 'article_body', 'url'. Use --text_column=article_body.",
    ),
    "nothing like it": (
        {"a": STRING, "b": STRING},
        Columns(needed=("date",)),
        "a.parquet: no column 'date'; it has 'a', 'b'. Use --date_column=NAME.",
    ),
    "no columns": ({}, Columns(), "a.parquet: no column 'text'; it has none. Use --text_column=NAME."),
    "many columns": (
        {f"c{n}": INT for n in range(30)},
        Columns(),
        "a.parquet: no column 'text'; it has "
        + ", ".join(f"'c{n}'" for n in range(20))
        + " and 10 more. Use --text_column=NAME.",
    ),
    "wrong type": (
        {"text": LIST},
        Columns(),
        (
            "a.parquet: column 'text' is list<item: string>; text is read from text. "
            "Use --text_column=NAME for another column."
        ),
    ),
    "time of a number": (
        {"time": INT},
        Columns(needed=("time",)),
        ("a.parquet: column 'time' is int64. Say by --time_unit what it counts since 1970: s, ms, us or ns"),
    ),
    "domain": (
        {"text": STRING, "uri": STRING},
        Columns(needed=("domain",)),
        (
            "a.parquet: no column 'url'; it has 'text', 'uri'. Use --url_column=uri. "
            "(a domain is read, or derived from the url)"
        ),
    ),
    "carried": ({"text": STRING}, Columns(carry=("label",)), "a.parquet: no column 'label'; it has 'text'"),
}


@pytest.mark.parametrize(("stored", "columns", "message"), ERRORS.values(), ids=ERRORS)
def test_the_error_says_what_there_is_and_what_to_do(
    stored: dict[str, pa.DataType], columns: Columns, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        resolve(columns, pa.schema(list(stored.items())), "a.parquet")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "arguments",
    [{"needed": ("text", "text")}, {"needed": ("address",)}, {"needed": ("tokens",)}, {"carry": "some"}],
    ids=str,
)
def test_columns_are_checked_when_they_are_made(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needed has distinct names|carry is a tuple"):
        Columns(**arguments)


def test_carried_columns_are_alike_in_all_files(tmp_path: Path) -> None:
    common = pa.schema([("text", STRING), ("n", pa.int64()), ("x", pa.float64())])
    narrow = pa.table({"x": pa.array([1.5], pa.float32()), "n": pa.array([7], pa.int8()), "text": ["a"]})
    pq.write_table(narrow, tmp_path / "narrow.parquet")
    pq.write_table(pa.table({"text": ["b"], "n": [8]}), tmp_path / "fewer.parquet")
    pq.write_table(pa.table({"text": ["c"], "n": ["9"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"text": ["d"], "y": [1]}), tmp_path / "more.parquet")
    found = {path.stem: read(path, Columns(carry=ALL), stored=common) for path in tmp_path.iterdir()}
    assert found["narrow"].rows == [{"address": 0, "text": "a", "n": 7, "x": 1.5}]
    assert found["fewer"].rows == [{"address": 0, "text": "b", "n": 8, "x": None}]
    assert found["narrow"].batches[0].schema == found["fewer"].batches[0].schema.with_metadata(
        found["narrow"].batches[0].schema.metadata
    )
    assert [reject.reason for reject in found["other"].rejects] == [
        "column 'n' is string, in other files it is int64"
    ]
    assert [reject.reason for reject in found["more"].rejects] == [
        "column 'y' is in none of the files that were looked at before the job"
    ]
    assert found["other"].rejects[0].bytes == (tmp_path / "other.parquet").stat().st_size


def test_columns_are_alike_where_a_file_lacks_one_that_is_made(tmp_path: Path) -> None:
    """An id is made of path and position there, and not carried besides."""
    common = pa.schema([("id", pa.string()), ("text", pa.string()), ("more", pa.int64())])
    asked = Columns(needed=("id", "text"), optional=("url",), carry=ALL)
    whole, lacking = (resolve(asked, stored, "a", common) for stored in (common, pa.schema(list(common)[1:])))
    for reading in (whole, lacking):
        assert [carried.column for carried in reading.carried] == ["more"]
    assert [source.stored for source in lacking.sources] == [None, None, "text"]
