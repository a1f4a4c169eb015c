"""Attributes of features, gathered row by row, as typed columns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RESERVED = frozenset({"fid", "geom", "geometry", "ogc_fid"})
"""Names that GeoPackage and GDAL give to columns of their own."""

_EMPTY_AS: dict[str, type] = {"score": float, "lead_time": float, "task_id": int, "annotation_id": int}
"""What a column without any value is, so that an export without scores has the same schema as one with."""


class Columns:
    """Rows of any keys → one array per key. A row that lacks a key holds null there."""

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = {}
        self._rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; keys never seen before become columns, null in the rows before. NaN and infinity are null:
        JSON has no word for them."""
        for key, value in {_named(k): v for k, v in row.items()}.items():
            column = self._values.setdefault(key, [])
            column.extend([None] * (self._rows - len(column)))
            column.append(None if isinstance(value, float) and not math.isfinite(value) else value)
        self._rows += 1

    def extend(self, other: Columns) -> None:
        """Append all rows of `other`."""
        rows = self._rows + other._rows
        for key, values in other._values.items():
            column = self._values.setdefault(key, [])
            column.extend([None] * (self._rows - len(column)))
            column.extend(values)
        self._rows = rows

    def arrays(self) -> tuple[list[str], list[NDArray[Any]], list[NDArray[np.bool_]]]:
        """Names, values and null masks (True = null), in the order in which the keys came. Whole numbers are int64,
        numbers float64, all else text; lists and objects are JSON."""
        names, values, nulls = list(self._values), [], []
        for name, column in self._values.items():
            column.extend([None] * (self._rows - len(column)))
            nulls.append(np.array([v is None for v in column], dtype=bool))
            values.append(_typed(column, _EMPTY_AS.get(name, str)))
        return names, values, nulls


def _named(key: str) -> str:
    return f"{key}_" if key.lower() in _RESERVED else key


def _typed(column: list[Any], empty: type) -> NDArray[Any]:
    kinds = {type(v) for v in column if v is not None} or {empty}
    if kinds == {int} and all(abs(v) < 2**63 for v in column if v is not None):
        return np.array([0 if v is None else v for v in column], dtype=np.int64)
    if kinds <= {int, float}:
        return np.array([0.0 if v is None else float(v) for v in column], dtype=np.float64)
    return np.array([None if v is None else _text(v) for v in column], dtype=object)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
