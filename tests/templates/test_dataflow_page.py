"""The tables of docs/dataflow.md are made of what the tests do, and of the assumptions there are.

`BEAM_ETL_WRITE_DOCS=1 pytest tests/templates/test_dataflow_page.py` writes them anew.
"""

import os
import re
from dataclasses import asdict

import pytest

from beam_etl.observe.cost import Assumptions
from tests.templates import test_dataflow_jobs, test_launch, test_submission
from tests.templates.image import REPOSITORY
from tests.templates.parameters import REQUIRED

PAGE = REPOSITORY / "docs" / "dataflow.md"
METADATA = REPOSITORY / "templates" / "metadata"


def assumptions() -> str:
    """A row for each of them."""
    rows = []
    for name, value in asdict(Assumptions()).items():
        shown = (
            ", ".join(f"{job} {rate:g}" for job, rate in value.items()) if isinstance(value, dict) else value
        )
        rows.append(f"| `{name}` | {shown} |")
    return "\n".join(["| | |", "|---|---|", *rows])


def tried() -> str:
    """A row for each template."""
    submitted = {command.split(maxsplit=1)[0] for command in test_submission.BATCH}
    submitted |= {
        f"{name}_pubsub"
        for name, flags in test_dataflow_jobs.STREAMS.items()
        if test_dataflow_jobs.MESSAGES in flags
    }
    rows = []
    for name in sorted(path.stem for path in METADATA.glob("*.json")):
        columns = ("yes", name in REQUIRED, name in submitted, name in test_launch.BATCH)
        cells = " | ".join(cell if isinstance(cell, str) else ("yes" if cell else "no") for cell in columns)
        rows.append(f"| `{name}` | {cells} |")
    head = ["| template | metadata | launched | submitted | executed |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


TABLES = {"assumptions": assumptions, "tried": tried}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_has_the_table(name: str) -> None:
    page, table = PAGE.read_text(encoding="utf-8"), TABLES[name]()
    marked = f"<!-- {name} -->\n\n{table}\n"
    if os.environ.get("BEAM_ETL_WRITE_DOCS") == "1":
        page = re.sub(rf"<!-- {name} -->\n(\n\|[^\n]*(\n\|[^\n]*)*\n)?", lambda _: marked, page)
        PAGE.write_text(page, encoding="utf-8")
    assert marked in page
