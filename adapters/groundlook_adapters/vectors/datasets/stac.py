"""stac-label: a self-contained STAC catalog, one label item per scene. pystac stays in this file.

`catalog.json`, `<scene>/<scene>.json`, `<scene>/regions.geojson`, `<scene>/reviewed.geojson` (outlines of the tiles
that people looked at, with `empty` for those where nothing is), `<scene>/source.json` (the item that the `source` link
names; its asset `image` is the raster). GeoJSON is WGS84. Items follow label 1.0.1 and
projection 2.0; `proj:transform` and `proj:shape` are those of the scene's grid. Geometry is the outline of the grid.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit, urlunsplit

import pystac
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Point, Shape, WholeTile
from groundlook.core.types import Region
from groundlook_adapters.vectors.datasets.coco import clean
from groundlook_adapters.vectors.datasets.parts import DatasetTile, SizeOf, Tally
from groundlook_adapters.vectors.datasets.scenes import Scene, Scenes
from groundlook_adapters.vectors.degrees import allowance, bbox, geojson
from groundlook_adapters.vectors.geometry.shapes import to_geometry, to_map
from groundlook_adapters.vectors.names import scene_name

LABEL = "https://stac-extensions.github.io/label/v1.0.1/schema.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"


@dataclass(slots=True)
class _Kept:
    """What is counted for one scene; its features are on disk. `reach`: the far corner of the tiles, pixels."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    tasks: set[str] = field(default_factory=set)
    tiles: int = 0
    reach: tuple[int, int] = (0, 0)
    written: Counter[str] = field(default_factory=Counter)


class StacLabels:
    """The writer of the format."""

    def __init__(
        self, draft: Path, labels: Sequence[str], size_of: SizeOf | None, exported: datetime, tally: Tally
    ) -> None:
        self._draft, self._labels, self._exported, self._tally = draft, labels, exported, tally
        self._scenes = Scenes(size_of, tally, self._make)

    def add(self, tile: DatasetTile) -> None:
        found = self._scenes.find(tile)
        georef = tile.tile.georef
        if found is None or georef is None:
            return
        _, kept = found
        try:
            outline = geojson(shapely.Polygon(tile.tile.outline()), georef.crs, allowance(georef))
        except InvalidInput as error:
            self._tally.skip_tile("without_lonlat", f"task {tile.task}, {scene_name(tile.tile.source)!r}: {error}")
            return
        features = [f for region in tile.regions if (f := self._feature(region, tile, georef, kept)) is not None]
        about = {"task": tile.task, "annotation": tile.annotation, "tile_uid": tile.tile.uid, "split": tile.split}
        reviewed = _geojson_feature(outline, {**about, "empty": not tile.regions, "regions": len(features)})
        _append(kept, "regions", features)
        _append(kept, "reviewed", [reviewed])
        self._tally.splits[tile.split or "train"] += 1
        kept.tiles += 1
        column, row, width, height = tile.tile.window
        kept.reach = max(kept.reach[0], column + width), max(kept.reach[1], row + height)

    def close(self) -> None:
        catalog = pystac.Catalog(
            id="groundlook-labels",
            title="Labels",
            description=f"Labels of {len(self._scenes.all())} scenes, made in Label Studio, exported by Groundlook.",
        )
        for scene, kept in self._scenes.all():
            for name in ("regions", "reviewed"):
                with _collection(kept, name) as file:
                    file.write("\n]}\n")
            catalog.add_item(self._item(scene, kept))
            self._tally.images += 1
        catalog.normalize_hrefs(str(self._draft / "catalog.json"))
        catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)

    def _make(self, scene: Scene) -> _Kept:
        if scene.georef is None:
            raise InvalidInput("it has no place on Earth, and STAC knows no other; export it as COCO or mask-cog")
        geojson(
            _outline(scene.georef, scene.size or (1, 1)), scene.georef.crs, allowance(scene.georef)
        )  # raises if not on Earth
        kept = _Kept(self._draft / scene.name)
        kept.folder.mkdir()
        for name in ("regions", "reviewed"):
            with _collection(kept, name) as file:
                file.write('{"type":"FeatureCollection","features":[')
        return kept

    def _feature(self, region: Region, tile: DatasetTile, georef: GeoRef, kept: _Kept) -> str | None:
        if region.label not in self._labels:
            self._tally.skip("label_not_in_config")
            return None
        geometry, _ = to_geometry(region.shape, tile.tile.size)
        if geometry is None or geometry.is_empty:
            self._tally.skip("nothing_left")
            return None
        try:
            placed = geojson(to_map(geometry, georef), georef.crs, allowance(georef))
        except InvalidInput:
            self._tally.skip("without_lonlat")
            return None
        kept.counts[region.label] += 1
        kept.tasks.add(_task(region.shape))
        self._tally.regions += 1
        about = {"label": clean(region.label), "origin": region.origin, "score": region.score}
        whence = {"region_id": clean(region.uid), "task": tile.task, "annotation": tile.annotation}
        return _geojson_feature(placed, {**about, **whence, "tile_uid": tile.tile.uid})

    def _item(self, scene: Scene, kept: _Kept) -> pystac.Item:
        if scene.georef is None:
            raise InvalidInput(f"{scene.name} has no georeference")
        size = scene.size or kept.reach
        outline = geojson(_outline(scene.georef, size), scene.georef.crs, allowance(scene.georef))
        acquired = _moment(scene.acquired)
        item = pystac.Item(
            id=scene.name,
            geometry=outline,
            bbox=bbox(outline),
            datetime=acquired or self._exported,
            properties=self._labels_of(kept),
            stac_extensions=[LABEL, PROJECTION],
        )
        if acquired is None:
            item.properties["description"] = "The scene's date is not known: datetime is when its labels were exported."
        for name, title in (("regions", "Labelled regions"), ("reviewed", "Tiles that were reviewed")):
            roles = ["labels"] if name == "regions" else ["metadata"]
            item.add_asset(
                name, pystac.Asset(f"./{name}.geojson", title, media_type="application/geo+json", roles=roles)
            )
        item.properties.update(_projection(scene.georef, size))
        source = _source(item, kept.folder / "source.json", scene)
        item.add_link(pystac.Link("source", source, "application/geo+json", extra_fields={"label:assets": ["image"]}))
        return item

    def _labels_of(self, kept: _Kept) -> dict[str, Any]:
        labels = list(dict.fromkeys(self._labels))
        counts = [{"name": clean(label), "count": kept.counts[label]} for label in labels]
        return {
            "label:type": "vector",
            "label:properties": ["label"],
            "label:classes": [{"name": "label", "classes": [clean(label) for label in labels]}],
            "label:description": f"{kept.counts.total()} regions that people drew on {kept.tiles} reviewed tiles",
            **({"label:tasks": sorted(kept.tasks)} if kept.tasks else {}),
            "label:methods": ["manual"],
            "label:overviews": [{"property_key": "label", "counts": counts}],
        }


def _source(item: pystac.Item, path: Path, scene: Scene) -> pystac.Item:
    """The scene as an item of its own, written to `path`: label 1.0 wants `source` to be one, and pystac opens it."""
    placed = {name: value for name, value in item.properties.items() if not name.startswith("label:")}
    source = pystac.Item(f"{scene.name}-source", item.geometry, item.bbox, item.datetime, placed)
    source.stac_extensions = [PROJECTION]
    where = public_href(scene.source)
    source.add_asset("image", pystac.Asset(where, "The scene", media_type=_media(where), roles=["data"]))
    source.set_self_href(str(path))
    source.save_object(include_self_link=False)
    return source


def _projection(georef: GeoRef, size: tuple[int, int]) -> dict[str, Any]:
    code = georef.crs if re.fullmatch(r"\w+:[\w.]+", georef.crs) else None
    return {
        "proj:code": code,
        **({} if code else {"proj:wkt2": georef.crs}),
        "proj:transform": list(georef.transform),
        "proj:shape": [size[1], size[0]],
    }


def public_href(source: str) -> str:
    """Where the raster is, without what may be secret: the query and the user of a URL."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _outline(georef: GeoRef, size: tuple[int, int]) -> Any:
    return shapely.Polygon(TileRef("", "", (0, 0, *size), georef).outline())


def _task(shape: Shape) -> str:
    if isinstance(shape, WholeTile):
        return "classification"
    return "detection" if isinstance(shape, Box | Point) else "segmentation"


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def _media(source: str) -> str | None:
    return "image/tiff; application=geotiff" if source.lower().endswith((".tif", ".tiff")) else None


def _geojson_feature(geometry: dict[str, Any], properties: dict[str, Any]) -> str:
    body = {"type": "Feature", "properties": properties, "geometry": geometry}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def _append(kept: _Kept, name: str, features: Sequence[str]) -> None:
    if features:
        lead = ",\n" if kept.written[name] else "\n"
        kept.written[name] += len(features)
        with _collection(kept, name) as file:
            file.write(lead + ",\n".join(features))


def _collection(kept: _Kept, name: str) -> TextIO:
    return (kept.folder / f"{name}.geojson").open("a", encoding="utf-8")
