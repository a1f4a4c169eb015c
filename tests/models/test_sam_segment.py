"""What the small SAM cuts out, and that it depends on pixels and prompts alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segment_anything")

from groundlook.core.mask import Mask  # noqa: E402
from groundlook.core.plan import ModelSpec  # noqa: E402
from groundlook.core.prompts import Cut, Prompts  # noqa: E402
from groundlook.models.sam.architectures import ARCHS  # noqa: E402
from groundlook.models.sam.calibrate import overlap, pointed  # noqa: E402
from groundlook.models.sam.segment import SamSegmenter  # noqa: E402
from groundlook.models.weights.file import Weights, read, save  # noqa: E402
from tests.weights.house import TINY, Memory, boxed, click, held_out, one_thread, picture, tiny  # noqa: E402
from tests.weights.scenery import Labelled  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with one_thread():
        yield


LEAST = 250
"""px of an object in a picture of 256 px: about 16 × 16."""


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> SamSegmenter:
    return tiny(tmp_path_factory.mktemp("runtimes"))


def objects(scene: Labelled, least: int = LEAST) -> list[Mask]:
    return [Mask.of(mask) for mask in scene.masks(least)]


def same(a: Cut, b: Cut) -> bool:
    return a.mask == b.mask and a.score == b.score and a.terms == b.terms


@pytest.mark.parametrize("how", ["point", "box"])
def test_held_out_objects_are_cut_out(segmenter: SamSegmenter, how: str) -> None:
    found = []
    for scene in held_out():
        masks = objects(scene)
        asked = [list(pointed(mask))[how == "box"] for mask in masks]
        cuts = segmenter.segment(picture(scene), asked)
        found += [overlap(cut.mask, mask) for cut, mask in zip(cuts, masks, strict=True)]
    print(f"{how}: mean IoU {np.mean(found):.3f} of {len(found)} objects")
    assert np.mean(found) > 0.8


def test_scores_and_terms_are_within_bounds(segmenter: SamSegmenter) -> None:
    scene = held_out()[0]
    for cut in segmenter.segment(picture(scene), [p for m in objects(scene) for p in pointed(m)]):
        assert 0 <= cut.score <= 1
        assert set(cut.terms) == {"predicted_iou", "stability", "disagreement"}
        assert 0 <= cut.terms["stability"] <= 1
        assert 0 <= cut.terms["disagreement"] <= 1


def test_a_negative_point_takes_away(segmenter: SamSegmenter) -> None:
    """A box around two roofs, and "not this" on one of them."""
    taken = []
    for scene in held_out():
        masks = sorted(objects(scene), key=lambda m: -m.area)[:2]
        if len(masks) < 2:
            continue
        boxes = np.array([boxed(m) for m in masks])
        around = (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))
        (x, y), (u, v) = (next(pointed(m)).points[0] for m in masks)
        both = Prompts(np.array([[x, y], [u, v]], np.float32), np.array([True, True]), tuple(map(float, around)))
        less = Prompts(both.points, np.array([True, False]), both.box)
        with_it, without = segmenter.segment(picture(scene), [both, less])
        inside = masks[1].pixels()
        taken.append((with_it.mask.pixels()[inside].mean(), without.mask.pixels()[inside].mean()))
    before, after = np.mean(taken, axis=0)
    assert after < before - 0.1


def test_a_second_click_does_not_hurt(segmenter: SamSegmenter) -> None:
    """Where the first answer is wrong, as somebody would correct it."""
    first, second = [], []
    for scene in held_out():
        for mask in objects(scene):
            start = next(pointed(mask))
            (cut,) = segmenter.segment(picture(scene), [start])
            missed = Mask.of(cut.mask.pixels() ^ mask.pixels())
            if missed.area < 20:
                continue
            x, y = next(pointed(missed)).points[0]
            more = click(*start.points[0], (x, y, bool(mask.pixels()[int(y), int(x)])))
            (again,) = segmenter.segment(picture(scene), [more])
            first.append(overlap(cut.mask, mask))
            second.append(overlap(again.mask, mask))
    assert np.mean(second) >= np.mean(first)


def test_an_earlier_mask_is_kept_and_made_better(segmenter: SamSegmenter) -> None:
    kept = []
    for scene in held_out():
        for mask in objects(scene, 500)[:3]:
            alone, pointed_too = segmenter.segment(
                picture(scene), [Prompts(mask=mask), Prompts(next(pointed(mask)).points, np.array([True]), mask=mask)]
            )
            kept += [overlap(alone.mask, mask), overlap(pointed_too.mask, mask)]
    assert np.mean(kept) > 0.8


def test_an_answer_depends_on_nothing_that_was_asked_before(tmp_path: Path, segmenter: SamSegmenter) -> None:
    scene = held_out()[1]
    view = picture(scene)
    many = click(40, 40, (60, 60, False), (90, 50, True), (20, 30, False))
    fewer = [Prompts(many.points[:n], many.positive[:n]) for n in (1, 2, 3)]
    fresh = tiny(tmp_path).segment(view, [many])[0]
    for prompts in fewer:  # click by click, as somebody would
        segmenter.segment(view, [prompts])
    assert same(segmenter.segment(view, [many])[0], fresh)
    assert same(segmenter.segment(view, [many, fewer[0]])[0], fresh)


def test_eight_threads_and_two_pictures_are_never_mixed(tmp_path: Path) -> None:
    scenes = held_out()[1:3]
    kinds = []
    for i in range(24):
        rng = np.random.default_rng(i)
        (x, y), *more = rng.integers(1, 255, (1 + i % 3, 2)).astype(float)
        kinds.append((i % 2, click(x, y, *((float(u), float(v), bool(k)) for k, (u, v) in enumerate(more)))))
    serial = tiny(tmp_path)
    known = [serial.segment(picture(scenes[which]), [prompts])[0] for which, prompts in kinds]
    memory = Memory()
    shared, start = tiny(tmp_path, memory), threading.Barrier(8)

    def work(part: int) -> list[tuple[int, Cut]]:
        start.wait()
        mine = [i * 7 % len(kinds) for i in range(part, 500, 8)]
        return [(i, shared.segment(picture(scenes[kinds[i][0]]), [kinds[i][1]])[0]) for i in mine]

    with ThreadPoolExecutor(8) as pool:
        for i, cut in (pair for found in pool.map(work, range(8)) for pair in found):
            assert same(cut, known[i])
    assert memory.made == 2


def test_a_mask_without_a_pixel_has_score_0(tmp_path: Path) -> None:
    """A decoder that never says yes: its last layer before the masks is turned off."""
    state = read(TINY).state
    for i in range(4):
        for part in ("weight", "bias"):
            state[f"mask_decoder.output_hypernetworks_mlps.{i}.layers.2.{part}"].zero_()
    weights = save(tmp_path / "dumb.safetensors", Weights(state))
    (cut,) = tiny(tmp_path, weights=weights).segment(picture(held_out()[0]), [click(30, 30)])
    assert (cut.mask.area, cut.score) == (0, 0.0)


def _parity(arch: str, weights: Path, folder: Path, rgb: Any) -> None:
    """Against SamPredictor in eager float32: embeddings are kept in half precision, hence the tolerance."""
    from segment_anything import SamPredictor

    from groundlook.core.geo import Tile
    from groundlook.models.sam.pictures import picture_of

    sam = ARCHS[arch].build()
    sam.load_state_dict(read(weights).state)
    peer = SamPredictor(sam)
    peer.set_image(rgb)
    ours = SamSegmenter.load(ModelSpec("s", "sam", arch=arch), weights, Memory(), folder, runtime="torch eager")
    view = picture_of(Tile(rgb))
    frame, embedding = ours.frame(view), ours.embedding(view)
    np.testing.assert_allclose(embedding, peer.features.numpy(), rtol=2e-3, atol=2e-3)
    height, width = rgb.shape[:2]
    points = np.array([[0.3 * width, 0.4 * height], [0.7 * width, 0.1 * height]])
    signs, box = np.array([1, 0]), np.array([0.1 * width, 0.2 * height, 0.8 * width, 0.9 * height])
    before = np.linspace(-6, 6, ARCHS[arch].low ** 2, dtype=np.float32).reshape(1, ARCHS[arch].low, -1)
    asked: list[tuple[dict[str, Any], Any, Any, Any]] = [
        ({"point_coords": points[:1], "point_labels": signs[:1]}, [points[0], [0, 0]], [1, -1], None),
        ({"point_coords": points, "point_labels": signs}, [*points, [0, 0]], [1, 0, -1], None),
        ({"box": box}, box.reshape(2, 2), [2, 3], None),
        (
            {"point_coords": points, "point_labels": signs, "box": box, "mask_input": before},
            [*points, *box.reshape(2, 2)],
            [1, 0, 2, 3],
            before[0],
        ),
    ]
    for theirs, places, labels, mask in asked:
        square = frame.points(np.array(places, np.float64))
        square[np.array(labels) == -1] = 0
        logits, quality = ours.decode(embedding, square[None], np.array([labels], np.float32), mask)
        for several, part in ((True, slice(1, 4)), (False, slice(0, 1))):
            full, expected, low = peer.predict(**theirs, multimask_output=several, return_logits=True)
            scale = float(np.abs(low).max())
            np.testing.assert_allclose(logits[0, part], low, atol=5e-3 * scale)
            np.testing.assert_allclose(quality[0, part], expected, atol=5e-3)
            enlarged = frame.enlarge(logits[0, part][0])
            np.testing.assert_allclose(enlarged, full[0], atol=1e-2 * scale)


def test_the_small_one_computes_what_segment_anything_does(tmp_path: Path) -> None:
    _parity("tiny", TINY, tmp_path, held_out()[0].pixels)
    _parity("tiny", TINY, tmp_path, held_out(4, 300)[0].pixels[:171])


@pytest.mark.slow
def test_vit_b_computes_what_segment_anything_does(tmp_path: Path) -> None:
    torch.manual_seed(3)
    sam = ARCHS["vit_b"].build()
    for name, value in sam.named_parameters():
        if "pos" in name:  # zero until it is trained, and then nothing would tell whether it is used
            torch.nn.init.normal_(value, std=0.02)
    weights = save(tmp_path / "vit_b.safetensors", Weights(dict(sam.state_dict())))
    rgb = np.random.default_rng(0).integers(0, 256, (600, 1024, 3), dtype=np.uint8)
    _parity("vit_b", weights, tmp_path, rgb)
