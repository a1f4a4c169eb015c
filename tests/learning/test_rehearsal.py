"""Which earlier examples a retraining shows again, and that a model then forgets nothing."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, WholeTile
from groundlook.core.types import Example, ModelCard, ModelVersion, Region, Task
from groundlook.learning.rehearsal import rehearse


def example(number: int, site: str = "a", labels: Sequence[str] = ("roof",), annotation: int | None = None) -> Example:
    regions = tuple(Region(WholeTile(), label) for label in labels)
    return Example(Task(number, "", site=site), regions, (number if annotation is None else annotation,))


def learned(examples: Sequence[Example]) -> dict[int, tuple[int, ...]]:
    return {e.task.id: e.annotation_ids for e in examples}


sets = st.lists(
    st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from(["roof", "tree", "pond"])), st.booleans()), max_size=40
)


@given(sets, st.integers(1, 50), st.integers(0, 3))
def test_what_is_new_is_always_there_and_the_budget_holds(
    rows: list[tuple[str, set[str], bool]], budget: int, seed: int
) -> None:
    train = [example(i, site, sorted(labels)) for i, (site, labels, _) in enumerate(rows)]
    old = [e for e, (*_, known) in zip(train, rows, strict=True) if known]
    found = rehearse(train, learned(old), budget, np.random.default_rng(seed))
    new = [e for e in train if e not in old]
    assert [e for e in found.examples if e in new] == new
    assert found.new == len(new)
    assert found.new + found.earlier == len(found.examples)
    assert found.earlier + found.left == len(old)
    assert found.earlier == min(len(old), max(budget - len(new), round(budget / 4)))
    assert [e.task.id for e in found.examples] == sorted(e.task.id for e in found.examples)
    keys = {e.task.site for e in old} | {label for e in old for label in ({r.label for r in e.regions} or {""})}
    if found.earlier >= len(keys):
        shown = [e for e in found.examples if e in old]
        assert {e.task.site for e in shown} == {e.task.site for e in old}
        assert {r.label for e in shown for r in e.regions} == {r.label for e in old for r in e.regions}
    again = rehearse(train[::-1], learned(old), budget, np.random.default_rng(seed))
    assert set(learned(again.examples)) == set(learned(found.examples))


def test_a_changed_example_counts_as_new() -> None:
    old = [example(i) for i in range(10)]
    changed = [*old[:-1], example(9, annotation=77)]
    found = rehearse(changed, learned(old), 1, np.random.default_rng(0))
    assert found.new == 1
    assert changed[-1] in found.examples


def test_rare_classes_and_sites_of_a_long_history_stay() -> None:
    history = [example(i, "town", ["roof"]) for i in range(5000)]
    history += [example(5000 + i, "coast", ["roof"]) for i in range(3)]
    history += [example(5100 + i, "town", ["well"]) for i in range(2)] + [example(5200, "town", [])]
    new = [example(9000 + i, "hill", ["roof"]) for i in range(30)]
    found = rehearse([*history, *new], learned(history), 50, np.random.default_rng(0))
    assert (found.new, found.earlier, found.left) == (30, 20, 4986)
    assert str(found) == "30 new or changed examples, 20 of 5006 earlier ones"
    count = Counter((e.task.site, *(r.label for r in e.regions)) for e in found.examples if e.task.id < 9000)
    assert count[("coast", "roof")] == 3
    assert count[("town", "well")] == 2
    assert count[("town",)] == 1
    assert count[("town", "roof")] == 14


def test_all_is_shown_where_all_fits_and_no_budget_is_none() -> None:
    old = [example(i) for i in range(8)]
    found = rehearse([*old, example(99)], learned(old), 9, np.random.default_rng(0))
    assert (len(found.examples), found.left) == (9, 0)
    assert str(found) == "1 new or changed examples, 8 earlier ones"
    with pytest.raises(InvalidInput, match="budget 0"):
        rehearse(old, {}, 0, np.random.default_rng(0))


# forgetting, with a real network


def picture(site: str, seed: int, side: int = 64) -> tuple[Tile, list[Region]]:
    """Site a: bright roofs on dark grass. Site b: dark roofs on bright sand."""
    rng = np.random.default_rng([seed, ord(site)])
    ground, roof = ((70, 110, 60), (200, 180, 170)) if site == "a" else ((200, 190, 160), (60, 60, 80))
    pixels = rng.normal(ground, 12, (side, side, 3))
    x, y, w, h = (int(v) for v in (*rng.integers(2, 30, 2), *rng.integers(18, 30, 2)))
    pixels[y : y + h, x : x + w] = rng.normal(roof, 8, (h, w, 3))
    return Tile(np.clip(pixels, 0, 255).astype(np.uint8)), [Region(Box(float(x), float(y), float(w), float(h)), "roof")]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("segmentation_models_pytorch") is None, reason="the segmentation extra")
def test_a_second_site_alone_makes_a_model_forget_the_first_and_rehearsal_does_not(tmp_path: Path) -> None:
    from groundlook.evaluation.evaluate import evaluate
    from groundlook.models.segmentation.predict import SegmentationModel
    from groundlook.models.segmentation.train import SegmentationTrainer
    from groundlook.models.training.parent import Recipe

    arch = "deeplabv3plus-tu-test_resnet"

    def train(examples: Sequence[Example], start: Path | None, name: str) -> Path:
        pictures = [picture(e.task.site, e.task.id) for e in examples]
        recipe = Recipe(epochs=100 // len(examples) + 2, batch=4, rate=3e-3, threads=1)
        trainer = SegmentationTrainer(arch, mode="full", recipe=recipe)
        return trainer.train(pictures, ("roof",), start, tmp_path / name, lambda f, m: None)

    def quality(weights: Path, site: str) -> float:
        model = SegmentationModel.load(ModelCard(ModelVersion("u", "0"), "unet", arch, ("roof",), ""), weights)
        return evaluate(model, (picture(site, 1000 + i) for i in range(12)), ("roof",))["quality"]

    first = [example(i, "a") for i in range(16)]
    second = [example(100 + i, "b") for i in range(16)]
    start = train(first, None, "first")
    rehearsal = rehearse([*first, *second], learned(first), 22, np.random.default_rng(0))
    assert rehearsal.earlier == 6
    alone, both = train(second, start, "alone"), train(rehearsal.examples, start, "both")
    found = {
        name: (quality(w, "a"), quality(w, "b")) for name, w in (("start", start), ("alone", alone), ("both", both))
    }
    print({name: tuple(round(q, 3) for q in pair) for name, pair in found.items()})
    assert found["start"][0] > 0.7
    assert found["alone"][0] < found["start"][0] - 0.3
    assert found["both"][0] > found["start"][0] - 0.1
    assert found["both"][1] > found["alone"][1] - 0.1
