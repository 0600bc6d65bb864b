"""The pipelines by name. Nothing is imported here: listing them takes no Beam."""

from collections.abc import Mapping

PIPELINES: Mapping[str, str] = {
    "token_count": "documents, bytes, characters and tokens of each language, domain, date or source file",
}
"""Module of this package -> what it gives, in a line. Each has `run(argv) -> int`, the exit code."""
