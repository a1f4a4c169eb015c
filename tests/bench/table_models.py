"""Every kind of model trained from scratch on real imagery, scored on ground that it has not seen.

`uv run python tests/bench/table_models.py oam|neon [--model NAME …] [--epochs N] [--seeds 0 1 …] [--seconds S] [--zoom
19|20]` prints a markdown table: each figure is the mean of the seeds ± their standard deviation. OAM: buildings, folds
are whole sites; NEON: crowns, folds are plots. No weights are downloaded; "coco" starts from
../shared/data/weights/yolov5n_state_dict.pt. Areas count where a region's score is .5 or more; mAP50 is of upright
boxes, of all detections down to .05.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
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
GIVEN = ("model", "site", "tiles", "trained on", "objects")
"""What the trainings of one fold have in common, whatever their seed."""
OAM_FOLDS = {19: (("2", "3"), ("5",)), 20: (("1", "2"), ("3", "4"), ("5",))}
"""By zoom, the sites that are held out together."""
SCORED_ONLY = ("1",)
"""Of OAM: half of its tiles are empty and many of its roofs unlabelled, so that nothing is trained on it."""


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=sorted(DEFAULTS))
    parser.add_argument("--model", action="append", choices=sorted(MODELS), help="which; by default those for the data")
    parser.add_argument("--epochs", type=int, help="instead of those that the size of the set asks for")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="a training of every fold for each")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no training after these")
    parser.add_argument("--zoom", type=int, default=19, choices=(19, 20), help="of OAM")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    sites, label = (oam(options.zoom), "Building") if options.data == "oam" else (neon(), "Tree")
    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    parts = folds(options.data, sites, options.zoom)
    for name, seed, (train, held_out) in product(options.model or DEFAULTS[options.data], options.seeds, parts):
        if time.monotonic() - started > options.seconds:
            print(f"no time left for {name}, seed {seed}, {', '.join(held_out)} held out", file=sys.stderr)
            continue
        rows += fold(name, train, held_out, label, options, seed)
    print(table(rows, options.data))


def folds(data: str, sites: Examples, zoom: int) -> list[tuple[list[Example], Examples]]:
    """What to train on and what to score on; everything is scored on once. OAM: whole sites. NEON: of every site, every
    other plot; plots are 40 m squares far apart, and the sites are woods of other kinds."""
    if data == "oam":
        parts = [{site: sites[site] for site in group} for group in OAM_FOLDS[zoom]]
    else:
        parts = [{site: plots[i::2] for site, plots in sites.items()} for i in range(2)]
    found = []
    for part in parts:
        learned = [p[site] for p in parts if p is not part for site in p if site not in SCORED_ONLY]
        found.append(([example for of_site in learned for example in of_site], part))
    return found


def fold(
    name: str, examples: list[Example], held_out: Examples, label: str, options: Any, seed: int
) -> list[dict[str, Any]]:
    """Train on `examples`, score on each site of `held_out`."""
    trainer, load, start = MODELS[name](options, seed)
    print(f"{name}, seed {seed}: {len(examples)} tiles, held out {', '.join(held_out)}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="groundlook-table-") as folder:
        began = time.monotonic()
        weights = trainer.train(examples, (label,), start, Path(folder), tell)
        seconds = time.monotonic() - began
        model = load(ModelCard(ModelVersion(name, "0"), "", trainer.arch, (label,), ""), weights, confidence=0.05)
        rows = []
        for site, of_site in held_out.items():
            row = {"model": name, "seed": seed, "site": site, "tiles": len(of_site), "trained on": len(examples)}
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
    """Markdown, the seeds of a model at a site in one line."""
    if not rows:
        return "nothing was trained"
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        alike.setdefault(tuple(row[n] for n in GIVEN), []).append(row)
    names = [n for n in rows[0] if data == "oam" or n != "pixel IoU"]
    lines = [f"| {' | '.join(names).replace('seed', 'seeds')} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_cell([row[n] for row in group]) for n in names)} |" for group in alike.values()]
    return "\n".join([*lines, "", f"`uv run python tests/bench/table_models.py {' '.join(sys.argv[1:])}`"])


def _cell(values: Sequence[Any]) -> str:
    """Of one column, of the seeds: mean ± standard deviation of fractions, whatever differs of others."""
    if isinstance(values[0], float):
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):.3f}{spread}"
    return ", ".join(dict.fromkeys(str(v) for v in values))


def tell(fraction: float, message: str) -> None:
    """Progress on stderr."""
    print(f"  {fraction:4.0%} {message}", file=sys.stderr, flush=True)


# data


def oam(zoom: int) -> Examples:
    """Per site, tiles of 256 px and the outlines of their buildings, cut to the tile."""
    found: Examples = {}
    for site in sorted(site for group in OAM_FOLDS[zoom] for site in group):
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


def _pixels(arch: str) -> Callable[[Any, int], Made]:
    def make(options: Any, seed: int) -> Made:
        from groundlook.models.segmentation.predict import SegmentationModel
        from groundlook.models.segmentation.train import RECIPE, SegmentationTrainer

        recipe = dataclasses.replace(RECIPE, threads=options.threads, epochs=options.epochs, seed=seed)
        return SegmentationTrainer(arch, recipe=recipe), SegmentationModel.load, None

    return make


def _maskrcnn(arch: str) -> Callable[[Any, int], Made]:
    def make(options: Any, seed: int) -> Made:
        from groundlook.models.maskrcnn.predict import MaskRCNNModel
        from groundlook.models.maskrcnn.train import RECIPE, MaskRCNNTrainer

        recipe = dataclasses.replace(RECIPE, threads=options.threads, epochs=options.epochs, seed=seed)
        return MaskRCNNTrainer(arch, recipe=recipe), MaskRCNNModel.load, None

    return make


def _yolo(arch: str, coco: bool = False) -> Callable[[Any, int], Made]:
    def make(options: Any, seed: int) -> Made:
        from groundlook.models.yolo.predict import YoloModel
        from groundlook.models.yolo.train import YoloTrainer

        start = real_data("weights") / "yolov5n_state_dict.pt" if coco else None
        trainer = YoloTrainer(arch, epochs=options.epochs, seed=seed, threads=options.threads, device="cpu")
        return trainer, YoloModel.load, start

    return make


MODELS: dict[str, Callable[[Any, int], Made]] = {
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
