"""What an annotator's smart tool sends, as prompts, and the control that the answer is drawn for.

Label Studio's editor sends the regions that are on the image now, of one type, one label and one image: all clicks so
far, or all boxes. Among them are regions that were accepted, loaded or drawn before, which point at nothing: of key
points only prompts carry `is_positive`; answers and predictions have a score or say where they come from; and what was
saved has an id that the task's annotations know (seen in the editor). A program may send any mixture.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Point, Shape, envelope
from groundlook.core.mask import Mask
from groundlook.core.prompts import Prompts
from groundlook.core.types import Control, LabelConfig
from groundlook_adapters.labelstudio.values import SHAPES, decode_value, geometry_of

AREAS = ("BrushLabels", "PolygonLabels", "RectangleLabels", "EllipseLabels")
"""The controls that a mask can be drawn for."""
MAX_PROMPTS = 1_000
_Bounds = tuple[float, float, float, float]
_NO = (False, 0, "0", "false", "False")


@dataclass(frozen=True, slots=True)
class Asked:
    """One Prompts for each object that is pointed at, the control that the answer is for, and the tag of its image."""

    prompts: tuple[Prompts, ...]
    control: Control
    image: str


def asked_image(context: Any, config: LabelConfig, saved: Container[str] = ()) -> str:
    """The tag of the further image that is pointed at, "" for the first. Raises InvalidInput: see `decode_prompts`."""
    _, image = _items(context, config, saved)
    return "" if image == config.image else image


def decode_prompts(
    context: Any, config: LabelConfig, size: tuple[int, int], wanted: str = "", saved: Container[str] = ()
) -> Asked:
    """The `context` of an interactive call, `{"result": […]}`, as prompts in pixels. `size`: (width, height) of the
    picture that is pointed at (see `asked_image`). `wanted`: the control to answer for, see `answering`. `saved`: ids
    of regions that are in an annotation already.

    Each rectangle, ellipse and polygon is one object: the upright box around it. A positive point belongs to the
    smallest box of its label that it is in; those outside every box are one object for each label. Negative points
    count for every object, and so does a text; alone, it is an object. What was painted with a brush is the previous
    answer: of the points of its label, else of the box that it overlaps most, else it is an object of its own.

    Raises InvalidInput for a context that points at nothing, or at no place; two images; a control or label that the
    config lacks; labels that are answered by different controls; a picture of another aspect; numbers that no image
    has; more than MAX_PROMPTS regions.
    """
    items, image = _items(context, config, saved)
    marks = [_mark(n, item, _control(item, config), size) for n, item in enumerate(items) if not _is_text(item)]
    text = " ".join(t for item in items if _is_text(item) for t in _texts(item))
    objects = _objects(marks)
    if not objects and text:
        objects = [_Object(_label_of(text, config, image))]
    if not objects:
        raise InvalidInput("only negative points: they say what the object is not; add a positive point or a box")
    used = next((_control(item, config) for item in items if not _is_text(item)), None)
    answer = _one_answer(config, image, used, [o.label for o in objects], wanted)
    negative = [m for m in marks if not m.positive]
    return Asked(tuple(o.prompts(negative, text) for o in objects), answer, image)


def answering(config: LabelConfig, image: str, used: Control | None, label: str, wanted: str = "") -> Control:
    """The control whose regions answer a smart tool `used` with `label` on `image`: the one that is `wanted` by name,
    where it is on that image, has the label and takes shapes; else the first in the config that takes areas, has the
    label and is no smart tool itself (that is what the tool draws for); else the one used, if it takes areas; else any
    that takes areas and has the label; else the one used, or a KeyPointLabels with the label. Raises InvalidInput
    where there is none."""
    here = [c for c in (*config.controls, *config.others) if c.image in (image, "")]
    takes = [c for c in here if label in c.labels and c.type in (*AREAS, "KeyPointLabels")]
    areas = [c for c in takes if c.type in AREAS]
    named = [c for c in takes if c.name == wanted]
    plain = [c for c in areas if not c.smart]
    own = [c for c in areas if used is not None and c.name == used.name]
    spots = sorted(takes, key=lambda c: used is None or c.name != used.name)
    found = next(iter((*named, *plain, *own, *areas, *spots)), None)
    if found is None:
        raise InvalidInput(f"no control on {image!r} can show an object with the label {label!r}; add <BrushLabels>")
    return found


@dataclass(frozen=True, slots=True)
class _Mark:
    """One region of the context. `order`: its place in it."""

    order: int
    shape: Shape
    label: str
    positive: bool


@dataclass(slots=True)
class _Object:
    """What is known of one object while it is put together."""

    label: str
    box: _Bounds | None = None
    points: list[_Mark] = field(default_factory=list)
    mask: Mask | None = None

    def prompts(self, negative: Sequence[_Mark], text: str) -> Prompts:
        points = sorted((*self.points, *negative), key=lambda m: m.order)
        found = Prompts(box=self.box, mask=self.mask, text=text, label=self.label)
        if not points:
            return found
        where = np.array([m.shape.corners()[0] for m in points], dtype=np.float32)
        return replace(found, points=where, positive=np.array([m.positive for m in points], dtype=np.bool_))


def _objects(marks: Sequence[_Mark]) -> list[_Object]:
    """In the order in which each was first pointed at."""
    boxes = [_Object(m.label, envelope(m.shape)) for m in marks if not isinstance(m.shape, Point | Mask)]
    spots: dict[str, _Object] = {}
    for mark in (m for m in marks if isinstance(m.shape, Point) and m.positive):
        around = [b for b in boxes if b.label == mark.label and b.box is not None and _inside(mark.shape, b.box)]
        if around:
            min(around, key=lambda b: _area(b.box)).points.append(mark)
        else:
            spots.setdefault(mark.label, _Object(mark.label)).points.append(mark)
    objects = [*boxes, *spots.values()]
    for mark in marks:
        if isinstance(mark.shape, Mask):
            _attach(mark.shape, mark.label, objects, spots)
    return objects


def _attach(mask: Mask, label: str, objects: list[_Object], spots: Mapping[str, _Object]) -> None:
    """Give an earlier answer to the object that it is an answer for."""
    spot = spots.get(label)
    free = [o for o in objects if o.label == label and o.box is not None and o.mask is None]
    around = envelope(mask)
    best = max(free, key=lambda o: _overlap(around, o.box), default=None)
    if spot is not None and spot.mask is None:
        spot.mask = mask
    elif best is not None and _overlap(around, best.box) > 0:
        best.mask = mask
    else:
        objects.append(_Object(label, mask=mask))


def _one_answer(config: LabelConfig, image: str, used: Control | None, labels: Iterable[str], wanted: str) -> Control:
    found = {label: answering(config, image, used, label, wanted) for label in labels}
    names = {c.name for c in found.values()}
    if len(names) > 1:
        said = ", ".join(f"{label!r} with {c.name!r}" for label, c in found.items())
        raise InvalidInput(f"these labels are answered by several controls ({said}); ask for one of them at a time")
    return next(iter(found.values()))


# the context


def _items(context: Any, config: LabelConfig, saved: Container[str]) -> tuple[list[Mapping[str, Any]], str]:
    """The regions that point at something, and the tag of the image that they all are on."""
    result = context.get("result") if isinstance(context, Mapping) else None
    if not isinstance(result, list) or not all(isinstance(item, Mapping) for item in result):
        raise InvalidInput('the context of an interactive call is no {"result": [regions]}; send what the editor sends')
    if len(result) > MAX_PROMPTS:
        raise InvalidInput(f"{len(result)} prompts in one call; {MAX_PROMPTS} are read at most")
    themselves = {str(item["id"]) for item in result if item.get("id") and _draws(item)}
    items = _asking([item for item in result if _is_text(item) or _points(item, themselves)], saved)
    if not items:
        kinds = ", ".join(sorted({str(item.get("type"))[:40] for item in result})) or "none"
        raise InvalidInput(f"nothing is pointed at (regions: {kinds}); click, or draw a box, a polygon or an ellipse")
    images = {_image(item, config) for item in items}
    if len(images) > 1:
        raise InvalidInput(f"prompts on several images in one call ({', '.join(sorted(images))}): one at a time")
    return items, images.pop()


def _asking(items: list[Mapping[str, Any]], saved: Container[str]) -> list[Mapping[str, Any]]:
    """Those that are no answer, no prediction and not saved; the last one in any case: it is the one just drawn."""
    marked = any("is_positive" in item for item in items)
    pointing = any(_kind(item) not in (None, "brush") for item in items)
    exempt = (None, "keypoint", "brush") if pointing else (None, "keypoint")  # a brush beside a click is its answer
    kept = [
        item
        for item in items
        if not (marked and _kind(item) == "keypoint" and "is_positive" not in item)
        and (_kind(item) in exempt or not _stands(item, saved))
    ]
    return kept or items[-1:]


def _stands(item: Mapping[str, Any], saved: Container[str]) -> bool:
    """Whether a shape is a region of the annotation rather than a prompt."""
    known = str(item.get("origin") or "").startswith("prediction") or str(item.get("id") or "") in saved
    return known or item.get("score") is not None


def _points(item: Mapping[str, Any], themselves: set[str]) -> bool:
    """Whether it points at something. A region with labels of several controls is several items of one id, of which
    one has the type of what is drawn: see `wire`."""
    return _kind(item) is not None and (_draws(item) or str(item.get("id")) not in themselves)


def _draws(item: Mapping[str, Any]) -> bool:
    value = item.get("value")
    return isinstance(value, Mapping) and geometry_of(value) == _kind(item) is not None


def _kind(item: Mapping[str, Any]) -> str | None:
    kind = str(item.get("type")).removesuffix("labels")
    return kind if kind in SHAPES else None


def _is_text(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "textarea"


def _texts(item: Mapping[str, Any]) -> list[str]:
    value = item.get("value")
    text = value.get("text") if isinstance(value, Mapping) else None
    lines: list[Any] = text if isinstance(text, list) else [text]
    if not all(isinstance(line, str) for line in lines):
        raise InvalidInput(f"the text of {item.get('from_name')!r} is no text: {str(text)[:80]}")
    return [line.strip() for line in lines if line.strip()]


def _image(item: Mapping[str, Any], config: LabelConfig) -> str:
    named = item.get("to_name")
    images = sorted({config.image, *(c.image for c in config.others)})
    if named is not None and named not in images:
        raise InvalidInput(f"a prompt on {str(named)[:80]!r}; the label config has {', '.join(images)}")
    if _is_text(item):
        return str(named or config.image)
    image = _control(item, config).image or config.image
    if named is not None and named != image:
        raise InvalidInput(f"a prompt of {item.get('from_name')!r} on {named!r}; that control is on {image!r}")
    return image


def _control(item: Mapping[str, Any], config: LabelConfig) -> Control:
    every = (*config.controls, *config.others)
    found = next((c for c in every if c.name == item.get("from_name")), None)
    if found is None:
        names = ", ".join(c.name for c in every)
        raise InvalidInput(f"a prompt of {str(item.get('from_name'))[:80]!r}; the label config has {names}")
    return found


def _mark(order: int, item: Mapping[str, Any], control: Control, size: tuple[int, int]) -> _Mark:
    kind, value = _kind(item), item.get("value")
    try:
        original = (float(item.get("original_width") or size[0]), float(item.get("original_height") or size[1]))
        if kind is None or not isinstance(value, Mapping):
            raise InvalidInput("it has no value")
        shape = decode_value(kind, value, original, size)
    except (KeyError, TypeError, ValueError, OverflowError, InvalidInput) as error:
        what = str(error) if isinstance(error, InvalidInput) else repr(error)
        raise InvalidInput(f"prompt {str(item.get('id'))[:40]!r} is no {item.get('type')} ({what})") from None
    sign = item.get("is_positive", value.get("is_positive", True))
    positive = not isinstance(shape, Point) or sign not in _NO
    return _Mark(order, shape, _label(item, value, control), positive)


def _label(item: Mapping[str, Any], value: Mapping[str, Any], control: Control) -> str:
    """The label that was chosen, the first of several; a control with a single one needs no choice."""
    chosen = value.get(str(item.get("type"))) or value.get("labels")
    if not chosen and len(control.labels) == 1:
        return control.labels[0]
    if not isinstance(chosen, list) or not chosen:
        raise InvalidInput(f"no label is chosen for {control.name!r}; choose one of {', '.join(control.labels)} first")
    if chosen[0] not in control.labels:
        label = str(chosen[0])[:80]
        raise InvalidInput(f"{control.name!r} has no label {label!r}; it has {', '.join(control.labels)}")
    return str(chosen[0])


def _label_of(text: str, config: LabelConfig, image: str) -> str:
    """A text alone chooses no label: it is the one of that name, or the only one."""
    here = [c for c in (*config.controls, *config.others) if c.image in (image, "") and c.type in AREAS]
    labels = list(dict.fromkeys(label for c in here for label in c.labels))
    named = [label for label in labels if label.casefold() == text.casefold()]
    if not named and len(labels) != 1:
        raise InvalidInput(f"{text[:80]!r} names no label: write one of {', '.join(labels) or 'none'}, or draw a box")
    return (named or labels)[0]


def _inside(shape: Shape, box: _Bounds) -> bool:
    (x, y), (x0, y0, x1, y1) = shape.corners()[0], box
    return bool(x0 <= x <= x1 and y0 <= y <= y1)


def _area(box: _Bounds | None) -> float:
    return 0.0 if box is None else (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: _Bounds, b: _Bounds | None) -> float:
    if b is None:
        return 0.0
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
