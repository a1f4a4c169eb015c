"""A project's label config: its controls on its images, and their labels. Configs are hostile until parsed here."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from groundlook.core.errors import InvalidConfig
from groundlook.core.types import Control, LabelConfig

SERVED = ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels", "KeyPointLabels", "Choices")
"""The controls with labels that get predictions, in order of preference, and whose regions are read for training and
export."""
NUMBERS = ("Number", "Rating")
"""Those that hold a number. A config with nothing else is served too, without labels: nothing is learned from it, and
a plan says what its numbers are."""
STARS = 5
"""What a Rating without `maxRating` goes up to."""
MAX_CONFIG_BYTES = 1_000_000


def parse_config(xml: str) -> LabelConfig:
    """Every control on an image. The one of the most preferred tag is served, on the first image that has one; the
    controls on its image are `controls`, those on further images are `others`. What gets no answer is `unserved`:
    controls of other tags, without labels of their own (also those that take them from the task), asked for each
    region, or on an image of many pages (`valueList`). Raises InvalidConfig that says what is missing."""
    if len(xml.encode(errors="replace")) > MAX_CONFIG_BYTES:
        raise InvalidConfig(f"the label config is over {MAX_CONFIG_BYTES} bytes")
    if "<!" in xml.replace("<!--", ""):
        raise InvalidConfig("the label config declares entities or a document type; remove the <!…> declarations")
    from label_studio_sdk.label_interface import LabelInterface  # slow to import

    try:
        interface = LabelInterface(xml)
        tags, objects = list(interface.controls), list(interface.objects)
        relations = [("Relations", t.get("name") or "") for t in ET.fromstring(xml).iter("Relations")]  # noqa: S314 no entities
    except Exception as error:
        raise InvalidConfig(f"the label config is not valid XML of Label Studio: {error}") from None
    images = {o.name: o for o in objects if o.tag == "Image"}
    if not images:
        raise InvalidConfig('the label config has no Image tag; add <Image name="image" value="$image"/>')
    found: list[Control] = []
    unserved: list[tuple[str, str]] = []
    for tag in tags:
        image = next((images[n] for name in tag.to_name if (n := str(name).strip()) in images), None)
        control = None if image is None else _control(tag, image)
        if control is not None:
            found.append(control)
        elif image is not None:
            unserved.append((str(tag.tag), str(tag.name)))
    served = _preferred(found, list(images))
    if served is None:
        raise InvalidConfig(_nothing(tags, next(iter(images))))
    return LabelConfig(
        served.name,
        served.type,
        served.image,
        served.data_key,
        served.labels,
        tuple(c for c in found if c.image == served.image),
        tuple(c for c in found if c.image != served.image),
        (*unserved, *relations),
    )


def _control(tag: Any, image: Any) -> Control | None:
    """None for what is not served."""
    attributes = {str(key).lower(): str(value) for key, value in tag.attr.items()}  # the editor ignores their case
    kind, labels = str(tag.tag), tuple(str(label) for label in tag.labels or ())
    if kind not in (*SERVED, *NUMBERS) or _true(attributes, "perregion") or "valueList" in image.attr:
        return None
    least = most = None
    if kind == "Number":
        least, most, labels = _bound(attributes, "min"), _bound(attributes, "max"), ()
    elif kind == "Rating":  # no star at all is no rating: the editor doesn't save it
        least, most, labels = 1.0, _bound(attributes, "maxrating") or float(STARS), ()
    elif not labels:
        return None
    return Control(
        tag.name,
        kind,
        labels,
        image.name,
        str(image.value).removeprefix("$"),
        smart=_true(attributes, "smart") or _true(attributes, "smartonly"),
        several=kind == "Choices" and attributes.get("choice", "") == "multiple",
        least=least,
        most=most,
    )


def _preferred(controls: Sequence[Control], images: Sequence[str]) -> Control | None:
    for kind in (*SERVED, *NUMBERS):
        takes = [c for c in controls if c.type == kind]
        if takes:
            return min(takes, key=lambda c: images.index(c.image))
    return None


def _true(attributes: Mapping[str, str], name: str) -> bool:
    return attributes.get(name, "").lower() == "true"


def _bound(attributes: Mapping[str, str], name: str) -> float | None:
    """None also for what is no number: the editor passes over it."""
    try:
        bound = float(attributes.get(name, ""))
    except ValueError:
        return None
    return bound if math.isfinite(bound) else None


def _nothing(tags: Sequence[Any], image: str) -> str:
    found = ", ".join(sorted({str(tag.tag) for tag in tags})) or "none"
    return (
        f"the label config has no {', '.join(SERVED[:-1])} or {SERVED[-1]} with labels on an image (found: {found}); "
        f'add <RectangleLabels name="label" toName="{image}"><Label value="…"/></RectangleLabels>'
    )
