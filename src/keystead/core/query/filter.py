"""The parser of filters: wildcards, comparisons, ranges, negations and alternatives; and of cross-field queries.

    filter      = alternative *( "|" alternative )
    alternative = *"!" ( "null" / comparison value / value ".." value / pattern )
    comparison  = "<" / "<=" / ">" / ">="
    pattern     = *( value / "*" )
    value       = 1*( character / DQUOTE *any DQUOTE / "{" *any "}" )

Between braces any text is allowed if its own braces match. ``!``, ``<`` and ``>`` are operators only at the start of an
alternative. An empty filter matches the empty text. The parser makes one pass without backtracking, so its time is
linear. Source: "Getting started with the ONTAP REST API", "Record filtering".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.where import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keystead.core.query.where import Pieces

_COMPARISONS = {"<": Op.LESS, "<=": Op.AT_MOST, ">": Op.MORE, ">=": Op.AT_LEAST}
_NULL = "null"

COMPARISON_LIMIT = 400
"""The greatest number of comparisons per record in one request.

Each alternative of each filter counts once. Each pattern of each word counts once for each field searched. The limit is
needed because a database nests conditions at most 1,000 deep.
"""

WORD_LIMIT = 20
"""The greatest number of words in a query: each word may need other tables, and a database must join them."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to match. ``operand`` is text as written, a pair of texts (RANGE), Pieces (LIKE) or None (UNSET)."""

    op: Op
    operand: str | tuple[str, str] | Pieces | None = None
    negated: bool = False


def parse_filter(name: str, text: str) -> tuple[Alternative, ...]:
    """Parse the filter of a field into alternatives. A value must match one of them.

    Raises 262194 for a missing value, and 262185 for any other fault, each with the position (from 1) in the text. Too
    many alternatives are 262185, too.
    """
    if not text:
        return (Alternative(Op.EQUAL, ""),)
    tokens = list(_tokens(name, text))
    parts = _split(tokens, _Kind.OR, len(text))
    check_comparisons(name, len(parts))
    return tuple(_alternative(name, part) for part in parts)


def parse_words(text: str) -> tuple[tuple[Pieces, ...], ...]:
    """Parse a cross-field query into words that must all be found. Each word is a choice of patterns.

    A pattern without wildcards matches anywhere in a value; any other pattern must match the whole value. Raises 262272
    for an unmatched quote, 262274 for an empty query, 262185 for too many words or comparisons.
    """
    words: list[list[list[str]]] = [[[""]]]
    position = 0
    while position < len(text):
        character = text[position]
        if character in '"{':
            end = _closing(text, position)
            if end is None:
                raise OntapError(errors.QUERY_QUOTE, target="query")
            words[-1][-1][-1] += text[position + 1 : end]
            position = end
        elif character == " ":
            words.append([[""]])
        elif character == "|":
            words[-1].append([""])
        elif character == "*":
            words[-1][-1].append("")
        else:
            words[-1][-1][-1] += character
        position += 1
    asked = [tuple(map(_as_pieces, filter(any, word))) for word in words if not any(map(_is_only_wildcards, word))]
    kept = tuple(word for word in asked if word)
    if not kept:
        raise OntapError(errors.QUERY_EMPTY, target="query")
    if len(kept) > WORD_LIMIT:
        raise OntapError(errors.INVALID_VALUE, target="query", field="query", reason=f"more than {WORD_LIMIT} words")
    check_comparisons("query", sum(map(len, kept)))
    return kept


def check_comparisons(parameter: str, count: int) -> None:
    """Raise 262185 if each record would be compared too often. ``parameter`` is the one to blame."""
    if count > COMPARISON_LIMIT:
        reason = f"more than {COMPARISON_LIMIT} comparisons in all"
        raise OntapError(errors.INVALID_VALUE, target=parameter, field=parameter, reason=reason)


def _is_only_wildcards(pieces: list[str]) -> bool:
    return len(pieces) > 1 and not any(pieces)


def _as_pieces(pieces: list[str]) -> Pieces:
    return ("", pieces[0], "") if len(pieces) == 1 else tuple(pieces)


class _Kind(Enum):
    TEXT = "text"
    NOT = "!"
    COMPARE = "<>"
    STAR = "*"
    RANGE = ".."
    OR = "|"


class _Token(NamedTuple):
    kind: _Kind
    position: int
    text: str = ""
    quoted: bool = False


def _tokens(name: str, text: str) -> Iterator[_Token]:
    position, start = 0, True  # start: an operator is allowed here
    while position < len(text):
        token, end = _token(name, text, position, start=start)
        start = token.kind in {_Kind.OR, _Kind.NOT}
        yield token
        position = end


def _token(name: str, text: str, position: int, *, start: bool) -> tuple[_Token, int]:
    """Return the token at a position, and the position after it."""
    character = text[position]
    if character in '"{':
        end = _closing(text, position)
        if end is None:
            raise _wrong(name, position, f"unmatched {character}")
        return _Token(_Kind.TEXT, position, text[position + 1 : end], quoted=True), end + 1
    if character == "}":
        raise _wrong(name, position, "unmatched }")
    if start and character == "!":
        return _Token(_Kind.NOT, position), position + 1
    if start and character in "<>":
        end = position + (2 if text.startswith("=", position + 1) else 1)
        return _Token(_Kind.COMPARE, position, text[position:end]), end
    if character == "*":
        return _Token(_Kind.STAR, position), position + 1
    if character == "|":
        return _Token(_Kind.OR, position), position + 1
    if text.startswith("..", position):
        return _Token(_Kind.RANGE, position), position + 2
    end = position + 1
    while end < len(text) and text[end] not in '"{}*|' and not text.startswith("..", end):
        end += 1
    return _Token(_Kind.TEXT, position, text[position:end]), end


def _closing(text: str, position: int) -> int | None:
    """Return the position of the quote or brace that closes the one at ``position``, or None."""
    if text[position] == '"':
        end = text.find('"', position + 1)
        return None if end < 0 else end
    depth = 0
    for end in range(position, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if not depth:
            return end
    return None


def _split(tokens: Sequence[_Token], kind: _Kind, end: int) -> list[tuple[list[_Token], int]]:
    """Split at the tokens of a kind; return each part with the position of its end."""
    parts: list[tuple[list[_Token], int]] = []
    part: list[_Token] = []
    for token in tokens:
        if token.kind is kind:
            parts.append((part, token.position))
            part = []
        else:
            part.append(token)
    return [*parts, (part, end)]


def _alternative(name: str, part: tuple[list[_Token], int]) -> Alternative:
    tokens, end = part
    values = [token for token in tokens if token.kind is not _Kind.NOT]
    negated = bool((len(tokens) - len(values)) % 2)
    compare = values.pop(0) if values and values[0].kind is _Kind.COMPARE else None
    sides = _split(values, _Kind.RANGE, end)
    for side, position in sides:
        if not side:
            raise OntapError(errors.EXPRESSION_WITHOUT_VALUE, target=name, field=name, position=position + 1)
    if len(sides) == 1 and compare is None:
        return _pattern(values, negated=negated)
    for token in values:
        if token.kind is _Kind.STAR:
            raise _wrong(name, token.position, "a wildcard cannot be compared")
    if len(sides) == 1 and compare is not None:
        return Alternative(_COMPARISONS[compare.text], _joined(values), negated)
    if compare is not None or len(sides) > 2:
        raise _wrong(name, sides[-1][0][0].position - 2, "a range has two ends and no other operator")
    return Alternative(Op.RANGE, (_joined(sides[0][0]), _joined(sides[1][0])), negated)


def _pattern(tokens: list[_Token], *, negated: bool) -> Alternative:
    if [(token.text, token.quoted) for token in tokens] == [(_NULL, False)]:
        return Alternative(Op.UNSET, None, negated)
    pieces = tuple(_joined(piece) for piece, _ in _split(tokens, _Kind.STAR, 0))
    return Alternative(Op.EQUAL, pieces[0], negated) if len(pieces) == 1 else Alternative(Op.LIKE, pieces, negated)


def _joined(tokens: Sequence[_Token]) -> str:
    return "".join(token.text for token in tokens)


def _wrong(name: str, position: int, reason: str) -> OntapError:
    return OntapError(errors.INVALID_VALUE, target=name, field=name, reason=f"{reason} at position {position + 1}")
