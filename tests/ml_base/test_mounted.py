"""Subclasses of label-studio-ml's base as models of ours, in its 1.0.9 out of PyPI."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from groundlook.core.errors import InvalidConfig, InvalidInput, InvalidWeights, NotAllowed
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, WholeTile
from groundlook.core.plan import ModelSpec
from groundlook.core.types import ModelCard
from groundlook.learning.registry import file_sha256, version_of
from groundlook.scoring.score import score_prediction
from groundlook.service.brought import Brought
from groundlook.service.kinds import kind_of
from groundlook.service.wiring.ml_base import MlBaseModel
from groundlook.service.wiring.planned import PlanReader
from tests.ml_base.subclasses import BRIGHT, KIND, ODD
from tests.service.conftest import House


def mounted(folder: Path, code: str, labels: tuple[str, ...] | None, their_python: Path, **options: Any) -> MlBaseModel:
    script = folder / "model.py"
    script.write_text(code)
    digest = file_sha256(script)
    mapping = options.pop("mapping", None)
    card = ModelCard(version_of("ml_base", [digest]), "ml_base", "", options.pop("classes", ()), digest)
    loader = kind_of("ml_base").load()
    found = loader.load(card, script, labels, mapping, **{"python": str(their_python), **options})
    assert isinstance(found, MlBaseModel)
    return found


def picture(first: int = 0, house: tuple[int, int, int, int] | None = None) -> Tile:
    pixels = np.full((80, 120, 3), 40, np.uint8)
    pixels[0, 0] = first
    if house is not None:
        x, y, width, height = house
        pixels[y : y + height, x : x + width] = 230
    return Tile(pixels)


def test_a_subclass_of_109_finds_boxes_in_tiles_of_any_size(tmp_path: Path, their_python: Path) -> None:
    model = mounted(tmp_path, BRIGHT, ("House", "Tree"), their_python)
    tiles = [picture(house=(30, 20, 24, 16)), picture(), Tile(np.full((33, 57, 3), 250, np.uint8))]
    first, empty, full = model.predict(tiles)
    (region,) = first.regions
    assert isinstance(region.shape, Box)
    assert np.allclose([region.shape.x, region.shape.y, region.shape.width, region.shape.height], [30, 20, 24, 16])
    assert (region.label, region.score, region.origin) == ("House", 0.8, "prediction")
    assert np.allclose(full.regions[0].shape.corners()[2], [57, 33])
    assert (empty.regions, empty.knows) == ((), True)
    assert np.allclose(first.proba, [[0.8, 0]])
    assert score_prediction(first).value > score_prediction(empty).value  # type: ignore[operator]
    assert model.version == first.version == version_of("ml_base", [file_sha256(tmp_path / "model.py")])


def test_its_labels_become_ours_and_what_it_is_unsure_of_is_not_shown(tmp_path: Path, their_python: Path) -> None:
    options = {"classes": ("building", "tree"), "mapping": {"building": "House"}, "confidence": 0.9}
    model = mounted(tmp_path, BRIGHT, ("Tree", "House"), their_python, **options)
    (found,) = model.predict([picture(house=(30, 20, 24, 16))])
    assert found.regions == ()
    assert np.allclose(found.proba, [[0, 0.8]])


def test_choices_of_a_model_that_fetches_its_pictures(tmp_path: Path, their_python: Path) -> None:
    xml = (
        '<View><Image name="i" value="$image"/><Choices name="kind" toName="i"><Choice value="Dark"/>'
        '<Choice value="Light"/></Choices></View>'
    )
    (tmp_path / "config.xml").write_text(xml)
    options = {"label_config": str(tmp_path / "config.xml"), "pictures": "http"}
    model = mounted(tmp_path, KIND, ("Light", "Dark", "Grey"), their_python, **options)
    dark, light = model.predict([picture(), Tile(np.full((9, 9, 3), 200, np.uint8))])
    assert [(r.label, r.score, type(r.shape)) for r in light.regions] == [("Light", 0.9, WholeTile)]
    assert [r.label for r in dark.regions] == ["Dark"]
    assert np.allclose(light.proba, [[0.9, 0.05, 0.05]])
    assert light.kind == "classification"
    assert score_prediction(light).value is not None


@pytest.fixture
def odd(tmp_path: Path, their_python: Path) -> MlBaseModel:
    return mounted(tmp_path, ODD, ("House",), their_python, pictures="path", timeout=3)


def test_answers_of_20_and_answers_that_say_nothing(odd: MlBaseModel) -> None:
    wrapped, several, null, nothing, empty = odd.predict([picture(what) for what in (4, 5, 6, 7, 8)])
    assert [r.score for r in wrapped.regions] == [0.5]
    assert [p.knows for p in (several, null, nothing, empty)] == [False, False, False, True]
    assert empty.regions == ()


def test_what_has_no_score_is_shown_and_its_doubt_is_unknown(odd: MlBaseModel) -> None:
    (found,) = odd.predict([picture(0)])
    assert [r.score for r in found.regions] == [None]
    assert score_prediction(found).value is None


def test_scores_that_are_none_are_unknown(odd: MlBaseModel) -> None:
    (found,) = odd.predict([picture(16)])
    assert [r.score for r in found.regions] == [None]  # 57 is no probability; what is no number is no region
    assert found.peak == pytest.approx(0.1)


@pytest.mark.parametrize("what", [9, 10, 11, 12, 13, 14, 15, 17])
def test_answers_that_are_no_predictions_are_refused_and_nothing_else_happens(odd: MlBaseModel, what: int) -> None:
    before = pid(odd)
    with pytest.raises(InvalidInput):
        odd.predict([picture(what)])
    assert pid(odd) == before


def test_what_it_raises_is_told(odd: MlBaseModel) -> None:
    with pytest.raises(InvalidInput, match=r"model\.py raised KeyError: 'weights'"):
        odd.predict([picture(3)])


@pytest.mark.parametrize(("what", "said"), [(1, "exit code 7"), (2, "over 3 s"), (18, "over 64,000,000 bytes")])
def test_a_crash_a_hang_and_a_flood_are_errors_and_the_next_call_is_answered(
    odd: MlBaseModel, what: int, said: str
) -> None:
    before = pid(odd)
    started = time.monotonic()
    with pytest.raises(InvalidWeights, match=said):
        odd.predict([picture(what)])
    assert time.monotonic() - started < 15
    assert not psutil.pid_exists(before)
    assert len(odd.predict([picture(0)])[0].regions) == 1


def test_killed_between_calls_nobody_notices(odd: MlBaseModel) -> None:
    before = pid(odd)
    os.kill(before, signal.SIGKILL)
    psutil.Process(before).wait(5)
    assert len(odd.predict([picture(0)])[0].regions) == 1


def test_calls_of_many_threads_get_their_own_answers(tmp_path: Path, their_python: Path) -> None:
    model = mounted(tmp_path, BRIGHT, ("House",), their_python)
    tiles = [picture(house=(x, 20, 24, 16)) for x in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda tile: model.predict([tile])[0], tiles))
    assert [round(p.regions[0].shape.corners()[0][0]) for p in found] == list(range(40))


def test_nothing_is_left_behind(tmp_path: Path, their_python: Path) -> None:
    """Neither of a model that is dropped, nor of a service that is killed while it waits for an answer."""
    model = mounted(tmp_path, BRIGHT, ("House",), their_python)
    model.predict([picture()])
    running, folder = pid(model), model._folder
    assert list(folder.iterdir()) == []
    del model
    assert not psutil.pid_exists(running)
    assert not folder.exists()
    (tmp_path / "odd.py").write_text(ODD)
    code = (
        "import sys; from pathlib import Path; import numpy as np; from PIL import Image\n"
        "from groundlook_adapters.labelstudio.ml_base.process import MlBaseProcess, Mounted\n"
        "python, script, folder = map(Path, sys.argv[1:])\n"
        "Image.fromarray(np.full((4, 4, 3), 2, np.uint8)).save(folder / 'a.png')\n"
        "process = MlBaseProcess(Mounted(python, script, '', '<View/>', 'image', 'path', 60.0), folder)\n"
        "process.start(); print(process._running.pid, flush=True); process.predict('a.png')\n"
    )
    command = [sys.executable, "-c", code, str(their_python), str(tmp_path / "odd.py"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        child = psutil.Process(int(service.stdout.readline()))
        time.sleep(0.5)
        service.kill()
    child.wait(10)


def test_the_environment_and_passwords_of_the_service_are_not_theirs(
    tmp_path: Path, their_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDLOOK_PASSWORD", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    code = (
        "import os, sys\nfrom label_studio_ml.model import LabelStudioMLBase\n"
        "class M(LabelStudioMLBase):\n"
        "    def predict(self, tasks, **kwargs):\n"
        "        raise ValueError([k for k in os.environ if k.startswith(('GROUNDLOOK', 'PYTHONPATH'))] + sys.path)\n"
    )
    with pytest.raises(InvalidInput) as error:
        mounted(tmp_path, code, ("House",), their_python).predict([picture()])
    assert "GROUNDLOOK" not in str(error.value)
    assert "PYTHONPATH" not in str(error.value)
    assert "groundlook_adapters" not in str(error.value)


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        ("import nowhere", {}, "No module named 'nowhere'"),
        ("raise SystemExit(3)", {}, "exit code 3"),
        ("", {}, "it has none"),
        (BRIGHT + "\n\nclass Other(Bright):\n    pass\n", {}, "Bright, Other"),
        (BRIGHT, {"subclass": "Dim"}, "Bright"),
        (BRIGHT, {"python": "/nowhere/python"}, "/nowhere/python can't be started"),
        (BRIGHT, {"python": sys.executable}, "label_studio_ml"),
        (BRIGHT, {"control": "PolygonLabels"}, "RectangleLabels"),
    ],
)
def test_a_model_that_can_not_be_made_says_why(
    tmp_path: Path, their_python: Path, code: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidWeights, match=said):
        mounted(tmp_path, code, ("House",), their_python, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"python": ""},
        {"python": 3},
        {"pictures": "ftp"},
        {"timeout": 0},
        {"timeout": "long"},
        {"label_config": "/nowhere.xml"},
        {"label_config": "<View/>"},
        {"control": "Video"},
    ],
)
def test_options_that_are_none_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        mounted(tmp_path, BRIGHT, ("House",), Path("python"), **options)


def test_a_plan_may_name_one_and_nobody_else(tmp_path: Path, their_python: Path, house: House) -> None:
    script = house.folder / "model.py"
    script.write_text(BRIGHT)
    spec = ModelSpec("old", "ml_base", str(script), options={"python": str(their_python)})
    model = Brought(None, house.wired.encodings, tmp_path).made(spec, ("House",), 0.25)
    assert len(model.predict([picture(house=(3, 4, 50, 60))])[0].regions) == 1
    with pytest.raises(NotAllowed, match="connect --plan"):
        PlanReader(house.wired.settings)(
            house.project, {"models": {"old": {"kind": "ml_base", "weights": str(script), "options": spec.options}}}
        )


def pid(model: MlBaseModel) -> int:
    running = model._process._running
    assert running is not None
    return running.pid
