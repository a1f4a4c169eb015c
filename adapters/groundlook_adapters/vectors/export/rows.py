"""What is written of each feature beside its geometry: the same columns in every format and every export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa

from groundlook_adapters.vectors.export.features import Kind
from groundlook_adapters.vectors.export.spool import Member, ScenePlace
from groundlook_adapters.vectors.names import scene_name

GEOMETRY = "geometry"
_TEXT, _MOMENT = pa.string(), pa.timestamp("ms", tz="UTC")

FEATURE_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("uid", _TEXT),
    ("kind", _TEXT),
    ("label", _TEXT),
    ("score", pa.float64()),
    ("source_region_ids", _TEXT),
    ("task_ids", _TEXT),
    ("annotation_ids", _TEXT),
    ("annotators", _TEXT),
    ("tile_uids", _TEXT),
    ("scene", _TEXT),
    ("scene_id", _TEXT),
    ("acquired", _TEXT),
    ("project", pa.int64()),
    ("split", _TEXT),
    ("created_at", _MOMENT),
    ("edited_at", _MOMENT),
    ("lead_time", pa.float64()),
    ("origin", _TEXT),
    ("merge_rule", _TEXT),
    ("n_views", pa.int64()),
    ("view_iou_min", pa.float64()),
    ("opinion", pa.int64()),
    ("source", _TEXT),
)
"""Name and Arrow type of every column of regions, points and tiles. Lists are JSON text in all formats, since
GeoPackage and FlatGeobuf have no lists. `created_at`, `edited_at`: when the first and the last annotation behind it was
made. `lead_time`: seconds, summed over those annotations. `score`: the highest. `split`, `origin`: "margin" and "mixed"
where the regions behind it disagree. `source`: the vector feature that it came in as."""

REVIEWED_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("tile_uid", _TEXT),
    ("task_id", pa.int64()),
    ("scene", _TEXT),
    ("scene_id", _TEXT),
    ("acquired", _TEXT),
    ("project", pa.int64()),
    ("split", _TEXT),
    ("annotators", _TEXT),
    ("n_annotations", pa.int64()),
    ("n_regions", pa.int64()),
    ("empty", pa.bool_()),
)
"""Columns of the layer of tiles that were looked at. `empty`: no annotation of the task has a region."""


def feature_row(
    members: Sequence[Member], kind: Kind, scene: ScenePlace, opinion: int, rule: str, views: int, iou: float | None
) -> tuple[Any, ...]:
    """The values of FEATURE_COLUMNS for a feature made of `members`, one or more regions of `scene`."""
    first = members[0]
    if len(members) == 1:
        return _row_of_one(first, kind, scene, opinion, rule, views, iou)
    notes = {(m.task, m.annotation): m for m in members}
    moments = [m.created for m in members if m.created > 0]
    return (
        feature_uid(members, kind),
        _KIND[kind],
        first.label,
        max((m.score for m in members if m.score is not None), default=None),
        _list(m.region for m in members),
        _list(m.task for m in members),
        _list(m.annotation for m in members),
        _list(m.annotator for m in members if m.annotator),
        _list(m.tile_uid for m in members),
        scene_name(scene.source),
        scene.scene_id or None,
        scene.acquired,
        first.project,
        _agreed((m.split for m in members), "margin") or None,
        _moment(min(moments, default=0.0)),
        _moment(max(moments, default=0.0)),
        sum(m.lead_time for m in notes.values()),
        _agreed((m.origin for m in members), "mixed"),
        rule,
        views,
        iou,
        opinion,
        ", ".join(dict.fromkeys(m.source for m in members if m.source)) or None,
    )


def _row_of_one(
    m: Member, kind: Kind, scene: ScenePlace, opinion: int, rule: str, views: int, iou: float | None
) -> tuple[Any, ...]:
    """The same for the most frequent case; a scene has hundreds of thousands."""
    moment = _moment(m.created)
    return (
        _uid_of_one(m, kind),
        _KIND[kind],
        m.label,
        m.score,
        f'["{m.region}"]' if _is_plain(m.region) else _list((m.region,)),
        f"[{m.task}]",
        f"[{m.annotation}]",
        _list_of_one(m.annotator) if m.annotator else "[]",
        _list_of_one(m.tile_uid),
        _scene_name(scene.source),
        scene.scene_id or None,
        scene.acquired,
        m.project,
        m.split or None,
        moment,
        moment,
        m.lead_time,
        m.origin,
        rule,
        views,
        iou,
        opinion,
        m.source or None,
    )


def feature_uid(members: Sequence[Member], kind: Kind) -> str:
    """32 hex digits of sha256 over the regions behind a feature: the same in every export and format as long as the
    same regions make it up, however they are moved."""
    behind = sorted([m.project, m.task, m.annotation, m.region, m.label] for m in members)
    return hashlib.sha256(json.dumps([kind, behind]).encode()).hexdigest()[:32]


def _uid_of_one(m: Member, kind: Kind) -> str:
    """`feature_uid` of one region."""
    if not _is_plain(m.region):
        return feature_uid((m,), kind)
    told = f'["{kind}", [[{m.project}, {m.task}, {m.annotation}, "{m.region}", {_quoted(m.label)}]]]'
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def reviewed_row(spooled: tuple[Any, ...], scene: ScenePlace) -> tuple[Any, ...]:
    """The values of REVIEWED_COLUMNS, from a row of `Spool.reviewed`."""
    _, uid, split, task, project, annotators, count, regions, empty = spooled
    who = _list(sorted(name for name in json.loads(annotators) if name))
    place = (scene_name(scene.source), scene.scene_id or None, scene.acquired)
    return (uid, task, *place, project, split or None, who, count, regions, bool(empty))


def schema(columns: Sequence[tuple[str, Any]]) -> Any:
    """The Arrow schema of a layer: its columns, then the geometry as WKB."""
    return pa.schema([*columns, (GEOMETRY, pa.binary())])


_KIND: dict[Kind, str] = {"regions": "region", "points": "point", "tiles": "tile"}


def _list(values: Iterable[Any]) -> str:
    return json.dumps(list(dict.fromkeys(values)), ensure_ascii=False)


_scene_name = lru_cache(256)(scene_name)


@lru_cache(4096)
def _list_of_one(value: str) -> str:
    return _list((value,))


@lru_cache(4096)
def _quoted(value: str) -> str:
    return json.dumps(value)


def _is_plain(uid: str) -> bool:
    """As JSON it is what it is, between quotes."""
    return uid.isascii() and uid.isalnum()


def _agreed(values: Iterable[str], otherwise: str) -> str:
    found = set(values)
    return found.pop() if len(found) == 1 else otherwise


@lru_cache(4096)
def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
