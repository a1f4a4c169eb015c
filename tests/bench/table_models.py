"""Every kind of model trained from scratch on real imagery, scored on ground that it has not seen.

`uv run python tests/bench/table_models.py oam|neon [--model NAME …] [--epochs N] [--seconds S] [--zoom 19|20]` prints a
markdown table. OAM: buildings, folds are whole sites; NEON: crowns, folds are plots. No weights are downloaded;
"coco" starts from ../shared/data/weights/yolov5n_state_dict.pt. Areas count where a region's score is .5 or more; mAP50
is of upright boxes, of all detections down to .05.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely

from groundlook.core.geo import Tile, TileRef
from groundlook.core.geometry import Polygon
from groundlook.core.ports import Model, Trainer
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Region
from groundlook.demo import places
from groundlook.demo.data import real_data
from groundlook.evaluation.boxes import Boxes
from groundlook.evaluation.pixels import Pixels

Example = tuple[Tile, list[Region]]
Examples = dict[str, list[Example]]
SURE = 0.5
VISIBLE_PX = 6.0
OAM_FOLDS = (("2", "3"), ("5",))


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=sorted(DEFAULTS))
    parser.add_argument("--model", action="append", choices=sorted(MODELS), help="which; by default those for the data")
    parser.add_argument("--epochs", type=int, help="instead of those that the size of the set asks for")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no training after these")
    parser.add_argument("--zoom", type=int, default=19, choices=(19, 20), help="of OAM")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    sites, label = (oam(options.zoom), "Building") if options.data == "oam" else (neon(), "Tree")
    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    for name in options.model or DEFAULTS[options.data]:
        for train, held_out in folds(options.data, sites):
            if time.monotonic() - started > options.seconds:
                print(f"no time left for {name} with {', '.join(held_out)} held out", file=sys.stderr)
                continue
            rows += fold(name, train, held_out, label, options)
    print(table(rows, options.data))


def folds(data: str, sites: Examples) -> list[tuple[list[Example], Examples]]:
    """Twice, what to train on and what to score on. OAM: whole sites. NEON: of every site, every other plot; plots are
    40 m squares far apart, and the sites are woods of other kinds."""
    if data == "oam":
        parts = [{site: sites[site] for site in group} for group in OAM_FOLDS]
    else:
        parts = [{site: plots[i::2] for site, plots in sites.items()} for i in range(2)]
    return [([e for of_site in parts[1 - i].values() for e in of_site], parts[i]) for i in range(2)]


def fold(name: str, examples: list[Example], held_out: Examples, label: str, options: Any) -> list[dict[str, Any]]:
    """Train on `examples`, score on each site of `held_out`."""
    trainer, load, start = MODELS[name](options)
    print(f"{name}: {len(examples)} tiles, held out {', '.join(held_out)}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="groundlook-table-") as folder:
        began = time.monotonic()
        weights = trainer.train(examples, (label,), start, Path(folder), tell)
        seconds = time.monotonic() - began
        model = load(ModelCard(ModelVersion(name, "0"), "", trainer.arch, (label,), ""), weights, confidence=0.05)
        rows = []
        for site, of_site in held_out.items():
            row = {"model": name, "site": site, "tiles": len(of_site), "trained on": len(examples)}
            rows.append({**row, **score(model, of_site, label), "train s": round(seconds)})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def score(model: Model, examples: Sequence[tuple[Tile, list[Region]]], label: str) -> dict[str, Any]:
    """Pixel IoU of sure regions, mAP50 of all."""
    boxes, pixels, spent = Boxes((label,)), Pixels((label,)), 0.0
    for tile, regions in examples:
        began = time.monotonic()
        prediction = model.predict([tile])[0]
        spent += time.monotonic() - began
        boxes.add(prediction, regions, tile.size)
        pixels.add(_sure(prediction), regions, tile.size)
    found = boxes.result()
    per_tile = 1000 * spent / max(len(examples), 1)
    iou = pixels.result()["mean_iou"]
    return {"objects": int(found["objects"]), "pixel IoU": iou, "mAP50": found["map50"], "ms a tile": round(per_tile)}


def _sure(prediction: Prediction) -> Prediction:
    return dataclasses.replace(prediction, regions=tuple(r for r in prediction.regions if (r.score or 0) >= SURE))


def table(rows: Sequence[dict[str, Any]], data: str) -> str:
    """Markdown."""
    if not rows:
        return "nothing was trained"
    names = [n for n in rows[0] if data == "oam" or n != "pixel IoU"]
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for row in rows:
        cells = [f"{row[n]:.3f}" if isinstance(row[n], float) else str(row[n]) for n in names]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`uv run python tests/bench/table_models.py {' '.join(sys.argv[1:])}`"])


def tell(fraction: float, message: str) -> None:
    """Progress on stderr."""
    print(f"  {fraction:4.0%} {message}", file=sys.stderr, flush=True)


# data


def oam(zoom: int) -> Examples:
    """Per site, tiles of 256 px and the outlines of their buildings, cut to the tile. Sites as in demo/places.py."""
    found: Examples = {}
    for site in places.OAM_SITES:
        root = real_data("oam_buildings") / site
        rings = [shapely.make_valid(shapely.Polygon(r)) for r in places._footprints(root / "labels.geojson")]
        paths = sorted(root.glob(f"OAM-*-{zoom}.png"))
        found[site] = [(tile(p), _buildings(p, rings)) for p in paths]
    return found


def _buildings(path: Path, rings: Sequence[Any]) -> list[Region]:
    georef = places.slippy(path.name)
    corners = georef.to_map(np.array([[0, 0], [256, 0], [256, 256], [0, 256]], np.float64))
    regions = []
    for ring in rings:
        for part in shapely.get_parts(ring.intersection(shapely.Polygon(corners))):
            if isinstance(part, shapely.Polygon) and not part.is_empty:
                points = georef.to_pixel(np.array(part.exterior.coords)[:-1])
                if (points.max(axis=0) - points.min(axis=0)).min() >= VISIBLE_PX:
                    regions.append(Region(Polygon(tuple((float(x), float(y)) for x, y in points)), "Building"))
    return regions


def neon() -> Examples:
    """Per site, plots and the boxes of their crowns."""
    data = places.neon(real_data("neon_trees"))
    found: Examples = {}
    for path in data.paths:
        picture = tile(path)
        ref = TileRef(str(path), "", (0, 0, *picture.size))
        found.setdefault(path.parent.name, []).append((picture, data.truth_for(ref)))
    return found


def tile(path: Path) -> Tile:
    """RGB of a PNG or GeoTIFF."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(path)
    return Tile(np.ascontiguousarray(picture[:, :, ::-1]))


# models

Made = tuple[Trainer, Callable[..., Model], Path | None]


def _pixels(arch: str) -> Callable[[Any], Made]:
    def make(options: Any) -> Made:
        from groundlook.models.segmentation.predict import SegmentationModel
        from groundlook.models.segmentation.train import RECIPE, SegmentationTrainer

        recipe = dataclasses.replace(RECIPE, threads=options.threads, epochs=options.epochs)
        return SegmentationTrainer(arch, recipe=recipe), SegmentationModel.load, None

    return make


def _maskrcnn(arch: str) -> Callable[[Any], Made]:
    def make(options: Any) -> Made:
        from groundlook.models.maskrcnn.predict import MaskRCNNModel
        from groundlook.models.maskrcnn.train import RECIPE, MaskRCNNTrainer

        recipe = dataclasses.replace(RECIPE, threads=options.threads, epochs=options.epochs)
        return MaskRCNNTrainer(arch, recipe=recipe), MaskRCNNModel.load, None

    return make


def _yolo(arch: str, coco: bool = False) -> Callable[[Any], Made]:
    def make(options: Any) -> Made:
        from groundlook.models.yolo.predict import YoloModel
        from groundlook.models.yolo.train import YoloTrainer

        start = real_data("weights") / "yolov5n_state_dict.pt" if coco else None
        trainer = YoloTrainer(arch, epochs=options.epochs, threads=options.threads, device="cpu")
        return trainer, YoloModel.load, start

    return make


MODELS: dict[str, Callable[[Any], Made]] = {
    "unet": _pixels("unet-resnet18"),
    "deeplabv3+": _pixels("deeplabv3plus-resnet18"),
    "maskrcnn": _maskrcnn("maskrcnn-resnet18-fpn"),
    "yolo-seg": _yolo("yolo11t-seg.yaml"),
    "yolo": _yolo("yolo11t.yaml"),
    "yolo-coco": _yolo("yolov5n.yaml", coco=True),
    "yolo-obb": _yolo("yolo11t-obb.yaml"),
}
DEFAULTS = {
    "oam": ("unet", "deeplabv3+", "maskrcnn", "yolo-seg", "yolo-coco", "yolo-obb"),
    "neon": ("yolo-coco", "yolo-obb"),
}

if __name__ == "__main__":
    main()
