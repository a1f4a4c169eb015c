"""VRT files: XML in which GDAL would read any path, URL or program code. Only plain mosaics of allowed files pass."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from groundlook.core.errors import GroundlookError, InvalidRaster, NotAllowed
from groundlook_adapters.rasters.reading.files import DRIVERS, driver_of, resolve

MAX_BYTES = 16 * 2**20
MAX_SOURCES = 4096

_ALLOWED: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    name: (frozenset(attributes.split()), frozenset(children.split()))
    for name, attributes, children in (
        (
            "VRTDataset",
            "rasterXSize rasterYSize",
            "SRS GeoTransform GCPList Metadata VRTRasterBand MaskBand OverviewList BlockXSize BlockYSize",
        ),
        (
            "VRTRasterBand",
            "dataType band blockXSize blockYSize",
            "ColorInterp ColorTable NoDataValue HideNoDataValue Metadata Description Offset Scale UnitType "
            "CategoryNames Histograms SimpleSource ComplexSource MaskBand",
        ),
        ("MaskBand", "", "VRTRasterBand"),
        ("SimpleSource", "name resampling", "SourceFilename SourceBand SourceProperties SrcRect DstRect"),
        (
            "ComplexSource",
            "name resampling",
            "SourceFilename SourceBand SourceProperties SrcRect DstRect NODATA UseMaskBand ScaleOffset ScaleRatio LUT "
            "ColorTableComponent Exponent SrcMin SrcMax DstMin DstMax",
        ),
        ("SourceFilename", "relativeToVRT shared", ""),
    )
}
"""Element: its attributes and children. GDAL takes an attribute for a child, and either in any case, so that whatever
is not listed here, spelt like this, is refused."""

_CONTAINERS = frozenset(_ALLOWED) - {"SourceFilename"}


def sources(path: Path, roots: Sequence[Path]) -> tuple[Path, ...]:
    """The files that a VRT shows, each once, resolved. Raises InvalidRaster (not well-formed, too large, anything but
    bands of SimpleSource and ComplexSource, a source that is no raster file), NotAllowed (a source outside `roots`).
    """
    root = _parsed(path)
    if root.tag != "VRTDataset":
        raise _refused(path, f"it is a {root.tag}")
    _check(path, root)
    found: dict[Path, None] = {}
    for name in root.iter("SourceFilename"):
        found[_resolved(path, name, roots)] = None
        if len(found) > MAX_SOURCES:
            raise InvalidRaster(f"{path} has more than {MAX_SOURCES} sources; make one COG of it with gdal_translate")
    for file in found:
        _check_file(path, file)
    return tuple(found)


def _parsed(path: Path) -> ET.Element:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidRaster(f"{path} can't be read: {error.strerror}") from None
    if len(text) > MAX_BYTES:
        raise InvalidRaster(f"{path} is larger than {MAX_BYTES >> 20} MiB; make one COG of it with gdal_translate")
    # no DTD, so no entities that grow or read files; no comments, which GDAL's own parser joins differently
    if b"<!" in text or b"<?" in text[1:].lstrip(b"\xbb\xbf \t\r\n") or b"\0" in text:
        raise _refused(path, "it has a document type, comments, CDATA, instructions or UTF-16 text")
    try:
        return ET.fromstring(text)  # noqa: S314 (entities are ruled out above)
    except (ET.ParseError, RecursionError, LookupError, ValueError) as error:
        raise InvalidRaster(f"{path} is not well-formed XML ({error}); make it again with gdalbuildvrt") from None


def _check(path: Path, element: ET.Element) -> None:
    """Raises InvalidRaster for anything beyond `_ALLOWED` in an element and what it holds."""
    attributes, children = _ALLOWED[element.tag]
    for name in element.attrib:
        if name not in attributes:
            raise _refused(path, f"{element.tag} has {name}={str(element.get(name))[:40]!r}")
    for child in element:
        if child.tag not in children:
            raise _refused(path, f"there is a {str(child.tag)[:40]} in its {element.tag}")
        if child.tag in _CONTAINERS or child.tag == "SourceFilename":
            _check(path, child)
        elif child.tag == "Metadata" and b"OVERVIEW" in ET.tostring(child).upper():
            raise _refused(path, "its metadata names overviews")


def _resolved(path: Path, name: ET.Element, roots: Sequence[Path]) -> Path:
    text = name.text or ""
    if not text or text != text.strip() or not text.isprintable() or text.startswith(("/vsi", "<")) or "://" in text:
        raise _refused(path, f"its source {text[:80]!r} is not a plain file")
    if name.get("relativeToVRT", "0") != "1" and not os.path.isabs(text):
        raise _refused(path, f"its source {text[:80]!r} is neither absolute nor relative to it")
    try:
        return resolve(path.parent / text, roots)
    except GroundlookError as error:
        raise NotAllowed(f"{path} shows a file that may not be read: {error}") from None


def _check_file(path: Path, file: Path) -> None:
    try:
        driver = driver_of(file)
    except InvalidRaster as error:
        raise InvalidRaster(f"{path} can't be shown: {error}") from None
    if driver not in DRIVERS:
        raise _refused(path, f"its source {file.name} is a {driver}")


def _refused(path: Path, why: str) -> InvalidRaster:
    return InvalidRaster(
        f"{path} is not a plain mosaic of files ({why}); make it with gdalbuildvrt, or a COG with gdal_translate"
    )
