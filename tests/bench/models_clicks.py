"""Clicks of smart tools over HTTP, for `bench models`: how fast, how seldom a picture is encoded, how steady.

The peer is segment_anything's own SamPredictor in eager float32 PyTorch, with the same weights on the same pixels.
Speed is measured on the full-size ViT-B with seeded random weights, steadiness on the small SAM of the tests. A quick
run takes the small one for both, and does not look for the fastest runtime first.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import rasterio
from numpy.typing import NDArray

from groundlook.core.mask import Mask
from groundlook.service.bench import Goal, Result, Turns, in_turns, percentile
from groundlook_adapters.labelstudio.rle import encode_mask
from groundlook_adapters.rasters.reading.read import read_rgb
from groundlook_adapters.rasters.tiling.geotile import tile_ref

sys.path.insert(0, str(Path(__file__).parent))
from clicks_house import TINY, ClicksHouse, Item, clicks_house, paint, regions

SIDE, REGIONS, USERS = 1024, 500, 8
ARCH = "vit_b"
COVER = 0.1
PEER = "SamPredictor, eager PyTorch"
_NO_PROMPTS = b'"context": {"result": []}'
Call = tuple[int, list[Item]]
EAGER = {"GROUNDLOOK_RUNTIME": "torch eager"}


def run(quick: bool) -> Iterator[Result]:
    """The cases: speed first, then 1,000 clicks by 8 users (250 in a quick run)."""
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as folder:
        speed, steady = Path(folder) / "speed", Path(folder) / "steady"
        if quick:
            yield from _speed(speed, "tiny", 3, 30, EAGER)
            yield from _steady(steady, 10, 250, EAGER)
        else:
            yield from _speed(speed, ARCH, 4, 200, {})
            yield from _steady(steady, 50, 1000, {})


def full_size(folder: Path, pixels: NDArray[np.uint8], arch: str = ARCH, seed: int = 4) -> Path:
    """A network of its full size with seeded random weights, as safetensors, half precision.

    What random weights draw is noise, a megabyte of it, and no object. So the last layers are made to draw no detail
    within a cell of the embedding, and their biases are moved until a click on `pixels` gives masks that cover `COVER`
    of the picture: a thousand runs and more, where a building has some hundreds.
    """
    import torch

    from groundlook.models.sam.architectures import ARCHS
    from groundlook.models.weights.file import Weights, save

    torch.manual_seed(seed)
    sam = ARCHS[arch].build()
    decoder: Any = sam.mask_decoder
    with torch.no_grad():
        for layer in (decoder.output_upscaling[0], decoder.output_upscaling[3]):
            layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True).expand_as(layer.weight))
        decoder.output_upscaling[3].weight[:, 0] = 0  # a channel that is the same everywhere…
        decoder.output_upscaling[3].bias[0] = 1
        last = [mlp.layers[-1] for mlp in decoder.output_hypernetworks_mlps]
        for layer in last:
            layer.weight[0], layer.bias[0] = 0, 0
        side = float(pixels.shape[0])
        for multiple, first in ((True, 1), (False, 0)):
            logits = Predictor(sam).click(pixels, side / 2, side / 2, multiple)
            for layer, one in zip(last[first:], logits, strict=False):  # …moves all logits of a mask
                layer.bias[0] = -float(np.quantile(one, 1 - COVER)) / float(torch.nn.functional.gelu(torch.ones(())))
    state = {name: value.half() if value.is_floating_point() else value for name, value in sam.state_dict().items()}
    return save(folder / f"sam_{arch}.safetensors", Weights(state))


def _network(arch: str, weights: Path) -> Any:
    """As segment_anything computes with it: float32."""
    from groundlook.models.sam.architectures import ARCHS
    from groundlook.models.weights.file import read

    sam: Any = ARCHS[arch].build()
    sam.load_state_dict({name: value.float() for name, value in read(weights).state.items()})
    return sam.eval()


# speed


def _speed(home: Path, arch: str, images: int, clicks: int, environ: Mapping[str, str]) -> Iterator[Result]:
    """Of one user, one click after the other; every click is a new place."""
    home.mkdir()
    painted = paint(home / "rasters" / "scene.tif", images, 1, SIDE)
    weights = TINY if arch == "tiny" else full_size(home, _pixels(painted.path), arch)
    predictor = Predictor(_network(arch, weights))
    with clicks_house(home, painted, weights, environ) as house, house.client() as client:
        house.ready(client)
        asker = Asker(house, client)
        cold = in_turns(asker.first(), lambda i: predictor.click(*asker.pixels(1 + i)), images - 1, warm=0)
        before = house.encodes(client)
        warm = in_turns(asker.click(images), lambda i: predictor.again(*asker.spot()), clicks, warm=10)
        crowded = in_turns(asker.click(images, _crowd(painted.objects[0])), asker.click(images), clicks, warm=10)
        yield from _clicks(f"warm click, {arch}, {SIDE}²", warm, f"{PEER}, image set before")
        yield from _clicks(f"warm click, {arch}, {REGIONS} regions on the task", crowded, "nothing on the task")
        yield from _against_uncached(arch, warm, cold)
        share = float(np.mean(asker.drawn))  # answers by nothing would be quick
        yield Result("share of these clicks that drew something", share, "", Goal("ours", ">", 0.5), len(asker.drawn))
        yield _none(f"encodes in {3 * clicks} clicks on images seen before", house.encodes(client) - before, 3 * clicks)
    with clicks_house(home, painted, weights, environ) as house, house.client() as client:
        house.ready(client)
        for image in range(images):
            Asker(house, client).click(images)(image)
        yield _none("encodes on a revisit after a restart", house.encodes(client), images)


def _clicks(name: str, turns: Turns, peer: str) -> Iterator[Result]:
    for share, limit in ((0.5, 80.0), (0.95, 160.0)):
        ours = percentile(turns.ours, share) * 1000
        other = percentile(turns.peer, share) * 1000
        case, goal = f"p{share * 100:.0f} of a {name}, HTTP included", Goal("ours", "<", limit)
        yield Result(case, ours, "ms", goal, len(turns.ours), other, peer, min(turns.ours) * 1000)


def _against_uncached(arch: str, warm: Turns, cold: Turns) -> Iterator[Result]:
    ours, goal = percentile(warm.ours, 0.5) * 1000, Goal("ratio", "<", 1 / 20)
    for name, seconds in ((f"{PEER}, set_image + predict", cold.peer), ("our own first click on an image", cold.ours)):
        peer = percentile(seconds, 0.5) * 1000
        yield Result(f"p50 of a warm click, {arch}, against uncached", ours, "ms", goal, len(warm.ours), peer, name)


def _none(name: str, found: int, repeats: int) -> Result:
    return Result(name, float(found), "encodes", Goal("ours", "<", 1.0), repeats)


class Predictor:
    """The peer: what a backend around segment_anything does."""

    def __init__(self, sam: Any) -> None:
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(sam)

    def click(self, pixels: NDArray[np.uint8], x: float, y: float, multiple: bool = True) -> NDArray[np.float32]:
        """Image and click: nothing is kept. Logits float32 (masks, h, w)."""
        self._predictor.set_image(pixels)
        return self.again(x, y, multiple)

    def again(self, x: float, y: float, multiple: bool = True) -> NDArray[np.float32]:
        """A click on the image that was set last."""
        found = self._predictor.predict(np.array([[x, y]]), np.array([1]), multimask_output=multiple)
        logits: NDArray[np.float32] = found[2]
        return logits


def _pixels(path: Path) -> NDArray[np.uint8]:
    """The first tile of a raster."""
    with rasterio.open(path) as dataset:
        found: NDArray[np.uint8] = dataset.read(window=rasterio.windows.Window(0, 0, SIDE, SIDE))
    return np.ascontiguousarray(found.transpose(1, 2, 0))


@dataclass(slots=True)
class Asker:
    """Clicks at new places all the time."""

    house: ClicksHouse
    client: httpx.Client
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    drawn: list[bool] = field(default_factory=list)
    """Whether each answer has a region: not every click of a network without training has."""

    def spot(self) -> tuple[float, float]:
        """Somewhere on a tile, px."""
        x, y = self.rng.uniform(20, SIDE - 20, 2)
        return float(x), float(y)

    def pixels(self, image: int) -> tuple[NDArray[np.uint8], float, float]:
        """What the peer is given: reading is no work of its."""
        ref = tile_ref(self.house.bodies[image])
        if ref is None:
            raise RuntimeError(f"task {image} has no tile")
        return (read_rgb(ref.source, ref.window, ref.render, [Path(ref.source).parent]), *self.spot())

    def first(self) -> Callable[[int], None]:
        """Image 1, 2, …: none was opened before."""
        return lambda i: self._send(1 + i, {})

    def click(self, images: int, more: dict[str, Any] | None = None) -> Callable[[int], None]:
        """One image after the other; `more` is on every task."""
        kept = {} if more is None else more
        bodies = [json.dumps(self.house.body(i, [], **kept)).encode() for i in range(images)]  # not the service's work

        def ask(i: int) -> None:
            item = json.dumps(self.house.point(*self.spot())).encode()
            self._post(bodies[i % images].replace(_NO_PROMPTS, b'"context": {"result": [%s]}' % item))

        return ask

    def _send(self, image: int, more: dict[str, Any]) -> None:
        self._post(json.dumps(self.house.body(image, [self.house.point(*self.spot())], **more)).encode())

    def _post(self, body: bytes) -> None:
        reply = self.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        if reply.status_code != 200:
            raise RuntimeError(f"HTTP {reply.status_code}: {reply.text[:300]}")
        self.drawn.append(b'"type":"' in reply.content)


def _crowd(objects: NDArray[np.int32]) -> dict[str, Any]:
    """500 regions as Label Studio sends them along: outlines and masks, in annotations, predictions and drafts."""
    rle = encode_mask(Mask.of(objects == 1))
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([50 + 7 * np.cos(turn), 50 + 5 * np.sin(turn)], axis=1).tolist()

    def region(i: int) -> Item:
        size = {"original_width": SIDE, "original_height": SIDE, "image_rotation": 0, "to_name": "image"}
        brush = {"type": "brushlabels", "value": {"format": "rle", "rle": rle, "brushlabels": ["Building"]}}
        ringed = {"type": "polygonlabels", "value": {"points": ring, "closed": True, "polygonlabels": ["Building"]}}
        return {**size, "id": f"r{i}", "from_name": "brush", "origin": "manual", **(ringed if i % 2 else brush)}

    every = [region(i) for i in range(REGIONS)]
    kept = {"annotations": every[:300], "predictions": every[300:400], "drafts": every[400:]}
    return {name: [{"id": 1, "result": items}] for name, items in kept.items()}


# steadiness


def _steady(home: Path, images: int, clicks: int, environ: Mapping[str, str]) -> Iterator[Result]:
    """`clicks` by 8 users over `images`, twice: one after the other, then all at once."""
    home.mkdir()
    painted = paint(home / "rasters" / "scene.tif", images, 1, 512)
    rng = np.random.default_rng(9)
    with clicks_house(home, painted, TINY, environ) as house, house.client() as client:
        house.ready(client)
        asked = [(int(rng.integers(images)), [house.point(*rng.uniform(4, 508, 2))]) for _ in range(clicks)]
        serial = [_answer(house, client, call) for call in asked]
        rss: list[int] = []

        def one(own: httpx.Client, call: Call) -> list[Item] | None:
            found = _answer(house, own, call)
            rss.append(house.process.memory_info().rss)
            return found

        house.at_once(USERS, one, asked[: clicks // 2])  # threads and their pools of memory
        rss.clear()
        found = house.at_once(USERS, one, asked)
    wrong = sum(a != b for a, b in zip(serial, found, strict=True) if a is not None and b is not None)
    failed = sum(answer is None for answer in (*serial, *found))
    what = f"of {clicks} clicks on {images} images by {USERS} users"
    slope = float(np.polyfit(np.arange(len(rss)), np.asarray(rss) / 1e6, 1)[0] * 100)
    yield Result(f"RSS slope {what}", round(slope, 4) + 0.0, "MB/100", Goal("ours", "<", 1.0), clicks)
    yield Result(f"errors {what}", float(failed), "errors", Goal("ours", "<", 1.0), clicks)
    yield Result(f"answers {what} that differ from one user's", float(wrong), "answers", Goal("ours", "<", 1.0), clicks)


def _answer(house: ClicksHouse, client: httpx.Client, call: Call) -> list[Item] | None:
    try:
        return regions(client.post("/predict", json=house.body(*call)))
    except (RuntimeError, httpx.HTTPError):
        return None
