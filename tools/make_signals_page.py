"""Writes the tables of docs/signals.md: signals and rules, as the code has them.

    python tools/make_signals_page.py [PAGE]

What stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced; the rest is written by people.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from beam_etl.kernels.quality import RULE_SETS, SIGNALS, Rule

PAGE = Path(__file__).parents[1] / "docs/signals.md"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def signals() -> str:
    """A row a signal."""
    rows = ((f"`{name}`", str(kind), unit, text, source) for name, kind, unit, text, source in SIGNALS)
    return table(("signal", "type", "unit", "what it counts", "source"), rows)


def rules() -> str:
    """A row a rule."""
    rows = ((f"`{rule.name}`", removes(rule)) for rules in RULE_SETS.values() for rule in rules)
    return table(("rule", "removes documents with"), rows)


def removes(rule: Rule) -> str:
    """What a rule says of documents that break it."""
    what = f"`{rule.signal}`" if rule.of is None else f"`{rule.signal}` / `{rule.of}`"
    return f"{what} {'below' if rule.bound == 'min' else 'above'} {rule.threshold:,g}"


def page(text: str) -> str:
    """The page with its tables as they are now."""
    for name, made in (("signals", signals()), ("rules", rules())):
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n<!-- /{name} -->)", re.DOTALL)
        text = between.sub(lambda _, made=made: made, text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(page(path.read_text()))
