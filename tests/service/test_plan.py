"""Plans: which model answers for which control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groundlook.core.errors import InvalidConfig, NotAllowed
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, WholeTile
from groundlook.core.plan import OWN, Plan
from groundlook.core.types import UNTRAINED_VERSION, Control, LabelConfig, ModelVersion, Prediction, Project, Region
from groundlook.models.untrained import Untrained
from groundlook.service.plan import read_plan
from groundlook.service.routed import Routed
from groundlook.service.settings import Settings
from groundlook.service.wiring.planned import PlanReader

CONTROLS = (
    Control("boxes", "RectangleLabels", ("House", "Tree"), "image", "image"),
    Control("outlines", "PolygonLabels", ("House",), "image", "image"),
    Control("houses", "Number", (), "image", "image", most=9),
    Control("trust", "Rating", (), "image", "image", least=1, most=5),
)
CONFIG = LabelConfig("boxes", "RectangleLabels", "image", "image", ("House", "Tree"), CONTROLS)
KINDS = {"sam", "yolo"}
TOML = """
[models.sam]
kind = "sam"
weights = "/models/sam.pth"

[models.cars]
kind = "yolo"
weights = "/models/cars.pt"
label_map = { car = "House" }

[controls.outlines]
model = "cars"
refine = "sam"
tolerance = 0.3
holes = "split"

[controls.houses]
model = "cars"
answers = "count"

[interactive]
model = "sam"
control = "outlines"
"""


def test_a_plan_says_which_model_answers_for_which_control_and_survives_storage() -> None:
    plan = read_plan(TOML, CONFIG, KINDS)
    assert (plan.route("outlines").model, plan.route("outlines").refine) == ("cars", "sam")
    assert plan.route("boxes").model == OWN
    assert (plan.interactive, plan.output) == ("sam", "outlines")
    assert Plan.of(plan.body()) == plan
    assert Plan.of(plan.body()).digest == plan.digest


def test_json_says_the_same_as_toml() -> None:
    text = '{"models": {"cars": {"kind": "yolo", "weights": "/m.pt"}}, "controls": {"boxes": {"model": "cars"}}}'
    assert read_plan(text, CONFIG, KINDS).route("boxes").model == "cars"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models = 3", "not a table"),
        ("[model.sam]", "no key 'model'"),
        ('[models.a]\nkind = "gan"', "choose sam, yolo"),
        ('[models.a]\nkind = "sam"\nsize = 3', "no key 'size'"),
        ('[models.a]\nkind = "sam"\nweights = 3', "is not a str"),
        ('[models.a]\nkind = "sam"\nweights = "https://example.org/a.pth"', "need sha256"),
        ('[controls.roads]\nmodel = ""', "no such control"),
        ('[controls.boxes]\nmodel = "cars"', "add [models.cars]"),
        ("[controls.boxes]\ntolerance = -1", "0 metres or more"),
        ('[controls.boxes]\nholes = "keep"', "choose report, split"),
        ('[controls.boxes]\nanswers = "count"', 'takes "regions"'),
        ("[controls.houses]", 'takes "count"'),
        ('[interactive]\nmodel = "sam"', "add [models.sam]"),
        ("[controls.boxes", "neither TOML nor"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(text: str, says: str) -> None:
    with pytest.raises(InvalidConfig) as error:
        read_plan(text, CONFIG, KINDS)
    assert says in str(error.value)


class Finds:
    """A model that finds the same everywhere."""

    def __init__(self, *regions: Region) -> None:
        self.version = ModelVersion("finds", "1")
        self._regions = regions

    def predict(self, tiles: list[Tile]) -> list[Prediction]:
        return [Prediction(self.version, self._regions) for _ in tiles]


HOUSE, TREE = Region(Box(1, 1, 5, 5), "House", 0.9), Region(Box(9, 9, 2, 2), "Tree", 0.5)
TILE = Tile(np.zeros((16, 16, 3), dtype=np.uint8))


def routed(own: object, plan: Plan, **models: object) -> Prediction:
    found = {(OWN, ""): own, **{(name, "sam" if name == "cars" else ""): model for name, model in models.items()}}
    model = Routed(ModelVersion("m", "2"), plan, CONTROLS, found)  # type: ignore[arg-type]
    return model.predict([TILE])[0]


def test_each_control_gets_its_own_models_answer() -> None:
    plan = read_plan(TOML.replace('[controls.houses]\nmodel = "cars"', '[controls.houses]\nmodel = ""'), CONFIG, KINDS)
    found = routed(Finds(TREE, HOUSE), plan, cars=Finds(HOUSE))
    assert str(found.version) == "m@2"
    by_control = {r.control: r for r in found.regions if r.control}
    assert by_control["outlines"].label == "House"
    assert by_control["houses"] == Region(WholeTile(), "2", origin="prediction", control="houses")
    assert [r.label for r in found.regions if not r.control] == ["Tree", "House"]


def test_a_model_beside_one_that_has_not_learned_is_an_answer() -> None:
    plan = read_plan(TOML, CONFIG, KINDS)
    body = plan.body()
    body["routes"]["houses"]["refine"] = "sam"
    found = routed(Untrained(), Plan.of(body), cars=Finds(HOUSE))
    assert found.knows
    assert {r.control: r.label for r in found.regions} == {"outlines": "House", "houses": "1"}


def test_the_version_depends_on_the_plan() -> None:
    plan = read_plan(TOML, CONFIG, KINDS)
    assert UNTRAINED_VERSION.under(plan.digest) != UNTRAINED_VERSION
    assert UNTRAINED_VERSION.under(Plan().digest) == UNTRAINED_VERSION


def test_extra_params_choose_among_the_files_of_the_admin_only(tmp_path: Path) -> None:
    reader = PlanReader(Settings(home=tmp_path / "home", roots=(tmp_path / "data",)))
    project = Project(1, "http://127.0.0.1", "t", CONFIG)
    inside = TOML.replace("/models/", f"{tmp_path}/home/weights/")
    assert "cars" in reader(project, inside).settings["plan"]["models"]
    assert reader(project, '{"temperature": 3}') == project
    with pytest.raises(NotAllowed, match="connect --plan"):
        reader(project, TOML)
    with pytest.raises(NotAllowed):
        reader(project, inside.replace("home/weights/", "home/weights/../../"))


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "disk" / "weights").mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "weights" / "out").symlink_to("/etc")
    reader = PlanReader(Settings(home=tmp_path / "home"))
    project = Project(1, "http://127.0.0.1", "t", CONFIG)
    inside = f'[models.s]\nkind = "sam"\nweights = "{tmp_path}/home/weights/s.pth"\n'
    assert reader(project, inside).settings["plan"]["models"]
    with pytest.raises(NotAllowed, match="connect --plan"):
        reader(project, inside.replace("s.pth", "out/passwd"))


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_tolerance_is_a_length(value: str) -> None:
    with pytest.raises(InvalidConfig, match="0 metres or more"):
        read_plan(f"[controls.boxes]\ntolerance = {value}", CONFIG, KINDS)


def test_extra_params_name_no_other_file_and_emptying_them_takes_the_plan_away(tmp_path: Path) -> None:
    reader = PlanReader(Settings(home=tmp_path / "home"))
    project = Project(1, "http://127.0.0.1", "t", CONFIG)
    inside = f'[models.s]\nkind = "sam"\nweights = "{tmp_path}/home/weights/s.pth"\n'
    with pytest.raises(NotAllowed, match="/etc/passwd"):
        reader(project, inside + 'options = { encoder = "/etc/passwd" }')
    for odd in ("a\\u0000b", "~nobody-of-that-name/x"):
        with pytest.raises((InvalidConfig, NotAllowed)):
            reader(project, inside.replace(f"{tmp_path}/home/weights/s.pth", odd))
    planned = reader(project, inside)
    assert planned.settings["plan"]["models"]
    assert "plan" not in reader(planned, None).settings
    assert reader(project, None) == project
