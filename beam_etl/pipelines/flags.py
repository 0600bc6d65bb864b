"""Command-line flags from a frozen Config: one place for names, types, help, units and defaults."""

import argparse
import dataclasses
import os
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar, Union

from beam_etl.io.stores.urls import UrlError, check_urls, refuse_credentials
from beam_etl.observe.text import format_bytes

Config = TypeVar("Config")

FILE, FOLDER = "file", "folder"

_SIZES = {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def flag(
    help: str,
    *,
    default: Any = dataclasses.MISSING,
    choices: Sequence[str] = (),
    unit: str = "",
    bare: str | None = None,
    name: str | None = None,
) -> Any:
    """A field of a Config that a user can set as `--name=value`.

    Args:
      help: what it does, a phrase without its default.
      default: without one the flag is required.
      choices: the values there are, where they are few.
      unit: "bytes" takes 64MiB or 1GB as well, FOLDER makes a local path absolute; otherwise shown in the help.
      bare: the value of `--name` alone, where that may be written.
      name: what users write, where it isn't the field's name.
    """
    metadata = {"help": help, "choices": tuple(choices), "unit": unit, "bare": bare, "name": name}
    return dataclasses.field(default=default, metadata=metadata)


class UsageError(ValueError):
    """A command line that can't be run. The message says what to write instead."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser(config: type, prog: str, description: str) -> argparse.ArgumentParser:
    """A parser whose flags are the fields of `config`, a dataclass made with `flag`."""
    made = _Parser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every flag is --name=value with one value: lists are comma-separated, booleans true or false. "
        "Flags of Beam and of the runner may follow.",
    )
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if not field.init:
            continue
        required = field.default is dataclasses.MISSING
        made.add_argument(
            f"--{field.metadata['name'] or field.name}",
            dest=field.name,
            required=required,
            default=argparse.SUPPRESS,
            type=_converter(hints[field.name], field.metadata["unit"]),
            choices=field.metadata["choices"] or None,
            metavar=_metavar(hints[field.name], field.metadata),
            **({"nargs": "?", "const": field.metadata["bare"]} if field.metadata["bare"] else {}),
            help=_help(field, required),
        )
    return made


def parse(
    config: Callable[..., Config], argv: Sequence[str], prog: str, description: str
) -> tuple[Config, list[str]]:
    """The Config that a command line gives, and the flags that are left for Beam.

    Raises:
      UsageError: a flag is missing or has a wrong value, or the Config refuses the combination.
      SystemExit: --help was asked for.
    """
    _refuse_credentials(argv)
    known, rest = parser(config, prog, description).parse_known_args(list(argv))  # type: ignore[arg-type]
    try:
        for argument in argv:
            check_urls(argument)
        return config(**vars(known)), rest
    except ValueError as error:
        raise UsageError(str(error)) from error


def folders_of(config: Any) -> list[str]:
    """The folders that a Config names."""
    given = [
        getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.metadata.get("unit") == FOLDER
    ]
    return [folder for value in given if value for folder in ((value,) if isinstance(value, str) else value)]


def _refuse_credentials(argv: Sequence[str]) -> None:
    """Before anything else: no message about something else quotes a secret."""
    for argument in argv:
        value = argument.partition("=")[2] if argument.startswith("--") else argument
        try:
            for item in value.split(","):
                refuse_credentials(item.strip())
        except UrlError as error:
            raise UsageError(str(error)) from None


def _help(field: dataclasses.Field[Any], required: bool) -> str:
    text = str(field.metadata["help"]).replace("%", "%%")
    if required:
        return f"{text} (required)"
    default: Any = field.default
    if default is None or default in ("", ()):
        return text
    if isinstance(default, bool):
        shown = str(default).lower()
    elif isinstance(default, tuple):
        shown = ",".join(map(str, default))
    elif field.metadata["unit"] == "bytes":
        shown = format_bytes(default)
    else:
        shown = f"{default} {field.metadata['unit']}".strip()
    return f"{text} (default: {shown})"


def _metavar(hint: Any, metadata: Any) -> str:
    if metadata["choices"]:
        return "|".join(metadata["choices"])
    kind = plain_type(hint)
    if kind is bool:
        return "true|false"
    many = typing.get_origin(kind) is tuple
    return str(metadata["unit"] or ("LIST" if many else "VALUE")).upper() + (
        ",..." if many and metadata["unit"] else ""
    )


def plain_type(hint: Any) -> Any:
    """A type without its None."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


def convert(text: str, hint: Any, unit: str) -> Any:
    """What the text of a flag with this type and unit says.

    Raises:
      ValueError: nothing.
    """
    try:
        return _converter(hint, unit)(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(str(error)) from None


def _converter(hint: Any, unit: str) -> Callable[[str], Any]:
    kind = plain_type(hint)
    if unit == "bytes":
        return _bytes
    if kind is bool:
        return _boolean
    if typing.get_origin(kind) is tuple:
        return _folders if unit == FOLDER else _items
    if unit == FOLDER:
        return _folder
    return typing.cast(Callable[[str], Any], kind)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _folder(text: str) -> str:
    """Absolute, since a worker may run in another folder."""
    return text.rstrip("/") if "://" in text else os.path.abspath(os.path.expanduser(text))


def _folders(text: str) -> tuple[str, ...]:
    return tuple(map(_folder, _items(text)))


def _bytes(text: str) -> int:
    upper = text.upper().strip()
    unit = next((name for name in _SIZES if upper.endswith(name)), "")
    try:
        return int(float(upper.removesuffix(unit)) * _SIZES.get(unit, 1))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write bytes, or 64MiB, or 1GB") from None
