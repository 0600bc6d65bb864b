"""The best and worst domains that `domain_score` found, each with what makes it so.

python examples/demo_domains.py demo/documents demo/domain_score
"""

import sys
from collections.abc import Mapping
from typing import Any

import pyarrow.dataset as ds

SHOWN = 3
"""Domains at either end, and rules of each."""


def show_domains(documents: str, dataset: str) -> None:
    """Prints domains from both ends of the ranking."""
    del documents
    rows = ds.dataset(f"{dataset}/domains", format="parquet").to_table().sort_by("rank").to_pylist()
    for heading, some in (("The best", rows[:SHOWN]), ("The worst", rows[max(SHOWN, len(rows) - SHOWN) :])):
        print(f"\n{heading} of {len(rows):,} domains:")
        for row in some:
            show_domain(row)


def show_domain(row: Mapping[str, Any]) -> None:
    """One domain: score, what passes, and what fails most often, with an example."""
    parts = [name.removesuffix("_bound") for name in row if name.endswith("_bound")]
    passed = ", ".join(f"{part} {row[f'{part}_rate']:.0%}" for part in parts)
    print(f"  {row['rank']}. {row['domain']}: score {row['score']:.3f}, {row['documents']:,} documents")
    print(f"       pass: {passed}")
    failed = ", ".join(f"{one['rule']} {one['documents']:,}" for one in row["failures"][:SHOWN])
    print(f"       fail most: {failed or 'nothing'}")
    if row["examples"]:
        print(f"       such as {row['examples'][0]['id']}")


if __name__ == "__main__":
    show_domains(*sys.argv[1:3])
