"""Conditions as users write them."""

import re
from collections.abc import Iterator

from beam_etl.kernels.where import (
    Both,
    Comparison,
    Condition,
    Either,
    IsNull,
    Membership,
    Negation,
    WhereError,
)

_OPERATORS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_WORDS = ("and", "or", "not", "in", "is", "null")
_TOKEN = re.compile(
    r"""\s*(?:(?P<operator><=|>=|!=|<>|==|=|<|>)|(?P<mark>[(),])|(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*")"""
    r"""|(?P<bare>[^\s()=<>!,'"]+))"""
)


def parse_where(text: str) -> Condition:
    """A condition as users write it: `date >= 2026-01-01 and (domain = 'a.example' or words in (1, 2))`.

    Names and values stand bare or in quotes; a quote inside is doubled. `and`, `or`, `not`, `in`, `is` and `null` are
    words of the language, in any case; as a name or value they stand in quotes.

    Raises:
      WhereError: it isn't one. The message shows what was left.
    """
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split(text))
        self._at = 0

    @staticmethod
    def _split(text: str) -> Iterator[tuple[str, str, int]]:
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise WhereError(f"--where: can't read {text[at:].strip()!r}")
            kind, token = str(found.lastgroup), found[str(found.lastgroup)]
            if kind == "quoted":
                token = token[1:-1].replace(token[0] * 2, token[0])
            elif kind == "bare" and token.lower() in _WORDS:
                kind, token = "word", token.lower()
            yield kind, token, at
            at = found.end()

    def parse(self) -> Condition:
        condition = self._either()
        if self._at < len(self._tokens):
            raise self._unexpected("and, or, or the end")
        return condition

    def _either(self) -> Condition:
        condition = self._both()
        while self._take("word", "or"):
            condition = Either(condition, self._both())
        return condition

    def _both(self) -> Condition:
        condition = self._single()
        while self._take("word", "and"):
            condition = Both(condition, self._single())
        return condition

    def _single(self) -> Condition:
        if self._take("word", "not"):
            return Negation(self._single())
        if self._take("mark", "("):
            condition = self._either()
            self._need("mark", ")")
            return condition
        return self._predicate(self._name("the name of a column"))

    def _predicate(self, column: str) -> Condition:
        if self._take("word", "is"):
            negated = self._take("word", "not")
            self._need("word", "null")
            return Negation(IsNull(column)) if negated else IsNull(column)
        if self._take("word", "not"):
            self._need("word", "in")
            return Negation(self._membership(column))
        if self._take("word", "in"):
            return self._membership(column)
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "operator":
            self._at += 1
            operator = _OPERATORS[self._tokens[self._at - 1][1]]
            return Comparison(column, operator, self._name("a value; use `is null` for null"))
        raise self._unexpected("=, !=, <, <=, >, >=, in or is")

    def _membership(self, column: str) -> Condition:
        self._need("mark", "(")
        values = [self._name("a value")]
        while self._take("mark", ","):
            values.append(self._name("a value"))
        self._need("mark", ")")
        return Membership(column, tuple(values))

    def _name(self, wanted: str) -> str:
        if self._at < len(self._tokens) and self._tokens[self._at][0] in ("bare", "quoted"):
            self._at += 1
            return self._tokens[self._at - 1][1]
        raise self._unexpected(wanted)

    def _take(self, kind: str, token: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at][:2] == (kind, token)
        self._at += found
        return found

    def _need(self, kind: str, token: str) -> None:
        if not self._take(kind, token):
            raise self._unexpected(f"`{token}`")

    def _unexpected(self, wanted: str) -> WhereError:
        if self._at == len(self._tokens):
            return WhereError(f"--where={self._text}: it ends where {wanted} is expected")
        return WhereError(
            f"--where: {wanted} is expected at {self._text[self._tokens[self._at][2] :].strip()!r}"
        )
