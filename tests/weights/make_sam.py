"""Train the small SAM of the tests, and write tests/weights/sam_tiny.safetensors with its calibration.

    uv run python -m tests.weights.make_sam --out first.safetensors            # some 10 minutes of one core
    uv run python -m tests.weights.make_sam --start first.safetensors --steps 2000 --rate 1e-3 --seed 5

The weights that are kept were made so, but the second run was cut off several times and taken up again with --start
and another seed: about 2,300 steps in all, of which the last 900 at a rate of 1e-3 ran through. It was still learning.

A convolutional encoder with segment_anything's own prompt encoder and mask decoder, from scratch, on painted villages
and plain blocks. As SAM was trained (Kirillov et al. 2023, appendix A): a point or a box first, then clicks where the
answer is wrong, with the earlier logits as mask input; of three masks only the best learns; the quality head learns the
IoU itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from groundlook.core.mask import Mask
from groundlook.core.prompts import Picture
from groundlook.models.sam import quality
from groundlook.models.sam.architectures import ARCHS
from groundlook.models.sam.asked import BOTTOM_RIGHT, NEGATIVE, PAD, POSITIVE, TOP_LEFT
from groundlook.models.sam.calibrate import fit, pairs
from groundlook.models.sam.decoder import Decoder
from groundlook.models.weights.file import Weights, read, save
from tests.weights.house import TINY, held_out, picture, tiny
from tests.weights.scenery import Labelled, blocks, crop, village

ARCH = ARCHS["tiny"]
SCENE = 1280
TRAINING, CALIBRATION = 100, 5000  # seeds, far from those of the tests
PICTURES, PROMPTS, LEAST = 4, 4, 120
GAIN, SIDE = 2.5, 1.3
TWICE = 0.4  # how often an answer is corrected once
ALONE = 8  # pictures in a step of the encoder alone
WAVES = 24
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class Batch:
    """`pixels`: float32 (B, 3, S, S), as the encoder takes them. `masks`: bool (B·K, S, S), K objects of each picture.
    `points`, `labels`: (B·K, 2, 2) and (B·K, 2), the first prompts. `objects`: int32 (B, S, S), see Labelled."""

    pixels: torch.Tensor
    objects: NDArray[np.int32]
    masks: NDArray[np.bool_]
    points: NDArray[np.float32]
    labels: NDArray[np.float32]


def scenes(seed: int, count: int) -> list[Labelled]:
    return [village(SCENE, seed + i) for i in range(count)]


def sample(source: list[Labelled], rng: np.random.Generator) -> Labelled:
    """A picture as the encoder sees it, of one of two kinds, at any scale."""
    if rng.random() < 0.4:
        return blocks(ARCH.size, rng)
    side = round(np.exp(rng.uniform(np.log(144), np.log(448))))
    return crop(source[int(rng.integers(len(source)))], side, ARCH.size, rng)


def batch(source: list[Labelled], rng: np.random.Generator, pictures: int = PICTURES) -> Batch:
    pixels, objects, masks = [], [], []
    while len(pixels) < pictures:
        picture = sample(source, rng)
        found = picture.masks(LEAST)
        if not found:
            continue
        chosen = rng.choice(len(found), PROMPTS, replace=len(found) < PROMPTS)
        masks += [found[i] for i in chosen]
        shade = picture.pixels * rng.uniform(0.8, 1.2, 3) + rng.uniform(-15, 15)
        pixels.append(np.clip(shade, 0, 255))
        objects.append(picture.objects)
    points, labels = zip(*(first(mask, rng) for mask in masks), strict=True)
    return Batch(normal(np.stack(pixels)), np.stack(objects), np.stack(masks), np.stack(points), np.stack(labels))


def normal(pixels: NDArray[np.generic]) -> torch.Tensor:
    """(B, S, S, 3), 0…255 → float32 (B, 3, S, S)."""
    scaled = (pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def first(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A point inside and no second one, or a loose box: (2, 2) and (2,)."""
    ys, xs = np.nonzero(mask)
    if rng.random() < 0.4:
        i = int(rng.integers(len(ys)))
        return np.array([[xs[i], ys[i]], [0, 0]], np.float32), np.array([POSITIVE, PAD], np.float32)
    box = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]], np.float32)
    loose = rng.normal(0, 0.05, (2, 2)) * (box[1] - box[0])
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
    where the middle of that thing is (as SAM encodes places), and how far its four sides are. Masks alone teach it in
    hours what this does in minutes."""

    def __init__(self, sam: torch.nn.Module) -> None:
        super().__init__()
        self.head = torch.nn.Conv2d(ARCH.channels, 16 + 2 * WAVES + 4, 1)
        self.waves = 2 * torch.pi * sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix[:, :WAVES]

    def forward(self, embedding: torch.Tensor, objects: NDArray[np.int32]) -> torch.Tensor:
        step = ARCH.size // ARCH.cells
        said = self.head(embedding).float()
        thing = torch.from_numpy(objects > 0).float().unsqueeze(1)
        parts = torch.nn.functional.avg_pool2d(thing, ARCH.size // ARCH.low)
        parts = torch.nn.functional.pixel_unshuffle(parts, 4)
        here = torch.from_numpy(objects[:, step // 2 :: step, step // 2 :: step] > 0).unsqueeze(1)
        middle, sides = (torch.from_numpy(v) for v in _boxes(objects, step))
        along = (2 * middle / ARCH.size - 1).permute(0, 2, 3, 1) @ self.waves
        place = torch.cat([along.sin(), along.cos()], -1).permute(0, 3, 1, 2)
        which = torch.nn.functional.binary_cross_entropy_with_logits(said[:, :16], parts)
        where = ((said[:, 16 : 16 + 2 * WAVES] - place).square() * here).sum() / (here.sum() * 2 * WAVES + 1)
        far = ((said[:, -4:] - sides / 32).abs() * here).sum() / (here.sum() * 4 + 1)
        loss: torch.Tensor = 2 * which + where + far
        return loss


def _boxes(objects: NDArray[np.int32], step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the thing in each cell: (B, 2, h, w) its middle, x then y, and (B, 4, h, w) how far its sides are, px."""
    middles, sides = [], []
    for numbers in objects:
        boxes = np.zeros((int(numbers.max()) + 1, 4), np.float32)
        for i, found in enumerate(find_objects(numbers), 1):
            if found is not None:
                boxes[i] = found[1].start, found[0].start, found[1].stop, found[0].stop
        cells = boxes[numbers[step // 2 :: step, step // 2 :: step]].transpose(2, 0, 1)
        y, x = np.mgrid[: cells.shape[1], : cells.shape[2]].astype(np.float32) * step + step / 2
        middles.append((cells[:2] + cells[2:]) / 2)
        sides.append(np.stack([x - cells[0], y - cells[1], cells[2] - x, cells[3] - y]))
    return np.stack(middles), np.stack(sides)


def learn(
    sam: torch.nn.Module, source: list[Labelled], alone: int, steps: int, rate: float, rng: np.random.Generator
) -> None:
    """`alone` steps of the encoder with its lessons, then `steps` of everything."""
    decoder, lessons = Decoder(sam), Lessons(sam)
    sam.train()
    first_part = [*sam.image_encoder.parameters(), *lessons.parameters()]
    for fast in _steps(first_part, 3e-3, alone, "the encoder alone"):
        given = batch(source, rng, ALONE)
        with torch.autocast("cpu", torch.bfloat16):
            embedding = sam.image_encoder(given.pixels)
        fast(lessons(embedding.float(), given.objects), 0.0)
    for fast in _steps([*sam.parameters(), *lessons.parameters()], rate, steps, "all of it"):
        fast(*_lesson(sam, decoder, lessons, batch(source, rng), rng))
    sam.eval()


def _steps(
    parameters: list[torch.nn.Parameter], rate: float, steps: int, name: str
) -> Iterator[Callable[[torch.Tensor, float], None]]:
    """For each step, what takes its loss and IoU, and moves the parameters."""
    if steps == 0:
        return
    mover = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4)
    plan = torch.optim.lr_scheduler.OneCycleLR(mover, rate, total_steps=steps, pct_start=0.1)
    started, seen = time.time(), []

    def fast(loss: torch.Tensor, iou: float) -> None:
        mover.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        mover.step()
        plan.step()
        seen.append((float(loss.detach()), iou))

    for step in range(steps):
        yield fast
        if step % 50 == 49:
            loss, iou = np.mean(seen[-50:], axis=0)
            print(
                f"{name}: {step + 1}/{steps} loss {loss:.3f} IoU {iou:.3f}, {time.time() - started:.0f} s", flush=True
            )


def _lesson(
    sam: torch.nn.Module, decoder: Decoder, lessons: Lessons, given: Batch, rng: np.random.Generator
) -> tuple[torch.Tensor, float]:
    with torch.autocast("cpu", torch.bfloat16):
        embedding = sam.image_encoder(given.pixels)
    total = 0.5 * lessons(embedding.float(), given.objects)
    embedding = embedding.repeat_interleave(PROMPTS, 0)
    exact = torch.from_numpy(given.masks).float().unsqueeze(1)
    wanted = torch.nn.functional.avg_pool2d(exact, ARCH.size // ARCH.low)
    count = len(given.masks)
    points, labels = given.points, given.labels
    mask, has = torch.zeros(count, 1, ARCH.low, ARCH.low), torch.zeros(count, 1, 1, 1)
    shown = 0.0
    for again in range(1 + int(rng.random() < TWICE)):
        with torch.autocast("cpu", torch.bfloat16):
            logits, quality = decoder(embedding, torch.from_numpy(points), torch.from_numpy(labels), mask, has)
        logits, quality = logits.float(), quality.float()
        each, iou = losses(logits, wanted), overlap(logits.detach(), wanted)
        single, three = each[:, 0], each[:, 1:].amin(1)
        alone = torch.from_numpy(labels == POSITIVE).sum(1) == 1
        masks_loss = single.mean() + (three * alone).mean() if again == 0 else single.mean()
        total = total + masks_loss + (quality - iou).square().mean()
        best = logits.detach()[torch.arange(count), quality.detach().argmax(1)]
        point, label = wrong(best, given.masks, rng)
        points, labels = np.concatenate([points, point], 1), np.concatenate([labels, label], 1)
        mask, has = best.unsqueeze(1), torch.ones(count, 1, 1, 1)
        shown = float(iou[:, 0].mean())
    return total, shown


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
    ask.add_argument("--start", type=Path, help="go on from these weights")
    ask.add_argument("--alone", type=int, default=200)
    ask.add_argument("--steps", type=int, default=500)
    ask.add_argument("--rate", type=float, default=1.5e-3)
    ask.add_argument("--seed", type=int, default=4)
    ask.add_argument("--out", type=Path, default=TINY)
    ask.add_argument("--threads", type=int, default=1, help="more are slower on a machine that others use, too")
    chosen = ask.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    sam = ARCH.build()
    if chosen.start:
        sam.load_state_dict(read(chosen.start).state)
    else:
        look_where_asked(sam)
    alone = 0 if chosen.start else chosen.alone
    learn(sam, scenes(TRAINING, 12), alone, chosen.steps, chosen.rate, np.random.default_rng(chosen.seed))
    write(sam, chosen.out)
    judge(chosen.out)


if __name__ == "__main__":
    main()
