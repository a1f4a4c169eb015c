"""Band expressions, "(b4-b1)/(b4+b1)": arithmetic over bands, read into a tree of allowed parts, never run as code."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

MAX_LENGTH = 200
_MAX_DEPTH = 24
_MAX_CONSTANT = 1e12
_MAX_EXPONENT = 8.0

_TOKEN = re.compile(
    r"(?P<space> +)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|//|[<>=!]=|[-+*/(),<>])",
    re.ASCII,
)
_BAND = re.compile(r"b([1-9][0-9]{0,4})", re.ASCII)
_WORDS = ("and", "or")

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_CALLS: dict[str, tuple[int, Callable[..., Any]]] = {
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "abs": (1, np.abs),
    "sqrt": (1, np.sqrt),
    "log": (1, np.log),
    "log10": (1, np.log10),
    "exp": (1, np.exp),
    "where": (3, np.where),
}


@dataclass(frozen=True)
class Expression:
    """A checked expression. `text`: without spaces, the same for every way to space it. `bands`: those it names,
    ascending, from 1."""

    text: str
    bands: tuple[int, ...]
    _tree: ast.expr

    def evaluate(self, bands: Mapping[int, NDArray[Any]]) -> NDArray[Any]:
        """`bands`: by number, each (H, W). → (H, W), float32 where every band fits in one (up to 16-bit integers and
        float32), else float64. What has no value (0/0, log of −1, overflow) is NaN or infinite."""
        narrow = all(np.can_cast(bands[b].dtype, np.float32) for b in self.bands)
        dtype = np.dtype(np.float32 if narrow else np.float64)
        values = {b: bands[b].astype(dtype, copy=False) for b in self.bands}
        with np.errstate(all="ignore"):
            result: NDArray[Any] = np.asarray(_value(self._tree, values, dtype), dtype=dtype)
        return result


@lru_cache(maxsize=256)
def parse_expression(text: str) -> Expression:
    """Raises InvalidInput that shows the expression, what is wrong and at which column (from 1)."""
    return _parse(text, None)


def check_expression(text: str, count: int) -> Expression:
    """`parse_expression` for a raster of `count` bands; a band beyond them is refused by its name and column."""
    return _parse(text, count)


def _parse(text: str, count: int | None) -> Expression:
    shown = text if len(text) <= MAX_LENGTH else text[:40] + "…"
    if not text.strip():
        raise InvalidInput('the expression is empty; write one of bands, such as "(b4-b1)/(b4+b1)"')
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f'"{shown}" has {len(text)} characters; an expression has at most {MAX_LENGTH}')
    canonical, bands = _tokens(text, count)
    try:
        tree = ast.parse(text.strip(" "), mode="eval").body
        shift = len(text) - len(text.lstrip(" "))
    except SyntaxError as error:
        column = (error.offset or 1) + len(text) - len(text.lstrip(" "))
        raise _wrong(text, f"{error.msg} at column {min(column, len(text))}") from None
    except (ValueError, RecursionError, MemoryError):
        raise _wrong(text, "it can't be read; are there too many parentheses?") from None
    _check(tree, text, shift, 1, condition=False)
    if not bands:
        raise _wrong(text, f"it names no band; {_known(count)}")
    return Expression(canonical, tuple(sorted(bands)), tree)


def _known(count: int | None) -> str:
    if count is None:
        return "bands are b1, b2, …"
    return "the only band is b1" if count == 1 else f"bands are b1 … b{count}"


def _wrong(text: str, what: str) -> InvalidInput:
    return InvalidInput(f'"{text}": {what}')


def _tokens(text: str, count: int | None) -> tuple[str, set[int]]:
    """The text without spaces, and its bands. Python's own reader says less of an unknown name, and warns."""
    parts: list[str] = []
    bands: set[int] = set()
    last, at = "(", 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(text, f"{text[at]!r} at column {at + 1} is not allowed; use + - * / ** and parentheses")
        part = match[0]
        if match.lastgroup != "space":
            if _is_value(part) and (_is_value(last) or last == ")"):
                raise _wrong(text, f"an operator is missing before {part!r} at column {at + 1}")
            band = _name(text, part, at, count) if match.lastgroup == "name" else None
            bands |= {band} if band else set()
            parts.append(f" {part} " if part in _WORDS else part)
            last = part
        at = match.end()
    if not _is_value(last) and last != ")":
        raise _wrong(text, f"nothing follows {last!r} at column {len(text.rstrip(' '))}")
    return "".join(parts), bands


def _is_value(token: str) -> bool:
    return token not in _WORDS and (token[0].isalnum() or token[0] in "._")


def _name(text: str, name: str, at: int, count: int | None) -> int | None:
    band = _BAND.fullmatch(name)
    if band is None:
        if name in _CALLS or name in _WORDS:
            return None
        raise _wrong(text, f"{name!r} at column {at + 1} is not a band; {_known(count)}")
    number = int(band[1])
    if number > 65535 or (count is not None and number > count):
        has = "" if count is None else f"; the raster has {count} band{'s' if count > 1 else ''}"
        raise _wrong(text, f"{name!r} at column {at + 1} is not a band{has}, {_known(count)}")
    return number


def _check(node: ast.expr, text: str, shift: int, depth: int, condition: bool) -> None:
    """Raises InvalidInput unless `node` is of the few kinds that `_value` knows, and a condition where one is due."""
    column = node.col_offset + shift + 1
    if depth > _MAX_DEPTH:
        raise _wrong(text, f"column {column} is nested more than {_MAX_DEPTH} deep; simplify it")
    if isinstance(node, ast.Compare | ast.BoolOp) is not condition:
        what = "a comparison is due here, as in where(b1>0,b1,0)" if condition else "a comparison is no number"
        raise _wrong(text, f"column {column}: {what}; comparisons stand first in where()")
    parts: list[tuple[ast.expr, bool]]
    match node:
        case ast.Name(id=name) if _BAND.fullmatch(name):
            parts = []
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not math.isfinite(value) or abs(value) > _MAX_CONSTANT:
                raise _wrong(text, f"the number at column {column} is over {_MAX_CONSTANT:g}")
            parts = []
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            parts = [(operand, False)]
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            if isinstance(operator, ast.Pow):
                _check_exponent(right, text, shift)
            parts = [(left, False), (right, False)]
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _COMPARE:
            parts = [(left, False), (right, False)]
        case ast.BoolOp(values=values):
            parts = [(value, True) for value in values]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _CALLS:
            if len(args) != _CALLS[name][0]:
                raise _wrong(text, f"{name} at column {column} takes {_CALLS[name][0]} values, not {len(args)}")
            parts = [(arg, name == "where" and i == 0) for i, arg in enumerate(args)]
        case _:
            raise _wrong(text, f"column {column} is neither arithmetic nor one of {', '.join(_CALLS)}")
    for part, due in parts:
        _check(part, text, shift, depth + 1, due)


def _check_exponent(node: ast.expr, text: str, shift: int) -> None:
    value = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
    number = value.value if isinstance(value, ast.Constant) else None
    if not isinstance(number, int | float) or abs(number) > _MAX_EXPONENT:
        column = node.col_offset + shift + 1
        raise _wrong(text, f"the exponent at column {column} must be a number from -{_MAX_EXPONENT:g} to 8")


def _value(node: ast.expr, bands: Mapping[int, NDArray[Any]], dtype: np.dtype[Any]) -> Any:
    def of(part: ast.expr) -> Any:
        return _value(part, bands, dtype)

    match node:
        case ast.Name(id=name):
            return bands[int(name[1:])]
        case ast.Constant(value=value):
            return dtype.type(value)
        case ast.UnaryOp(op=operator, operand=operand):
            return np.negative(of(operand)) if isinstance(operator, ast.USub) else of(operand)
        case ast.BinOp(left=left, op=operator, right=right):
            return _BINARY[type(operator)](of(left), of(right))
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _COMPARE[type(operator)](of(left), of(right))
        case ast.BoolOp(op=operator, values=values):
            join = np.logical_and if isinstance(operator, ast.And) else np.logical_or
            return join.reduce([of(value) for value in values])
        case ast.Call(func=ast.Name(id=name), args=args):
            return _CALLS[name][1](*[of(arg) for arg in args])
    raise InvalidInput(f"{ast.dump(node)[:80]} is no part of an expression")
