"""Classes of whole tiles against what people chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import WholeTile
from groundlook.core.tally import ClassTally
from groundlook.core.types import Prediction, Region

_HOLDS = 0.5


class Classes:
    """Where one class holds, the likeliest counts as said; where several may, each of .5 or more. A tile for which
    nobody chose a class is not counted where one must hold. `columns`: the labels of the predictions' `proba`, in
    order; without them its regions alone say what a model answers."""

    def __init__(self, labels: Sequence[str], columns: Sequence[str] | None = None) -> None:
        self._labels, self._columns = tuple(labels), None if columns is None else tuple(columns)
        self._place = {label: i for i, label in enumerate(labels)}
        self._said: list[NDArray[np.bool_]] = []
        self._true: list[NDArray[np.bool_]] = []
        self._counted: list[bool] = []
        self._rows: list[tuple[NDArray[np.float64], int]] = []

    def add(self, prediction: Prediction, truth: Sequence[Region], size: tuple[int, int]) -> None:
        """One tile."""
        several = prediction.kind == "classification-multiple"
        true = self._chosen(truth)
        self._counted.append(several or bool(true.any()))
        if not self._counted[-1]:
            return
        self._true.append(true)
        self._keep(prediction, true, several)
        self._said.append(self._answer(prediction, several))

    def answers(self) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        """The probabilities (K, C) of tiles of which one class of the model holds, and that class (K,); None for models
        that say none."""
        if not self._rows:
            return None
        return np.stack([row for row, _ in self._rows]), np.array([place for _, place in self._rows], np.int64)

    def tally(self) -> ClassTally:
        """What was said and what is true of every tile, also of those that are not counted."""
        said, true = (np.zeros((len(self._counted), len(self._labels)), bool) for _ in range(2))
        counted = np.flatnonzero(self._counted)
        said[counted], true[counted] = self._flat(self._said), self._flat(self._true)
        return ClassTally(said, true)

    def _flat(self, rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
        return np.array(rows, dtype=bool).reshape(len(rows), len(self._labels))

    def _keep(self, prediction: Prediction, true: NDArray[np.bool_], several: bool) -> None:
        columns = self._columns or ()
        chosen = [columns.index(self._labels[i]) for i in np.flatnonzero(true) if self._labels[i] in columns]
        if not several and len(chosen) == 1 and prediction.proba.shape == (1, len(columns)):
            self._rows.append((prediction.proba[0].astype(np.float64), chosen[0]))

    def _answer(self, prediction: Prediction, several: bool) -> NDArray[np.bool_]:
        proba = prediction.proba
        if self._columns is None or not self._columns or proba.shape != (1, len(self._columns)):
            return self._chosen(prediction.regions)
        held = np.flatnonzero(proba[0] >= _HOLDS).tolist() if several else [int(proba[0].argmax())]
        return self._flags(self._columns[i] for i in held)

    def _chosen(self, regions: Sequence[Region]) -> NDArray[np.bool_]:
        return self._flags(region.label for region in regions if isinstance(region.shape, WholeTile))

    def _flags(self, names: Iterable[str]) -> NDArray[np.bool_]:
        flags = np.zeros(len(self._labels), dtype=bool)
        flags[[self._place[name] for name in names if name in self._place]] = True
        return flags

    def result(self) -> dict[str, float]:
        """`accuracy`: the share of tiles of which exactly what people chose was said; `f1/<label>` of every label that
        people chose; `macro_f1`, their mean, also as `quality`; `images`, `objects`: the choices."""
        said, true = self._flat(self._said), self._flat(self._true)
        hits, wanted, found = (said & true).sum(axis=0), true.sum(axis=0), said.sum(axis=0)
        f1 = 2 * hits / np.maximum(wanted + found, 1)
        occurs = np.flatnonzero(wanted)
        macro = float(f1[occurs].mean()) if len(occurs) else 0.0
        return {
            "quality": macro,
            "macro_f1": macro,
            "accuracy": float((said == true).all(axis=1).mean()) if len(true) else 0.0,
            **{f"f1/{self._labels[i]}": float(f1[i]) for i in occurs},
            "images": float(len(true)),
            "objects": float(true.sum()),
        }
