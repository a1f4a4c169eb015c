"""Label Studio's JSON ↔ core: results, predictions, annotations. What a region's `value` says is read in `values`.

A region may be several items of one id: an item for each control that says something of it, and all of them repeat its
place. A smart tool's answer is like that once it is accepted: beside the item of the brush that we sent, the editor
keeps one of the key point's control whose label was chosen, with the mask in it (read in its acceptSuggestion). Only
the item whose type is what is drawn is the region; the others are its echoes, and passed over.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Annotation, Control, LabelConfig, Prediction, Region
from groundlook_adapters.labelstudio.values import (
    SHAPES,
    decode_value,
    encode_number,
    encode_value,
    geometry_of,
    number_text,
    refused,
)

log = logging.getLogger("groundlook.labelstudio")

CHOICES = "choices"
NUMBERS = ("number", "rating")
WHOLE = (CHOICES, *NUMBERS)
"""What is said of a tile as a whole."""
TAGS: dict[type[Shape], str] = {
    Box: "RectangleLabels",
    Polygon: "PolygonLabels",
    Ellipse: "EllipseLabels",
    Point: "KeyPointLabels",
    Mask: "BrushLabels",
    WholeTile: "Choices",
}
"""The control that takes a shape."""


# out


def encode_region(region: Region, config: LabelConfig, size: tuple[int, int], meta: str = "") -> dict[str, Any]:
    """Region → one item of a `result`. `size`: (width, height) in pixels of the image, where the region has no `frame`
    of its own. `meta`: a note on the region, shown in the editor. It goes to the control that it names, on that
    control's image. A box goes to a polygon control where that is asked for, or there is none for boxes. Raises
    InvalidInput where no control takes the shape, or the one named is not in the config or does not."""
    shape = region.shape
    control = control_for(config, region)
    if control.type == "PolygonLabels" and isinstance(shape, Box):
        shape = Polygon(tuple((float(x), float(y)) for x, y in shape.corners()))
    kind = control.type.lower()
    item: dict[str, Any] = {"type": kind, "from_name": control.name, "to_name": control.image or config.image}
    item["origin"] = region.origin
    if kind in NUMBERS:
        item["value"] = encode_number(region.label, control)
    elif isinstance(shape, WholeTile):
        item["value"] = {CHOICES: [region.label]}
    else:
        width, height = region.frame or size
        item |= {"original_width": width, "original_height": height, "image_rotation": 0}
        item["value"] = {**encode_value(shape, (width, height)), kind: [region.label]}
    if region.uid:
        item["id"] = region.uid
    if region.score is not None:
        item["score"] = region.score
    if meta:
        item["meta"] = {"text": [meta]}
    return item


def control_for(config: LabelConfig, region: Region) -> Control:
    """The control that a region names; else the first on the first image that takes its shape and has its label, else
    the first that takes its shape. Raises InvalidInput where there is none."""
    if region.control:
        return _named(config, region)
    controls = _controls(config)
    wanted = [TAGS[type(region.shape)]]
    if isinstance(region.shape, Box):
        wanted.append("PolygonLabels")
    for tag in wanted:
        takes = [c for c in controls if c.type == tag]
        if takes:
            return next((c for c in takes if region.label in c.labels), takes[0])
    raise InvalidInput(
        f"no control of the label config takes shapes of type {type(region.shape).__name__} (it has: "
        f"{', '.join(sorted({c.type for c in controls}))}); add <{wanted[0]}> to it"
    )


def _named(config: LabelConfig, region: Region) -> Control:
    every = (*_controls(config), *config.others)
    control = next((c for c in every if c.name == region.control), None)
    if control is None:
        names = ", ".join(c.name for c in every)
        raise InvalidInput(f"the label config has no control {region.control!r} that is answered (it has: {names})")
    takes = [TAGS[type(region.shape)]]
    if isinstance(region.shape, Box):
        takes.append("PolygonLabels")
    elif isinstance(region.shape, WholeTile):
        takes += ["Number", "Rating"]
    if control.type not in takes:
        raise InvalidInput(
            f"{control.type} {control.name!r} takes no {type(region.shape).__name__}; fit the region to it first"
        )
    return control


def encode_prediction(prediction: Prediction, config: LabelConfig, score: float, version: str) -> dict[str, Any]:
    """One prediction as `/predict` answers it and as it is imported. `score` is the place in the queue, 0…1.
    A region that no control takes, or that would make Label Studio drop the whole prediction, is left out and logged.
    All classes of the tile go into one item for each control; the best alone where only one may hold."""
    several = {c.name for c in (*_controls(config), *config.others) if c.several}
    result: list[dict[str, Any]] = []
    whole: dict[str, dict[str, Any]] = {}
    for region in prediction.regions:
        try:
            item = encode_region(region, config, prediction.size, region.note)
        except InvalidInput as error:
            log.warning("left out of a prediction: %s", error)
            continue
        reason = refused(item["value"])
        name = item["from_name"]
        if reason:
            log.warning("left out of a prediction: %s at %s", item["type"], reason)
        elif name not in whole:
            result.append(item)
            if item["type"] in WHOLE:
                whole[name] = item
        elif name in several:
            classes = whole[name]["value"]
            classes[CHOICES] = list(dict.fromkeys([*classes[CHOICES], *item["value"][CHOICES]]))
        elif item.get("score", -1.0) > whole[name].get("score", -1.0):  # unknown is less than any
            result[result.index(whole[name])] = whole[name] = item
    return {"result": result, "score": score, "model_version": version}


# in


def decode_regions(
    result: Iterable[Mapping[str, Any]], config: LabelConfig, size: tuple[int, int] | None = None, image: str = ""
) -> tuple[Region, ...]:
    """A `result` → regions in pixels of `size`, the tile's (width, height), or of the size that each says it was drawn
    on. Controls and shapes that we don't read, and classes of single regions, are left out. A label that the config no
    longer has stays: it is exported, and not learned. A region that can't be understood is left out and logged, so
    that one broken region never stops the loop. What a Number or Rating says is a WholeTile that names its control.

    `image`: the tag of a further image, whose regions name their controls and say the size that they were drawn on; ""
    for the first."""
    return _decoded(result, config, size, image)[0]


def _decoded(
    result: Iterable[Mapping[str, Any]], config: LabelConfig, size: tuple[int, int] | None, image: str = ""
) -> tuple[tuple[Region, ...], list[str]]:
    """The regions, and why each of the others that we should be able to read can't be."""
    # What has `is_positive` is a prompt that nobody accepted: submitted with the rest, and no labelled thing.
    items = [item for item in result if isinstance(item, Mapping) and "is_positive" not in item]
    further = [c for c in config.others if c.image == image]
    readable = {c.name: c for c in (further if image and image != config.image else _controls(config))}
    drawn = {str(item["id"]) for item in items if item.get("id") and item.get("type") not in WHOLE}
    themselves = {str(item["id"]) for item in items if item.get("id") and _is_itself(item)}
    found: list[Region] = []
    broken: list[str] = []
    for item in items:
        name = item.get("from_name")
        control = readable.get(name) if isinstance(name, str) else None
        if control is None or not _reads(control, _kind(item)) or _says_of_region(item, drawn):
            continue
        if str(item.get("id")) in themselves and _kind(item) in SHAPES and not _is_itself(item):
            continue
        try:
            regions = decode_item(item, size)
        except InvalidInput as error:
            log.warning("left out: %s", error)
            broken.append(str(error))
            continue
        found += [_placed(region, item, control, bool(further)) for region in regions]
        for region in regions if control.labels else ():
            _note_unknown(region.label, control.labels)
    return tuple(found), broken


def _placed(region: Region, item: Mapping[str, Any], control: Control, further: bool) -> Region:
    if further and not isinstance(region.shape, WholeTile):
        frame = int(float(item["original_width"])), int(float(item["original_height"]))
        return replace(region, control=control.name, frame=frame)
    return replace(region, control=control.name) if further or _kind(item) in NUMBERS else region


def decode_region(item: Mapping[str, Any], size: tuple[int, int] | None = None) -> Region:
    """One item of a `result` that holds one region. Raises InvalidInput that says what is wrong with it."""
    return decode_item(item, size)[0]


def decode_item(item: Mapping[str, Any], size: tuple[int, int] | None = None) -> tuple[Region, ...]:
    """One item of a `result`: a shape is one region, classes of the tile are one for each, a number is one. `size`: see
    `decode_regions`. Raises InvalidInput that says what is wrong with it."""
    kind = _kind(item)
    try:
        if kind is None:
            raise InvalidInput("its type is not read")
        value, score = item["value"], item.get("score")
        region = Region(
            WholeTile(),
            "",
            None if score is None else float(score),
            str(item.get("id") or ""),
            str(item.get("origin") or "manual"),
        )
        if region.score is not None and not math.isfinite(region.score):
            raise InvalidInput(f"a score of {score}")
        if kind == CHOICES:
            return tuple(replace(region, label=label) for label in _labels(value[CHOICES]))
        if kind in NUMBERS:
            return (replace(region, label=number_text(value[kind])),)
        original = (float(item["original_width"]), float(item["original_height"]))
        shape = decode_value(kind, value, original, size)
        labels = _labels(value.get(str(item["type"])) or value.get("labels"))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InvalidInput) as error:
        what = str(error) if isinstance(error, InvalidInput) else repr(error)
        raise InvalidInput(f"region {item.get('id')!r} is not a {item.get('type')} of Label Studio ({what})") from None
    if len(labels) > 1:
        log.warning("region %r has %d labels; the first, %r, is kept", region.uid, len(labels), labels[0])
    return (replace(region, shape=shape, label=labels[0]),)


def decode_annotation(
    body: Mapping[str, Any], task_id: int, config: LabelConfig | None, size: tuple[int, int] | None = None
) -> Annotation:
    """An annotation as the API and webhooks send it. Without `config` its regions are left out. `size`: see
    `decode_regions`. Raises InvalidInput, also where regions were drawn and none can be read: "nothing there" would be
    a lie."""
    try:
        regions, broken = ((), []) if config is None else _decoded(body.get("result") or [], config, size)
        skipped = bool(body.get("was_cancelled"))
        if broken and not regions and not skipped:
            raise InvalidInput(f"annotation {body['id']} of task {task_id} has no region that can be read: {broken[0]}")
        author = body.get("completed_by")
        if isinstance(author, Mapping):
            author = author.get("email") or author.get("id")
        return Annotation(
            id=int(body["id"]),
            task_id=task_id,
            regions=regions,
            author=str(author or ""),
            created=_seconds(body["created_at"]),
            lead_time=float(body.get("lead_time") or 0.0),
            skipped=skipped,
            ground_truth=bool(body.get("ground_truth")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"not an annotation of Label Studio ({error!r})") from None


def _controls(config: LabelConfig) -> tuple[Control, ...]:
    return config.controls or (Control(config.control, config.control_type, config.labels),)


def _kind(item: Mapping[str, Any]) -> str | None:
    """What the item holds: a key of SHAPES, one of WHOLE, or None for what we don't read."""
    kind = str(item.get("type")).removesuffix("labels")
    return kind if kind in SHAPES or kind in WHOLE else None


def _reads(control: Control, kind: str | None) -> bool:
    """A number is read where a number is asked for, and nothing else is read there."""
    if kind in NUMBERS or control.type.lower() in NUMBERS:
        return kind == control.type.lower()
    return kind is not None


def _is_itself(item: Mapping[str, Any]) -> bool:
    """Whether what is drawn is what its type says: see the top of this file."""
    value = item.get("value")
    return isinstance(value, Mapping) and geometry_of(value) == _kind(item) in SHAPES


def _says_of_region(item: Mapping[str, Any], drawn: set[str]) -> bool:
    """Whether it is said of one region: that has the region's id, and repeats its place."""
    if item.get("type") not in WHOLE:
        return False
    value = item.get("value")
    return str(item.get("id")) in drawn or (isinstance(value, Mapping) and geometry_of(value) is not None)


def _labels(found: Any) -> list[str]:
    """A list of names; a nested choice is the path to it, and goes by its last part."""
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise InvalidInput("it has no label")
    return [str(name[-1]) if isinstance(name, list) and name else str(name) for name in found]


def _note_unknown(label: str, known: Sequence[str]) -> None:
    if label not in known:
        log.warning("label %r is not in the label config (it has: %s); exported, not learned", label, ", ".join(known))


def _seconds(moment: str | datetime) -> float:
    when = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
    return when.timestamp()
