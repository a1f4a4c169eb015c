"""What a look at one thing found. The checks themselves are in `service/wiring/doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, ParamSpec

from groundlook.core.errors import GroundlookError

P = ParamSpec("P")
State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`says`: what is so. `remedy`: what to do about it, "" where nothing is needed."""

    name: str
    ok: State
    says: str
    remedy: str = ""


def fine(says: str) -> Finding:
    """All is well."""
    return Finding("", "ok", says)


def warn(says: str, remedy: str) -> Finding:
    """It works, and something about it will hurt."""
    return Finding("", "warn", says, remedy)


def fail(says: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding("", "fail", says, remedy)


def skip(says: str) -> Finding:
    """It could not be looked at, and that is not its fault."""
    return Finding("", "skip", says)


def look(name: str, remedy: str, check: Callable[P, Finding], *args: P.args, **kwargs: P.kwargs) -> Finding:
    """Run `check`. Whatever it raises is a failure with `remedy`, never a traceback."""
    try:
        return replace(check(*args, **kwargs), name=name)
    except GroundlookError as error:
        return Finding(name, "fail", _line(error), remedy)
    except Exception as error:
        return Finding(name, "fail", f"the check itself failed: {type(error).__name__}: {_line(error)}", remedy)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
