"""docs/signals.md says what the code does."""

import runpy
from pathlib import Path

import pytest

from tests.test_readme import printed_by_example

REPOSITORY = Path(__file__).parents[1]


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    page = (REPOSITORY / "docs/signals.md").read_text()
    made = runpy.run_path(str(REPOSITORY / "tools/make_signals_page.py"))["page"](page)
    assert made == page, "run tools/make_signals_page.py"
    assert "| `duplicate_10gram_characters` | int64 |" in page
    assert "| `fineweb.max_new_lines` | `new_lines` / `tokens` above 0.3 |" in page


@pytest.mark.slow
def test_the_example_keeps_what_is_no_list_and_says_why_the_other_went() -> None:
    printed = printed_by_example((REPOSITORY / "docs/signals.md").read_text()).splitlines()
    why, kept = sorted(printed)
    assert kept == "kept a"
    assert why.startswith(
        "b ['fineweb.min_punctuated_lines: 0 < 0.12', 'fineweb.max_short_lines: 1 > 0.67', "
    )
