"""A removed page is read again as the job read it: its id and URL from the columns that the job was told."""

from pathlib import Path
from typing import Any

import pytest

from beam_etl.io.document_texts import Place, read_page
from tests.archives import response
from tests.stored import write

PAGE = response(
    "https://a.example/1", b"<p>Hello", WARC_Payload_Digest="sha1:ABC", WARC_IP_Address="192.0.2.7"
)

NAMED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an id": ({"id_column": "digest"}, {"id": "sha1:ABC", "url": "https://a.example/1"}),
    "a url": ({"id_column": "ip", "url_column": "digest"}, {"id": "192.0.2.7", "url": "sha1:ABC"}),
}


@pytest.mark.parametrize(("config", "told"), NAMED.values(), ids=NAMED)
def test_a_page_is_found_by_the_columns_of_its_job(
    config: dict[str, Any], told: dict[str, Any], tmp_path: Path
) -> None:
    path = write(tmp_path, "a.warc", PAGE)
    found = read_page(Place(str(path), 0, told["id"]), config)
    assert found is not None
    [row] = found.to_pylist()
    assert {name: row[name] for name in told} == told
    assert row["payload"] == b"<p>Hello"
