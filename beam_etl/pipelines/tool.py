"""Commands that are no Beam jobs: one process, and what it tells."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from beam_etl.io.errors import InputError, one_line
from beam_etl.io.manifest import DatasetError
from beam_etl.io.stores.urls import mask
from beam_etl.pipelines import flags

DONE, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: the last ones are a command line or a folder that can't be worked with, and Ctrl-C."""

Config = TypeVar("Config")


def run_tool(
    name: str, summary: str, config: type[Config], argv: Sequence[str] | None, work: Callable[[Config], int]
) -> int:
    """Parses the flags and works; the exit code.

    Args:
      name: of the command.
      summary: for its help.
      config: its flags. The first of them may stand first without its name.
      argv: None for those of the process.
      work: from the flags to the exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and not arguments[0].startswith("-"):
        arguments[0] = f"--{next(iter(config.__annotations__))}={arguments[0]}"
    try:
        parsed, rest = flags.parse(config, arguments, f"beam-etl {name}", summary)
        if rest:
            raise flags.UsageError(f"unknown argument {rest[0]}. --help lists the flags.")
        return work(parsed)
    except (flags.UsageError, InputError, DatasetError) as error:
        print(f"{name}: {mask(str(error))}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
