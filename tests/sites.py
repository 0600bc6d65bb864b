"""Made documents of a few sites, for jobs that run in several places."""

import random
from collections.abc import Callable
from typing import Any

WORDS = (
    "grid",
    "lamp",
    "stone",
    "river",
    "cloud",
    "paper",
    "glass",
    "north",
    "green",
    "seven",
    "quick",
    "maple",
)


def site_documents(
    seed: int, count: int, more: Callable[[int], dict[str, Any]] = lambda number: {}
) -> list[dict[str, Any]]:
    """Documents of which every tenth is there twice.

    Args:
      seed: of words and languages.
      count: without those that are there again.
      more: further columns of a document, by its number.
    """
    choice = random.Random(seed)
    made = [
        {
            "id": f"{seed}-{number}",
            "url": f"https://site{number % 5}.example/{number}",
            "language": choice.choice(("en", "de")),
            "text": " ".join(choice.choices(WORDS, k=80)),
            **more(number),
        }
        for number in range(count)
    ]
    return made + [{**document, "id": f"{document['id']}-again"} for document in made[::10]]
