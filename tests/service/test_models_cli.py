"""`groundlook models`: list, promote, rollback, diff."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from groundlook.core.errors import GroundlookError, InvalidInput, NotFound
from groundlook.core.types import Control, LabelConfig, ModelCard, ModelVersion, Project
from groundlook.learning.registry import FileRegistry, file_sha256
from groundlook.service.cli import app
from groundlook_adapters.store.sqlite import SqliteStore

from .conftest import Files

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("x",), (Control("label", "RectangleLabels", ("x",)),)
)
FIRST, SECOND, REFUSED, UNSURE = (ModelVersion("yolo", d + "0" * 8) for d in ("1a2b", "1a9f", "2c3d", "3e4f"))


class Desk:
    """Where commands are given, on project 7 of a server that knows of nothing."""

    def __init__(self, home: Path, url: str) -> None:
        store = SqliteStore(home / "store.db")
        store.put_project(Project(7, url, "0" * 40, CONFIG, "one"))
        store.close()
        self.registry = FileRegistry(home / "models")
        metrics = {"quality": 0.5, "map50": 0.5, "AP50/x": 0.5, "ece": 0.2}
        card = ModelCard(FIRST, "yolo", "yolo11n.yaml", ("x",), "", "5" * 64, verdict="promoted", metrics=metrics)
        more = {"snapshot": "6" * 64, "parent": str(FIRST), "licence": "AGPL-3.0", "created": 1e9}
        better = {"quality": 0.625, "map50": 0.625, "AP50/x": 0.625, "lost": float("nan")}
        worse = {"quality": 0.25, "map50": 0.25, "champion_quality": 0.625}
        self.keep(home, card)
        self.keep(home, replace(card, version=SECOND, metrics=better, **more))
        self.keep(home, replace(card, version=REFUSED, verdict="refused", metrics=worse))
        self.keep(home, replace(card, version=UNSURE, verdict="needs a person"))
        self.registry.promote(7, FIRST, None)
        self.registry.promote(7, SECOND, FIRST)

    def keep(self, home: Path, card: ModelCard) -> None:
        weights = home / "made.safetensors"
        weights.write_bytes(str(card.version).encode())
        self.registry.save(7, replace(card, sha256=file_sha256(weights)), weights)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["models", *words, "--project", "7"])

    def text(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def body(self, *words: str) -> Any:
        return json.loads(self.text(*words, "--json"))

    def error(self, *words: str) -> GroundlookError:
        result = self.run(*words)
        assert result.exit_code == 1
        assert isinstance(result.exception, GroundlookError)
        return result.exception

    @property
    def serving(self) -> ModelVersion:
        card = self.registry.serving(7)
        assert card is not None
        return card.version


@pytest.fixture(scope="module")
def nothing() -> Iterator[str]:
    """The address of a server that answers 404."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Files,), {"files": {}, "asked": []}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: str) -> Desk:
    monkeypatch.setenv("GROUNDLOOK_HOME", str(tmp_path))
    return Desk(tmp_path, nothing)


def test_the_list_says_what_serves_and_where_it_comes_from(desk: Desk) -> None:
    lines = desk.text("list").splitlines()
    assert [line[0] for line in lines] == [" ", " ", " ", "*"]
    assert lines == desk.text().splitlines()  # as before there were commands
    assert str(SECOND) in lines[3]
    assert f"mAP50 0.625  yolo11n.yaml  ← {FIRST}  snapshot {'6' * 12}  AGPL-3.0" in lines[3]
    assert "calibration error 0.200" in lines[0]
    body = desk.body("list")
    assert body == desk.body()
    rows = {row["version"]: row for row in body["models"]}
    assert [v for v, row in rows.items() if row["serving"]] == [str(SECOND)]
    assert rows[str(SECOND)]["parent"] == str(FIRST)
    assert rows[str(SECOND)]["metrics"]["lost"] is None  # JSON knows no NaN


def test_rollback_and_promotion_by_hand(desk: Desk) -> None:
    said = desk.body("rollback")
    assert (said["serving"], said["before"], said["window"]) == (str(FIRST), str(SECOND), None)
    assert desk.serving == FIRST
    assert "withdrawn" in desk.text("list").splitlines()[3]
    assert [r["withdrawn"] for r in desk.body("list")["models"]] == [False, False, False, True]
    assert "no version served project 7 before" in str(desk.error("rollback"))
    assert desk.body("promote", "1a9") == {"project": 7, "serving": str(SECOND), "before": str(FIRST)}
    assert f"{SECOND} serves project 7 already" in desk.text("promote", str(SECOND))
    assert desk.body("rollback", "--to", str(FIRST))["serving"] == str(FIRST)


def test_a_refused_version_needs_force_and_one_that_needs_a_person_has_one(desk: Desk, tmp_path: Path) -> None:
    error = desk.error("promote", "2c")
    assert isinstance(error, InvalidInput)
    assert f"the gate refused {REFUSED}: its mAP50 is 0.250, that of the version before it 0.625; --force" in str(error)
    report = tmp_path / "reports" / "7" / str(REFUSED) / "gate.html"
    report.parent.mkdir(parents=True)
    report.write_text("<p>because</p>")
    assert str(report) in str(desk.error("promote", "2c"))
    assert desk.serving == SECOND
    assert f"{REFUSED} serves project 7" in desk.text("promote", "2c", "--force")
    assert f"{UNSURE} serves project 7" in desk.text("promote", "3e")
    assert desk.serving == UNSURE


def test_prefixes_that_say_too_little_are_errors_that_list_what_there_is(desk: Desk) -> None:
    assert f"'1a' may be any of {FIRST}, {SECOND}" in str(desk.error("promote", "1a"))
    assert isinstance(desk.error("diff", "9", "1a2"), NotFound)
    assert "did not serve before" in str(desk.error("rollback", "--to", "3e"))
    assert desk.serving == SECOND


def test_a_diff_has_facts_and_metrics_side_by_side(desk: Desk) -> None:
    body = desk.body("diff", "1a2", "1a9")
    assert body["versions"] == [str(FIRST), str(SECOND)]
    assert body["facts"]["parent"] == ["", str(FIRST)]
    assert body["facts"]["licence"] == ["", "AGPL-3.0"]
    assert body["facts"]["bytes"] == [len(str(FIRST)), len(str(SECOND))]
    assert body["metrics"]["AP50/x"] == [0.5, 0.625]
    assert body["metrics"]["ece"] == [0.2, None]
    text = desk.text("diff", "1a2", "1a9").splitlines()
    assert next(line for line in text if line.startswith("AP50/x")).split() == ["AP50/x", "0.5", "0.625", "+0.125"]
    assert next(line for line in text if line.startswith("arch")).endswith("the same")
    assert next(line for line in text if line.startswith("snapshot")).split()[1].endswith("…")


def test_wrong_usage_and_unknown_projects(desk: Desk) -> None:
    nameless = CliRunner().invoke(app, ["models"])
    assert nameless.exit_code == 2
    assert "--project" in nameless.output
    assert desk.run("promote").exit_code == 2
    stranger = CliRunner().invoke(app, ["models", "--project", "8"])
    assert isinstance(stranger.exception, NotFound)


@pytest.mark.parametrize("command", ["", "list", "promote", "rollback", "diff"])
def test_help_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, ["models", *([command] if command else []), "--help"])
    assert result.exit_code == 0
    assert "Example: groundlook models" in result.output
