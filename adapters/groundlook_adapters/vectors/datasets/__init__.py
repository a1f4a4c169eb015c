"""Reviewed tiles → a training dataset on disk: COCO, YOLO, YOLO-OBB, Pascal VOC, class masks, STAC labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Progress
from groundlook_adapters.vectors.datasets.coco import Coco
from groundlook_adapters.vectors.datasets.folder import LISTING, complete_or_nothing, write_listing
from groundlook_adapters.vectors.datasets.images import Pictures
from groundlook_adapters.vectors.datasets.parts import (
    FORMS,
    DatasetReport,
    DatasetTile,
    Form,
    Picture,
    SizeOf,
    Tally,
    Writer,
)
from groundlook_adapters.vectors.datasets.voc import Voc
from groundlook_adapters.vectors.datasets.yolo import Yolo

__all__ = ["FORMS", "DatasetReport", "DatasetTile", "Form", "export_dataset"]

_EVERY = 20
"""Tiles between two reports of progress."""


def _silent(share: float, message: str) -> None:
    pass


def export_dataset(
    folder: Path,
    form: Form,
    tiles: Iterable[DatasetTile],
    labels: Sequence[str],
    picture: Picture | None,
    image_format: str = "jpg",
    overwrite: bool = False,
    progress: Progress = _silent,
    *,
    total: int = 0,
    size_of: SizeOf | None = None,
    exported: datetime | None = None,
) -> DatasetReport:
    """Write `tiles`, consumed once and held one at a time, as a dataset in `folder`: all of it or nothing.

    `labels`: the config's, in its order; regions with another label are counted and left out. `picture` is asked for
    the formats that hold pictures, never for mask-cog and stac-label; a tile whose picture can't be made is counted
    and left out; None names the pictures only. `overwrite` replaces a dataset that we wrote, never another folder.
    `total`: how many tiles there will be, for `progress`. `size_of`: the size of a tile's scene; mask-cog needs it,
    stac-label takes the extent of the tiles without it. `exported`: stands in for the date of scenes that have none
    (stac-label), now by default.

    Raises InvalidInput: an unknown form or image format, something in the way, no room on the disk, more than 254
    labels (mask-cog), no `size_of` (mask-cog).
    """
    if form not in FORMS:
        raise InvalidInput(f"dataset form {form!r}: use {', '.join(FORMS)}")
    tally = Tally()
    with complete_or_nothing(folder, overwrite) as draft:
        writer = _writer(form, draft, labels, picture, image_format, tally, size_of, exported)
        for tile in tiles:
            writer.add(tile)
            tally.tiles += 1
            if tally.tiles % _EVERY == 0:
                progress(0.95 * min(tally.tiles / total, 1.0) if total > 0 else 0.0, f"{tally.tiles} tiles")
        progress(0.95, f"{tally.tiles} tiles; completing the files")
        writer.close()
        files = write_listing(draft)
    progress(1.0, f"{tally.tiles} tiles, {tally.regions} regions")
    return DatasetReport(
        folder=folder,
        form=form,
        files=files,
        listing=folder / LISTING,
        tiles=tally.tiles,
        images=tally.images,
        regions=tally.regions,
        clipped=tally.clipped,
        splits=dict(tally.splits),
        skipped=dict(tally.skipped),
        problems=tuple(tally.problems),
    )


def _writer(
    form: Form,
    draft: Path,
    labels: Sequence[str],
    picture: Picture | None,
    image_format: str,
    tally: Tally,
    size_of: SizeOf | None,
    exported: datetime | None,
) -> Writer:
    if form == "mask-cog":
        from groundlook_adapters.vectors.datasets.masks import Masks  # GDAL is not loaded for text formats

        return Masks(draft, labels, size_of, tally)
    if form == "stac-label":
        from groundlook_adapters.vectors.datasets.stac import StacLabels

        return StacLabels(draft, labels, size_of, exported or datetime.now(UTC), tally)
    pictures = Pictures(draft, "JPEGImages" if form == "voc" else "images/{split}", picture, image_format, tally)
    if form == "coco":
        return Coco(draft, labels, pictures, tally)
    if form == "voc":
        return Voc(draft, labels, pictures, tally)
    return Yolo(draft, labels, pictures, tally, turned=form == "yolo-obb")
