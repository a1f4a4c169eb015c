"""Said: what predictions and annotations leave behind for the ranking, as a row of numbers for each task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Polygon
from groundlook.core.ports import Embedder, Features
from groundlook.core.types import Annotation, ModelVersion, Prediction, Project

_MOST = 65504.0
"""The largest float16."""


def kind_of(project: Project, arch_kind: str) -> str:
    """Of `core.pool.Pool.kind`: what people label. `arch_kind`: of the serving model, or of the one to come."""
    if project.config.control_type == "Choices":
        served = next((c for c in project.config.controls if c.name == project.config.control), None)
        return "classification-multiple" if served is not None and served.several else "classification"
    return "segmentation" if arch_kind in ("unet", "deeplabv3+") else "detection"


def proba_name(project: Project, version: ModelVersion) -> str:
    """Where class probabilities (C) of whole tasks are kept, a column for each label."""
    return f"proba {version} {_labels(project)}"


def counts_name(project: Project, version: ModelVersion) -> str:
    """Where (1 + C) are kept: how likely nothing is on the task, and how many of each label to expect."""
    return f"counts {version} {_labels(project)}"


def truth_name(project: Project) -> str:
    """Where (1 + C) are kept: vertices that people drew, and how many of each label they marked."""
    return f"truth {_labels(project)}"


def keep_embeddings(
    features: Features, project: int, embedder: Embedder, ids: Sequence[int], rows: NDArray[np.float32]
) -> None:
    """As float16: a million of 512 numbers take a gigabyte. Raises InvalidInput for a number too large."""
    if not (np.abs(rows) <= _MOST).all():
        raise InvalidInput(f"{embedder.name} gives numbers beyond ±65,504 or none at all; choose another embedder")
    features.put(project, embedder.name, np.array(ids, np.int64), rows.astype(np.float16))


def keep_said(features: Features, project: Project, version: ModelVersion, said: Mapping[int, Prediction]) -> None:
    """What a model said of tasks: probabilities where one class holds, else counts. One that has not learned says
    nothing."""
    columns = len(project.config.labels)
    proba: dict[int, NDArray[np.float32]] = {}
    counts: dict[int, NDArray[np.float32]] = {}
    for task, prediction in said.items():
        if not prediction.knows:
            continue
        if prediction.kind == "classification":
            if prediction.proba.shape == (1, columns):
                proba[task] = prediction.proba[0]
        else:
            counts[task] = np.array([_nothing(prediction), *_expected(prediction, project.config.labels)], np.float32)
    for name, rows in ((proba_name(project, version), proba), (counts_name(project, version), counts)):
        if rows:
            features.put(project.id, name, np.array(list(rows), np.int64), np.stack(list(rows.values())))


def carry_said(
    features: Features, project: Project, before: ModelVersion, version: ModelVersion, ids: NDArray[np.int64]
) -> None:
    """Let what `before` said of tasks `ids` stand for `version`."""
    for name in (proba_name, counts_name):
        kept, rows = features.get(project.id, name(project, before))
        of = np.isin(kept, ids)
        if of.any():
            features.put(project.id, name(project, version), kept[of], np.asarray(rows[of]))


def keep_truth(features: Features, project: Project, annotations: Iterable[Annotation]) -> None:
    """What people marked on each task; of several annotations of one the newest counts."""
    place = {label: i for i, label in enumerate(project.config.labels)}
    rows: dict[int, NDArray[np.float32]] = {}
    for annotation in sorted(annotations, key=lambda a: (a.created, a.id)):
        if not annotation.skipped:
            row = rows[annotation.task_id] = np.zeros(1 + len(place), np.float32)
            for region in annotation.regions:
                if region.label in place:
                    row[1 + place[region.label]] += 1
                    row[0] += len(region.shape.points) if isinstance(region.shape, Polygon) else 0
    if rows and place:
        ids = np.array(sorted(rows), np.int64)
        found = np.stack([rows[int(i)] for i in ids])
        old, kept = features.get(project.id, truth_name(project))
        if not (np.array_equal(old, ids) and np.array_equal(kept, found)):
            features.put(project.id, truth_name(project), ids, found)


def _labels(project: Project) -> str:
    return hashlib.sha256("\0".join(project.config.labels).encode()).hexdigest()[:8]


def _nothing(prediction: Prediction) -> float:
    """How likely nothing is on the tile, 0…1. Detections are taken for independent; where there is none of them, and
    of pixels, it is what the strongest response leaves. Where several classes may hold, none of them."""
    if prediction.kind != "segmentation" and len(prediction.proba):
        likeliest = prediction.proba.ravel() if prediction.kind != "detection" else prediction.proba.max(axis=1)
        return float(np.prod(1 - np.clip(likeliest.astype(np.float64), 0, 1)))
    return 1 - float(np.clip(prediction.peak, 0, 1))


def _expected(prediction: Prediction, labels: Sequence[str]) -> NDArray[np.float32]:
    """Of a detector the sum of probabilities (C); of pixels the regions there are."""
    if prediction.kind != "segmentation" and prediction.proba.ndim == 2 and prediction.proba.shape[1] == len(labels):
        return np.asarray(prediction.proba.sum(axis=0), np.float32)
    if prediction.kind != "segmentation" and len(prediction.proba):
        return np.full(len(labels), np.nan, np.float32)
    names = [region.label for region in prediction.regions]
    return np.array([names.count(label) for label in labels], np.float32)
