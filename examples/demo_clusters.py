"""Groups of duplicates that `dedup` found, each with what makes it a group: who was kept, who was removed, and why.

python examples/demo_clusters.py demo/documents demo/dedup
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

REMOVED_SHOWN = 2
WIDTH = 96
"""Of a line of a document; what differs is kept in view."""
LEAD = 24
"""Characters shown before the first one that differs."""


@dataclass(frozen=True)
class Group:
    """The documents that were removed for one that was kept: rows of the table removals."""

    survivor: str
    removals: tuple[Mapping[str, Any], ...]

    @property
    def near(self) -> tuple[Mapping[str, Any], ...]:
        """Those whose content isn't the survivor's."""
        return tuple(row for row in self.removals if row["reason"] == "near")

    @property
    def packages(self) -> set[str]:
        """The packages that it spans; a document's id begins with its package."""
        return {name.split("=")[0] for name in (self.survivor, *(row["id"] for row in self.removals))}

    @property
    def sample(self) -> tuple[Mapping[str, Any], ...]:
        """Removals to show: where some differ from the survivor, those first."""
        return (*self.near, *(row for row in self.removals if row["reason"] != "near"))[:REMOVED_SHOWN]


KINDS: tuple[tuple[str, Callable[[Group], bool], int], ...] = (
    ("The largest groups", lambda group: True, 3),
    ("The largest groups of texts that differ", lambda group: len(group.near) == len(group.removals), 2),
    ("The largest groups across packages", lambda group: len(group.packages) > 1, 2),
)
"""What a person would look for: heading, which groups, how many of them."""


def groups(removals: list[dict[str, Any]]) -> list[Group]:
    """One a survivor, the largest first."""
    found = defaultdict(list)
    for row in removals:
        found[row["survivor_id"]].append(row)
    made = (Group(survivor, tuple(rows)) for survivor, rows in found.items())
    return sorted(made, key=lambda group: (-len(group.removals), group.survivor))


def chosen(found: list[Group]) -> dict[str, list[Group]]:
    """The groups to show under each heading, none of them twice."""
    shown: dict[str, list[Group]] = {}
    for heading, wanted, count in KINDS:
        taken = {group.survivor for earlier in shown.values() for group in earlier}
        shown[heading] = [group for group in found if group.survivor not in taken and wanted(group)][:count]
    return shown


def said(text: str) -> list[str]:
    """The lines that hold a letter or a digit."""
    return [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]


def difference(kept: str, removed: str) -> Iterator[str]:
    """The first line that differs, as it is in both, from shortly before the first character that does."""
    for one, other in zip_longest(said(kept), said(removed), fillvalue="(the end)"):
        if one != other:
            same = next(at for at, (a, b) in enumerate(zip_longest(one, other)) if a != b)
            start = max(0, same - LEAD) if same > WIDTH // 2 else 0
            for name, line in (("kept:   ", one), ("removed:", other)):
                yield f"{name} {'…' if start else ''}{line[start : start + WIDTH]}"
            return
    yield "only blanks and punctuation differ"


def likeness(row: Mapping[str, Any]) -> str:
    """How similar a removed document is, or what tells that it is where that wasn't verified."""
    similarity = row["similarity"]
    alike = (
        f"equal in band {row['band']}"
        if similarity is None
        else f"similarity {similarity:.2f} to the one kept"
    )
    return f"{alike}; where they first differ:"


def describe(group: Group, texts: Mapping[str, str]) -> Iterator[str]:
    """The group for people."""
    different = len(group.near)
    equal = len(group.removals) - different
    kinds = [f"{equal:,} the same text"] * bool(equal) + [f"{different:,} a similar text"] * bool(different)
    yield f"  {len(group.removals) + 1:,} documents; removed: {', '.join(kinds)}"
    yield f"    kept     {group.survivor}"
    yield f"               {next(iter(said(texts[group.survivor])), '')[:WIDTH]}"
    for row in group.sample:
        exact = row["reason"] == "exact"
        yield f"    removed  {row['id']}"
        yield f"               {'the same text' if exact else likeness(row)}"
        for line in () if exact else difference(texts[group.survivor], texts[row["id"]]):
            yield f"               {line}"
    if len(group.removals) > len(group.sample):
        yield f"    and {len(group.removals) - len(group.sample):,} more"


def show_groups(documents: str, dataset: str) -> None:
    """Prints the groups that a dataset of `dedup` removed from these documents."""
    columns = ["file", "position", "id", "survivor_id", "reason", "band", "similarity", "bytes"]
    removals = ds.dataset(f"{dataset}/removals", format="parquet").to_table(columns=columns)
    found = groups(removals.sort_by([("file", "ascending"), ("position", "ascending")]).to_pylist())
    size = sum(removals["bytes"].to_pylist())
    print(
        f"\n{removals.num_rows:,} documents ({size / 1e6:.1f} MB) removed; {len(found):,} kept for them. Each is like"
        " some other one of its group, not always like the one kept."
    )
    shown = chosen(found)
    texts = read_texts(documents, [group for several in shown.values() for group in several])
    for heading, several in shown.items():
        print(f"\n{heading}:")
        for group in several:
            print(*describe(group, texts), sep="\n")


def read_texts(documents: str, several: list[Group]) -> dict[str, str]:
    """The texts by id of all that `describe` shows of these groups."""
    ids = {name for group in several for name in (group.survivor, *(row["id"] for row in group.sample))}
    table = ds.dataset(documents).to_table(columns=["id", "text"], filter=pc.field("id").isin(sorted(ids)))
    return dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))


if __name__ == "__main__":
    show_groups(*sys.argv[1:])
