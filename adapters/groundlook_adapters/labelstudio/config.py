"""A project's label config: which control on which image, and its labels. Configs are hostile until parsed here."""

from __future__ import annotations

from groundlook.core.errors import InvalidConfig
from groundlook.core.types import Control, LabelConfig

SERVED = ("RectangleLabels",)
"""The controls that get predictions, in order of preference."""
READ = ("RectangleLabels", "PolygonLabels")
"""The controls whose shapes are read from annotations, for training and export."""
MAX_CONFIG_BYTES = 1_000_000


def parse_config(xml: str) -> LabelConfig:
    """The control that we serve. Raises InvalidConfig that says what is missing."""
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
            if control.tag == tag and image is not None and control.labels:
                data_key = str(image.value).removeprefix("$")
                read = tuple(
                    Control(c.name, c.tag, tuple(c.labels))
                    for c in controls
                    if c.tag in READ and image.name in c.to_name
                )
                return LabelConfig(control.name, tag, image.name, data_key, tuple(control.labels), read)
    found = ", ".join(sorted({str(c.tag) for c in controls})) or "none"
    raise InvalidConfig(
        f"the label config has no {' or '.join(SERVED)} with labels on an image (found: {found}); "
        f'add <RectangleLabels name="label" toName="{next(iter(images))}"><Label value="…"/></RectangleLabels>'
    )
