"""Pool: what is known of the open tasks, put together out of what is kept. Nothing is computed of pixels here: a new
tile costs one embedding when it is first looked at, a new model its predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Round
from groundlook.core.types import ModelVersion, Project
from groundlook.loop.known import SPLITS, UNREAD, ScoreRows, TaskRows, listed, scores_of, still_holds
from groundlook.loop.lead import effort_of, seconds_of
from groundlook.loop.parts import Loop
from groundlook.loop.said import counts_name, kind_of, proba_name, truth_name

TRAIN, VAL, MARGIN = range(len(SPLITS))


@dataclass(frozen=True, slots=True)
class Open:
    """The open tasks that the model has looked at. `pool`: those for training; `bare`: ids (int64) of those for
    training whose features are not there, because somebody chose another embedder or deleted them; `held_out`,
    `margin`: of the others; `unreadable`: of those whose picture can't be read."""

    pool: Pool
    held_out: NDArray[np.int64]
    margin: NDArray[np.int64]
    unreadable: NDArray[np.int64]
    bare: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pool) + sum(len(ids) for ids in (self.held_out, self.margin, self.unreadable, self.bare))


def task_rows(loop: Loop, project: Project, fresh: bool = False) -> TaskRows:
    """The tasks of a project as arrays; listed again where `fresh`, or where they have changed by more than what people
    answered. Raises LabelStudioError."""
    served = loop.store.served(project.id)
    loop.known.served[project.id] = served
    kept = loop.known.rows.get(project.id)
    if kept is not None and not fresh:
        state = loop.labels.state(project)
        readable = state.annotations - int(loop.store.value(project.id, UNREAD))
        found = still_holds(kept, served, state.tasks, readable)
        if found is not None:
            return found
    rows = listed(loop.labels.tasks(project), served, loop.to_lonlat)
    loop.known.rows[project.id] = rows
    return rows


def open_tasks(loop: Loop, project: Project, version: ModelVersion, rows: TaskRows) -> Open:
    """What a ranking by `version` works on."""
    scores = scores_of(loop.known, loop.store, project.id, version, rows)
    kept, vectors = loop.features.get(project.id, loop.embedder.name)
    where = positions(kept, rows.ids)
    whole = scores.seen & ~rows.labelled & ~scores.unreadable
    train = whole & (rows.split == TRAIN)
    return Open(
        pool=_pool(loop, project, version, rows, scores, train & (where >= 0), where, vectors),
        held_out=rows.ids[whole & (rows.split == VAL)],
        margin=rows.ids[whole & (rows.split == MARGIN)],
        unreadable=rows.ids[scores.seen & ~rows.labelled & scores.unreadable],
        bare=rows.ids[train & (where < 0)],
    )


def _pool(
    loop: Loop,
    project: Project,
    version: ModelVersion,
    rows: TaskRows,
    scores: ScoreRows,
    chosen: NDArray[np.bool_],
    where: NDArray[np.int64],
    vectors: NDArray[np.floating],
) -> Pool:
    """Of the tasks `chosen` (N,). `where`: their row of `vectors`."""
    train, done = np.flatnonzero(chosen), np.flatnonzero(rows.labelled & (where >= 0))
    ids = rows.ids[train]
    proba = _rows(loop, project.id, proba_name(project, version), ids)
    counts = _rows(loop, project.id, counts_name(project, version), ids)
    truth = _rows(loop, project.id, truth_name(project), rows.ids[done])
    card = loop.registry.serving(project.id)
    kind = kind_of(project, str(project.settings.get("kind") or "") if card is None else card.kind)
    terms = {name: values[train] for name, values in scores.terms.items()}
    found = Pool(
        ids=ids,
        score=scores.score[train],
        embedding=_taken(vectors, where[train]),
        labelled=np.asarray(vectors[where[done]], np.float32),
        kind=kind,
        proba=proba,
        classes=_classes(truth, len(done)) if proba is not None else None,
        counts=None if counts is None else counts[:, 1:],
        have=None if truth is None else np.nansum(truth[:, 1:], axis=0, dtype=np.float64),
        empty=None if counts is None else counts[:, 0].astype(np.float64),
        terms=terms,
        ground=rows.ground.take(train),
        done=rows.ground.take(done),
        rounds=_rounds(loop, project),
    )
    told = np.zeros((0, 2), np.float32) if truth is None else truth[~np.isnan(truth[:, 0])]
    timed = rows.ids[done] if truth is None else rows.ids[done][~np.isnan(truth[:, 0])]
    effort = effort_of(loop.known.served.get(project.id, ()), timed[: len(told)], told)
    return replace(found, seconds=seconds_of(found, effort, truth))


def _rounds(loop: Loop, project: Project) -> tuple[Round, ...]:
    """`rounds`, as long as nothing was learned since."""
    card = loop.registry.serving(project.id)
    mark = ("" if card is None else str(card.version), loop.store.value(project.id, "learned"))
    kept = loop.known.rounds.get(project.id)
    if kept is None or kept[0] != mark:
        kept = loop.known.rounds[project.id] = (mark, rounds(loop, project))
    return kept[1]


def rounds(loop: Loop, project: Project) -> tuple[Round, ...]:
    """What was learned so far: of every model version its quality on held-out ground, how many tasks were labelled when
    it was learned, and the strategy of the window that was served then."""
    windows = loop.store.windows(project.id)
    served = loop.store.served(project.id)
    found: list[Round] = []
    for card in loop.registry.cards(project.id):
        quality = card.metrics.get("quality", card.metrics.get("map50"))
        if quality is None or not card.snapshot:
            continue
        before = [w.strategy for w in windows if w.published < card.created and w.strategy]
        labels = loop.store.value(project.id, labels_key(card.snapshot), -1)
        if labels < 0:  # learned by an earlier version of ours
            labels = len({a.task_id for a in served if a.created <= card.created and not a.skipped})
        found.append(Round(before[-1] if before else "", int(labels), float(quality)))
    return tuple(found)


def labels_key(snapshot: str) -> str:
    """Of how many tasks were labelled in a snapshot."""
    return f"labels of {snapshot[:16]}"


def positions(kept: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `wanted` (N,) stands in `kept` (M,), ids that are there once; −1 where it does not."""
    if not len(kept):
        return np.full(len(wanted), -1, np.int64)
    order = None if (kept[1:] > kept[:-1]).all() else np.argsort(kept)
    sorted_ids = kept if order is None else kept[order]
    place = np.minimum(np.searchsorted(sorted_ids, wanted), len(kept) - 1)
    found = np.where(sorted_ids[place] == wanted, place if order is None else order[place], -1)
    return found.astype(np.int64)


def _taken(vectors: NDArray[np.floating], where: NDArray[np.int64]) -> NDArray[np.floating]:
    """Rows of a memory map; the map itself where they are all of it, in order."""
    if len(where) == len(vectors) and np.array_equal(where, np.arange(len(where))):
        return vectors
    return vectors[where]


def _rows(loop: Loop, project: int, name: str, ids: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """What is kept under `name` of tasks `ids`, NaN where nothing is; None where nothing is kept at all."""
    kept, vectors = loop.features.get(project, name)
    if not len(kept):
        return None
    where = positions(kept, ids)
    found = np.asarray(vectors[np.maximum(where, 0)], np.float32)
    found[where < 0] = np.nan
    return found


def _classes(truth: NDArray[np.float32] | None, count: int) -> NDArray[np.int64]:
    """The class that people marked most on each labelled task, −1 unknown."""
    if truth is None:
        return np.full(count, -1, np.int64)
    marked = np.nan_to_num(truth[:, 1:])
    return np.where(marked.sum(axis=1) > 0, marked.argmax(axis=1), -1).astype(np.int64)
