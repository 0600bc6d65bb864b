"""Commands that are no Beam jobs: one process, and what it tells."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from beam_etl.io.errors import InputError, one_line
from beam_etl.io.manifest import DatasetError
from beam_etl.io.report import Report
from beam_etl.io.stores.urls import mask
from beam_etl.observe.text import format_bytes, format_seconds
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


def tell_check(
    folder: str, check: Callable[[], Report], sound: str, wrong: str, counted: Callable[[Report], str]
) -> int:
    """Checks a folder and prints what was found; the exit code.

    Args:
      folder: of a dataset.
      check: of that folder.
      sound: the verdict where nothing was found.
      wrong: where anything was, whose kinds follow.
      counted: what was looked at, besides bytes and files.
    """
    start = time.monotonic()
    report = check()
    for line in report.lines():
        print(line)
    verdict = sound if report.sound else f"{wrong}: {', '.join(sorted(report.kinds))}"
    print(
        f"{folder}: {verdict}. {format_bytes(report.bytes)} in {report.files:,} files, {counted(report)}, "
        f"{format_seconds(time.monotonic() - start)}"
    )
    return DONE if report.sound else WRONG
