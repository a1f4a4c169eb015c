"""A project's label config: which control on which image, and its labels. Configs are hostile until parsed here."""

from __future__ import annotations

from typing import Any

from groundlook.core.errors import InvalidConfig
from groundlook.core.types import Control, LabelConfig

SERVED = ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels", "KeyPointLabels", "Choices")
"""The controls that get predictions, in order of preference, and whose regions are read for training and export."""
MAX_CONFIG_BYTES = 1_000_000


def parse_config(xml: str) -> LabelConfig:
    """The control that we serve, and all that we read. Raises InvalidConfig that says what is missing."""
    if len(xml.encode()) > MAX_CONFIG_BYTES:
        raise InvalidConfig(f"the label config is over {MAX_CONFIG_BYTES} bytes")
    if "<!" in xml.replace("<!--", ""):
        raise InvalidConfig("the label config declares entities or a document type; remove the <!…> declarations")
    from label_studio_sdk.label_interface import LabelInterface  # slow to import

    try:
        interface = LabelInterface(xml)
        controls, objects = list(interface.controls), list(interface.objects)
    except Exception as error:
        raise InvalidConfig(f"the label config is not valid XML of Label Studio: {error}") from None
    images = {o.name: o for o in objects if o.tag == "Image"}
    if not images:
        raise InvalidConfig('the label config has no Image tag; add <Image name="image" value="$image"/>')
    for tag in SERVED:
        for control in controls:
            image = next((images[name] for name in control.to_name if name in images), None)
            if control.tag == tag and image is not None and control.labels and _of_the_image(control):
                read = tuple(
                    Control(c.name, c.tag, tuple(c.labels or ()))
                    for c in controls
                    if c.tag in SERVED and image.name in c.to_name and _of_the_image(c)
                )
                data_key = str(image.value).removeprefix("$")
                return LabelConfig(control.name, tag, image.name, data_key, tuple(control.labels), read)
    found = ", ".join(sorted({str(c.tag) for c in controls})) or "none"
    raise InvalidConfig(
        f"the label config has no {', '.join(SERVED[:-1])} or {SERVED[-1]} with labels on an image (found: {found}); "
        f'add <RectangleLabels name="label" toName="{next(iter(images))}"><Label value="…"/></RectangleLabels>'
    )


def _of_the_image(control: Any) -> bool:
    """Whether it says something of the image: choices asked for each region say something of that region only."""
    return control.tag != "Choices" or (bool(control.labels) and control.attr.get("perRegion", "").lower() != "true")
