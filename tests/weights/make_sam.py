"""Train the small SAM of the tests, and write tests/weights/sam_tiny.safetensors with its calibration.

    uv run python -m tests.weights.make_sam            # 4 minutes of one core, none of it waiting

A convolutional encoder with segment_anything's own prompt encoder and mask decoder, from scratch, on painted villages
and plain blocks. As SAM was trained (Kirillov et al. 2023, appendix A): a point or a box first, then a click where the
answer is wrong, with the earlier logits as mask input; the quality head learns the IoU itself. Three things make it
quick: the encoder begins alone; most steps see a window of a quarter of the square, which costs a quarter; and
matrices are moved by Muon.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from segment_anything.modeling.common import LayerNorm2d

from groundlook.core.mask import Mask
from groundlook.core.prompts import Picture
from groundlook.models.sam import quality
from groundlook.models.sam.architectures import ARCHS
from groundlook.models.sam.asked import BOTTOM_RIGHT, NEGATIVE, PAD, POSITIVE, TOP_LEFT
from groundlook.models.sam.calibrate import fit, pairs
from groundlook.models.sam.decoder import Decoder
from groundlook.models.weights.file import Weights, save
from tests.weights.house import TINY, held_out, picture, tiny
from tests.weights.muon import Muon
from tests.weights.scenery import Labelled, blocks, crop, village

ARCH = ARCHS["tiny"]
SCENE = 1280
TRAINING, CALIBRATION = 100, 5000  # seeds, far from those of the tests
LEAST = 120  # px of an object
WINDOW, STEP = 128, 8  # px; STEP: of a cell
GAIN, SIDE = 2.5, 1.3
TWICE = 0.3  # how often an answer is corrected once
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class Batch:
    """`pixels`: float32 (B, 3, S, S), as the encoder takes them: of a window, where S is less than the square's side.
    `masks`: bool (B·K, S, S), K objects of each picture. `points`, `labels`: (B·K, 2, 2) and (B·K, 2), the first
    prompts, in the window. `corners`: (B·K, 2), where the window lies in the square: x, y, whole cells in px.
    `objects`: int32 (B, S, S), see Labelled."""

    pixels: torch.Tensor
    objects: NDArray[np.int32]
    masks: NDArray[np.bool_]
    points: NDArray[np.float32]
    labels: NDArray[np.float32]
    corners: NDArray[np.float32]


def scenes(seed: int, count: int) -> list[Labelled]:
    return [village(SCENE, seed + i) for i in range(count)]


def sample(source: list[Labelled], rng: np.random.Generator) -> Labelled:
    """A picture as the encoder sees it, of one of two kinds, at any scale."""
    return blocks(ARCH.size, rng) if rng.random() < 0.4 else _village(source, rng, ARCH.size)


def window(source: list[Labelled], rng: np.random.Generator) -> Labelled:
    """A part of such a picture."""
    if rng.random() < 0.6:
        return _village(source, rng, WINDOW)
    whole = blocks(ARCH.size, rng)
    y, x = rng.integers(0, (ARCH.size - WINDOW) // STEP + 1, 2) * STEP
    part = slice(y, y + WINDOW), slice(x, x + WINDOW)
    return Labelled(whole.pixels[part], whole.objects[part])


def _village(source: list[Labelled], rng: np.random.Generator, out: int) -> Labelled:
    side = round(np.exp(rng.uniform(np.log(144), np.log(448))) * out / ARCH.size)
    return crop(source[int(rng.integers(len(source)))], side, out, rng)


def batch(source: list[Labelled], rng: np.random.Generator, side: int, pictures: int, prompts: int) -> Batch:
    """`side`: WINDOW, or the whole square's. `prompts`: K, of each picture."""
    pixels, objects, masks, corners = [], [], [], []
    while len(pixels) < pictures:
        picture = sample(source, rng) if side == ARCH.size else window(source, rng)
        corner = rng.integers(0, (ARCH.size - side) // STEP + 1, 2) * STEP
        found = picture.masks(LEAST)
        if not found:
            continue
        masks += [found[i] for i in rng.choice(len(found), prompts, replace=len(found) < prompts)]
        corners += [corner] * prompts
        shade = picture.pixels * rng.uniform(0.8, 1.2, 3) + rng.uniform(-15, 15)
        pixels.append(np.clip(shade, 0, 255))
        objects.append(picture.objects)
    points, labels = zip(*(first(mask, rng) for mask in masks), strict=True)
    return Batch(
        normal(np.stack(pixels)),
        np.stack(objects),
        np.stack(masks),
        np.stack(points),
        np.stack(labels),
        np.array(corners, np.float32),
    )


def normal(pixels: NDArray[np.generic]) -> torch.Tensor:
    """(B, S, S, 3), 0…255 → float32 (B, 3, S, S)."""
    scaled = (pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(scaled).permute(0, 3, 1, 2)  # channels stay last in memory: convolutions are quicker so


def first(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A point inside, half of them deep inside, and no second one; or a more or less loose box: (2, 2) and (2,)."""
    ys, xs = np.nonzero(mask)
    if rng.random() < 0.45:
        if rng.random() < 0.5:
            depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
            ys, xs = np.nonzero(depth >= 0.6 * depth.max())
        i = int(rng.integers(len(ys)))
        return np.array([[xs[i], ys[i]], [0, 0]], np.float32), np.array([POSITIVE, PAD], np.float32)
    box = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]], np.float32)
    loose = rng.normal(0, 0.08 * rng.random(), (2, 2)) * (box[1] - box[0])
    return (box + np.clip(loose, -8, 8)).astype(np.float32), np.array([TOP_LEFT, BOTTOM_RIGHT], np.float32)


def wrong(
    logits: torch.Tensor, masks: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One more click for each object, where its answer is wrong: (N, 1, 2) and (N, 1)."""
    points, labels = [], []
    for answer, mask in zip(logits.numpy(), masks, strict=True):
        found = cv2.resize(answer, mask.shape, interpolation=cv2.INTER_LINEAR) > 0
        missed = found != mask
        ys, xs = np.nonzero(missed if missed.any() else mask)
        i = int(rng.integers(len(ys)))
        points.append([[xs[i], ys[i]]])
        labels.append([POSITIVE if mask[ys[i], xs[i]] else NEGATIVE])
    return np.array(points, np.float32), np.array(labels, np.float32)


def losses(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Focal loss by object area, and dice, of each mask: (N, M). `wanted`: (N, 1, h, w), how much of a cell is in."""
    target = wanted.expand_as(logits)
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    inside = logits.sigmoid()
    focal = (cross * (inside - target).square()).sum((2, 3)) / (wanted.sum((2, 3)) + 20)
    dice = 1 - (2 * (inside * target).sum((2, 3)) + 1) / (inside.sum((2, 3)) + target.sum((2, 3)) + 1)
    return focal + dice


def overlap(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """IoU of each mask, (N, M)."""
    found, target = logits > 0, (wanted > 0.5).expand_as(logits)
    return (found & target).sum((2, 3)) / (found | target).sum((2, 3)).clamp(min=1)


def look_where_asked(sam: torch.nn.Module) -> None:
    """Begin with attention between prompts and cells that knows where things are; otherwise most of the training goes
    into finding that. Half of the heads project both alike, so that near places attend to each other. One head tells
    right from left of a prompt, and one below from above: over a few waves, sin(cell − prompt), which is what makes the
    inside of a box."""
    transformer = sam.mask_decoder.transformer
    waves = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    for layer in transformer.layers:
        _align(layer.cross_attn_token_to_image.q_proj, layer.cross_attn_token_to_image.k_proj, waves)
        _align(layer.cross_attn_image_to_token.k_proj, layer.cross_attn_image_to_token.q_proj, waves)
    last = transformer.final_attn_token_to_image
    _align(last.q_proj, last.k_proj, waves)


def _align(prompt: torch.nn.Linear, cell: torch.nn.Linear, waves: torch.Tensor) -> None:
    """Projections of 4 heads of 12, of places encoded as 48 sines and 48 cosines; `waves`: (2, 48), x then y."""
    size, count = prompt.out_features // 4, waves.shape[1]
    with torch.no_grad():
        prompt.weight.mul_(GAIN)
        cell.weight.copy_(prompt.weight)
        for axis in (0, 1):
            along, across = waves[axis].abs(), waves[1 - axis].abs()
            slanted = across / along + 10 * ((along < 0.2) | (along > 1.2))
            best = slanted.argsort()[: size // 2]
            rows = torch.arange(size // 2) + (2 + axis) * size
            for side in (prompt, cell):
                side.weight[(2 + axis) * size : (3 + axis) * size] = 0
            cell.weight[rows, best] = cell.weight[rows + size // 2, best + count] = SIDE
            sign = waves[axis, best].sign() * SIDE
            prompt.weight[rows, best + count], prompt.weight[rows + size // 2, best] = sign, -sign


class Lessons(torch.nn.Module):
    """What the encoder learns besides, thrown away afterwards: of each cell, how much of each sixteenth is something,
    and how far the middle and the four sides of that thing are. Masks alone teach it in hours what this does in
    minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Conv2d(ARCH.channels, 68, 1)  # 22 are used; the kept weights come of this draw

    def forward(self, embedding: torch.Tensor, objects: NDArray[np.int32]) -> torch.Tensor:
        said = self.head(embedding).float()
        thing = torch.from_numpy(objects > 0).float().unsqueeze(1)
        parts = torch.nn.functional.avg_pool2d(thing, ARCH.size // ARCH.low)
        parts = torch.nn.functional.pixel_unshuffle(parts, 4)
        here = torch.from_numpy(objects[:, STEP // 2 :: STEP, STEP // 2 :: STEP] > 0).unsqueeze(1)
        which = torch.nn.functional.binary_cross_entropy_with_logits(said[:, :16], parts)
        far = torch.from_numpy(_far(objects)) / 32
        middle, sides = ((said[:, 16:18] - far[:, :2]).abs() * here, (said[:, -4:] - far[:, 2:]).abs() * here)
        cells = here.sum()
        loss: torch.Tensor = 2 * which + middle.sum() / (cells * 2 + 1) + sides.sum() / (cells * 4 + 1)
        return loss


def _far(objects: NDArray[np.int32]) -> NDArray[np.float32]:
    """From each cell's middle to what the thing in it has: (B, 6, h, w), px. Its middle, x then y; its sides, outwards:
    left, upper, right, lower."""
    found = []
    for numbers in objects:
        boxes = np.zeros((int(numbers.max()) + 1, 4), np.float32)
        for i, place in enumerate(find_objects(numbers), 1):
            if place is not None:
                boxes[i] = place[1].start, place[0].start, place[1].stop, place[0].stop
        x0, y0, x1, y1 = boxes[numbers[STEP // 2 :: STEP, STEP // 2 :: STEP]].transpose(2, 0, 1)
        y, x = np.mgrid[: x0.shape[0], : x0.shape[1]].astype(np.float32) * STEP + STEP / 2
        found.append(np.stack([(x0 + x1) / 2 - x, (y0 + y1) / 2 - y, x - x0, y - y0, x1 - x, y1 - y]))
    return np.stack(found)


class Room:
    """Trains a network. `sam` is left in training's layout: write its state, don't use it."""

    def __init__(self, sam: torch.nn.Module, source: list[Labelled], rng: np.random.Generator) -> None:
        self.sam, self.source, self.rng = sam.train(), source, rng
        self.lessons = Lessons()
        self.decoder = Decoder(sam)
        self.place = self.decoder.place
        sam.image_encoder.to(memory_format=torch.channels_last)

    def begin(self, steps: int) -> None:
        """The encoder alone, with its lessons, on windows."""
        for step in _steps([self.sam.image_encoder, self.lessons], (3e-3, 3e-3), steps, "the encoder alone"):
            given = batch(self.source, self.rng, WINDOW, 16, 1)
            step(self.lessons(self._seen(given).float(), given.objects))

    def learn(self, steps: int, side: int, pictures: int, rates: tuple[float, float]) -> None:
        """All of it, four objects of each picture."""
        for step in _steps([self.sam, self.lessons], rates, steps, f"{side} px"):
            step(*self._lesson(batch(self.source, self.rng, side, pictures, 4)))

    def _seen(self, given: Batch) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            embedding: torch.Tensor = self.sam.image_encoder(given.pixels)
        return embedding

    def _answer(self, given: Batch, *asked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The decoder on a window: only the cells in it, each with its place in the square."""
        cells = given.pixels.shape[-1] // STEP
        at = (given.corners // STEP).astype(int)
        self.decoder.place = torch.cat([self.place[:, :, y : y + cells, x : x + cells] for x, y in at])
        whole, self.sam.prompt_encoder.image_embedding_size = self.sam.prompt_encoder.image_embedding_size, (cells,) * 2
        with torch.autocast("cpu", torch.bfloat16):
            logits, quality = self.decoder(*asked)
        self.sam.prompt_encoder.image_embedding_size = whole
        return logits.float(), quality.float()

    def _lesson(self, given: Batch) -> tuple[torch.Tensor, float]:
        """The loss, and the mean IoU of the first answers."""
        embedding = self._seen(given)
        total = 0.5 * self.lessons(embedding.float(), given.objects)
        embedding = embedding.repeat_interleave(len(given.masks) // len(given.pixels), 0)
        wanted = torch.from_numpy(given.masks).float().unsqueeze(1)
        wanted = torch.nn.functional.avg_pool2d(wanted, ARCH.size // ARCH.low)
        every = torch.arange(len(wanted))
        points, labels = given.points, given.labels
        mask, has = torch.zeros_like(wanted), torch.zeros(len(wanted), 1, 1, 1)
        shown = []
        for again in range(1 + int(self.rng.random() < TWICE)):
            places = torch.from_numpy(points + given.corners[:, None])
            logits, quality = self._answer(given, embedding, places, torch.from_numpy(labels), mask, has)
            each, iou = losses(logits, wanted), overlap(logits.detach(), wanted)
            total = total + each[:, 0].mean()
            if again == 0:  # one click may mean three things: the best of three learns most
                click = torch.from_numpy(labels[:, 0] == POSITIVE)
                total = total + ((each[:, 1:].amin(1) + 0.2 * each[:, 1:].mean(1)) * click).mean()
            total = total + (quality - iou).square().mean()
            best = logits.detach()[every, quality.detach().argmax(1)]
            point, label = wrong(best, given.masks, self.rng)
            points, labels = np.concatenate([points, point], 1), np.concatenate([labels, label], 1)
            mask, has = best.unsqueeze(1), torch.ones_like(has)
            shown.append(float(iou[:, 0].mean()))
        return total, shown[0]


class _Step:
    """Takes a loss and an IoU, and moves the parameters."""

    def __init__(self, parts: Sequence[torch.nn.Module], rates: tuple[float, float]) -> None:
        self.all = [p for part in parts for p in part.parameters()]
        named = [(name, p) for part in parts for name, p in part.named_parameters()]
        matrices = [p for name, p in named if _is_matrix(name, p)]
        others = [p for p in self.all if not any(p is m for m in matrices)]
        self.movers = [Muon(matrices, rates[0]), torch.optim.AdamW(others, rates[1], weight_decay=1e-4)]
        self.seen: list[tuple[float, float]] = []

    def pace(self, share: float) -> None:
        for mover in self.movers:
            group = mover.param_groups[0]
            group["lr"] = share * group.setdefault("most", group["lr"])

    def __call__(self, loss: torch.Tensor, iou: float = 0.0) -> None:
        for mover in self.movers:
            mover.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.all, 1.0)
        for mover in self.movers:
            mover.step()
        self.seen.append((float(loss.detach()), iou))


def _is_matrix(name: str, parameter: torch.Tensor) -> bool:
    """Muon is for hidden layers: not for tokens or what has few channels, nor for the lessons' answers."""
    wide = parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) > 4
    return wide and not name.startswith("head.")


def _steps(parts: Sequence[torch.nn.Module], rates: tuple[float, float], steps: int, name: str) -> Iterator[_Step]:
    """A short start, then the full rates (of Muon and AdamW), then down to nothing from the middle on."""
    step, started = _Step(parts, rates), time.process_time()
    for i in range(steps):
        step.pace(min(1, (i + 1) / (0.05 * steps + 5)) * min(1, (steps - i) / (0.5 * steps)))
        yield step
        if i % 50 == 49:
            loss, iou = np.mean(step.seen[-50:], axis=0)
            spent = time.process_time() - started
            print(f"{name}: {i + 1}/{steps} loss {loss:.3f} IoU {iou:.3f}, {spent:.0f} s", flush=True)


def _normed(self: LayerNorm2d, x: torch.Tensor) -> torch.Tensor:
    """What segment_anything's computes, in one go: its own way back is slow."""
    rows = torch.nn.functional.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
    return rows.permute(0, 3, 1, 2)


def write(sam: torch.nn.Module, path: Path) -> None:
    """Half precision, in our own format."""
    state = {n: v.half() if v.is_floating_point() else v for n, v in sam.state_dict().items()}
    save(path, Weights(state, arch="tiny"))
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def judge(path: Path) -> None:
    """Calibrate it on pictures that it never saw, and print how good it is on others that it never saw."""
    quality.beside(path).unlink(missing_ok=True)
    with TemporaryDirectory() as folder:
        segmenter = tiny(Path(folder), weights=path)
        rng = np.random.default_rng(CALIBRATION)
        raw, iou = pairs(segmenter, people([sample(scenes(CALIBRATION, 2), rng) for _ in range(24)]))
    fitted = fit(raw, iou)
    quality.save(path, fitted)
    print(f"{fitted.pairs} masks: calibration error {fitted.before:.3f} before, {fitted.after:.3f} after")
    with TemporaryDirectory() as folder:
        _, iou = pairs(tiny(Path(folder), weights=path), people(held_out()))
    print(f"held out: IoU {np.mean(iou[::2]):.3f} by point, {np.mean(iou[1::2]):.3f} by box, {len(iou) // 2} objects")


def people(seen: Sequence[Labelled]) -> list[tuple[Picture, list[Mask]]]:
    return [(picture(scene), [Mask.of(mask) for mask in scene.masks(200)]) for scene in seen]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seed", type=int, default=4)
    ask.add_argument(
        "--steps", type=int, nargs=3, default=(200, 500, 150), help="encoder alone, windows, whole pictures"
    )
    ask.add_argument("--out", type=Path, default=TINY)
    ask.add_argument("--threads", type=int, default=1, help="more are slower on a machine that others use, too")
    chosen = ask.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    LayerNorm2d.forward = _normed
    sam = ARCH.build()
    look_where_asked(sam)
    alone, windows, whole = chosen.steps
    room = Room(sam, scenes(TRAINING, 12), np.random.default_rng(chosen.seed))
    room.begin(alone)
    room.learn(windows, WINDOW, 8, (3e-3, 2e-3))
    room.learn(whole, ARCH.size, 4, (1.5e-3, 1e-3))
    write(sam, chosen.out)
    judge(chosen.out)


if __name__ == "__main__":
    main()
