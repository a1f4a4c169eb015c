"""Model versions in MLflow: a real tracking store in a folder, and ones that can't be reached."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groundlook.core.errors import Busy, InvalidInput
from groundlook.core.types import Control, LabelConfig, ModelCard, ModelVersion, Project
from groundlook.learning.registry import FileRegistry, file_sha256
from groundlook.loop.track import tell, track
from groundlook.service.settings import Settings
from groundlook.service.wiring import Wired, wire
from groundlook_adapters.mlflow import STATE, VERSION, MlflowTracker

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("x",), (Control("label", "RectangleLabels", ("x",)),)
)
PROJECT = Project(7, "http://user:secret@127.0.0.1:9", "0" * 40, CONFIG, "one")
A, B = (ModelVersion("yolo", c * 12) for c in "ab")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning:mlflow")


def card(version: ModelVersion, **more: Any) -> ModelCard:
    metrics = {"quality": 0.5, "AP50/Gebäude (alt)/neu": 0.25, "ece": float("nan")}
    known = ModelCard(version, "yolo", "yolo11n.yaml", ("x", "y"), "5" * 64, "6" * 64, "", "promoted", 1.7e9, metrics)
    return replace(known, code="groundlook 0.1", licence="AGPL-3.0", **more)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'runs'}"


def runs(uri: str) -> Mapping[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = (e for e in client.search_experiments() if e.name.startswith("groundlook"))
    found = client.search_runs([experiment.experiment_id])
    by_version = {run.data.tags[VERSION]: run for run in found}
    assert len(by_version) == len(found), "one run a version"
    assert "secret" not in experiment.name
    return by_version


def test_every_version_is_one_run_with_what_its_card_says(uri: str) -> None:
    tracker = MlflowTracker(uri)
    rows = [(card(A), "kept", ()), (card(B, parent=str(A)), "serving", ())]
    assert tracker.track(PROJECT, rows) == 2
    assert tracker.track(PROJECT, rows) == 0
    assert MlflowTracker(uri).track(PROJECT, rows) == 0  # another process
    found = runs(uri)
    assert set(found) == {str(A), str(B)}
    run = found[str(B)]
    assert run.data.params == {"kind": "yolo", "arch": "yolo11n.yaml", "labels": "x, y", "sha256": "5" * 64}
    assert run.data.metrics == {"quality": 0.5, "AP50/Gebäude _alt__neu": 0.25}
    told = {key: run.data.tags[f"groundlook.{key}"] for key in ("snapshot", "parent", "verdict", "licence", "code")}
    assert told == {
        "snapshot": "6" * 64,
        "parent": str(A),
        "verdict": "promoted",
        "licence": "AGPL-3.0",
        "code": "groundlook 0.1",
    }
    assert (run.info.status, run.info.start_time, run.info.run_name) == ("FINISHED", 1.7e12, str(B))


def test_a_promotion_and_a_rollback_change_a_tag(uri: str) -> None:
    tracker = MlflowTracker(uri)
    tracker.track(PROJECT, [(card(A), "serving", ())])
    tracker.track(PROJECT, [(card(A), "kept", ()), (card(B), "serving", ())])
    assert {v: run.data.tags[STATE] for v, run in runs(uri).items()} == {str(A): "kept", str(B): "serving"}
    tracker.track(PROJECT, [(card(A), "serving", ()), (card(B), "withdrawn", ())])
    assert {v: run.data.tags[STATE] for v, run in runs(uri).items()} == {str(A): "serving", str(B): "withdrawn"}


def test_the_report_and_the_card_lie_beside_the_run_and_are_those_of_the_last_judgement(
    uri: str, tmp_path: Path
) -> None:
    report = tmp_path / "gate.json", tmp_path / "gate.html"
    tracker = MlflowTracker(uri)
    for path in report:
        path.write_text("better than the first")
    assert tracker.track(PROJECT, [(card(A, judged=1), "kept", report)]) == 1
    assert tracker.track(PROJECT, [(card(A, judged=1), "kept", report)]) == 0
    assert files(uri, tmp_path)["gate.html"] == files(uri, tmp_path)["gate.json"] == "better than the first"
    for path in report:
        path.write_text("worse than the second")
    lost = card(A, judged=2, verdict="refused", metrics={"quality": 0.4, "champion_quality": 0.6})
    assert tracker.track(PROJECT, [(lost, "kept", report)]) == 1
    assert tracker.track(PROJECT, [(lost, "kept", report)]) == 0
    (run,) = runs(uri).values()
    assert run.data.tags["groundlook.verdict"] == "refused"
    assert {k: run.data.metrics[k] for k in lost.metrics} == lost.metrics
    found = files(uri, tmp_path)
    assert set(found) == {"card.json", "gate.html", "gate.json"}, "and no weights"
    assert found["gate.html"] == found["gate.json"] == "worse than the second"
    assert json.loads(found["card.json"])["verdict"] == "refused"
    assert json.loads(found["card.json"])["version"] == str(A)


def files(uri: str, tmp_path: Path) -> dict[str, str]:
    """What lies beside the only run."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (run,) = runs(uri).values()
    place = tmp_path / "downloaded"
    place.mkdir(exist_ok=True)
    return {
        f.path: Path(client.download_artifacts(run.info.run_id, f.path, str(place))).read_text()
        for f in client.list_artifacts(run.info.run_id)
    }


@pytest.mark.parametrize("step", ["set_terminated", "log_artifact"])
def test_a_run_that_somebody_was_killed_over_is_finished(
    step: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    report = tmp_path / "gate.json"
    report.write_text("{}")
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, step, killed)
        with pytest.raises(KeyboardInterrupt):
            MlflowTracker(uri).track(PROJECT, [(card(A), "serving", (report,))])
    assert MlflowTracker(uri).track(PROJECT, [(card(A), "serving", (report,))]) == 1
    (run,) = runs(uri).values()
    assert files(uri, tmp_path)["gate.json"] == "{}"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["quality"] == 0.5


def test_a_server_that_is_away_is_said_soon_and_without_its_password() -> None:
    began = time.monotonic()
    with pytest.raises(Busy, match=r"MLflow at http://127\.0\.0\.1:9 did not take it") as caught:
        MlflowTracker("http://me:hidden@127.0.0.1:9").track(PROJECT, [(card(A), "serving", ())])
    assert "hidden" not in str(caught.value)
    assert time.monotonic() - began < 30


def test_a_store_that_this_mlflow_cannot_use_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"GROUNDLOOK_MLFLOW=sqlite:.* can't be used"):
        MlflowTracker(f"sqlite:///{tmp_path / 'm.db'}").track(PROJECT, [])


@pytest.fixture
def wired(tmp_path: Path, uri: str) -> Any:
    with wire(Settings(home=tmp_path / "home", mlflow=uri)) as found:
        found.store.put_project(PROJECT)
        yield found


def test_a_promotion_asks_for_it_in_the_background(wired: Wired, tmp_path: Path, uri: str) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"w")
    for version in (A, B):
        wired.registry.save(7, replace(card(version), sha256=file_sha256(weights)), weights)
    wired.registry.promote(7, A, None)
    for name in ("gate.json", "gate.html"):
        report = wired.settings.home / "reports" / "7" / str(A) / name
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("{}")
    tell(wired.loop, 7)
    assert "track" in [job.kind for job in wired.jobs.jobs(7)]
    assert track(wired.loop, 7, lambda *_: None) == "2 of 2 versions written"
    from mlflow import MlflowClient

    seen = MlflowClient(uri).list_artifacts(runs(uri)[str(A)].info.run_id)
    assert [f.path for f in seen] == ["card.json", "gate.html", "gate.json"]
    wired.registry.promote(7, B, A)
    wired.registry.rollback(7)
    assert track(wired.loop, 7, lambda *_: None) == "0 of 2 versions written"
    assert {v: run.data.tags[STATE] for v, run in runs(uri).items()} == {str(A): "serving", str(B): "withdrawn"}


def test_without_the_setting_nothing_is_asked_for(tmp_path: Path) -> None:
    with wire(Settings(home=tmp_path / "home")) as wired:
        wired.store.put_project(PROJECT)
        tell(wired.loop, 7)
        assert wired.jobs.jobs(7) == []
    assert isinstance(wired.registry, FileRegistry)


def test_mlflow_tells_nobody_and_costs_nothing_until_it_is_used(tmp_path: Path) -> None:
    """In a process of its own: mlflow decides at import, and calls a run under pytest a test that it does not count."""
    code = (
        "import os, sys\n"
        "[os.environ.pop(k, None) for k in ('PYTEST_CURRENT_TEST', 'CI', 'GITHUB_ACTIONS')]\n"
        "from groundlook_adapters.mlflow import MlflowTracker\n"
        f"tracker = MlflowTracker('file:{tmp_path / 'runs'}')\n"
        "assert 'mlflow' not in sys.modules\n"
        "from groundlook.core.types import Project, LabelConfig\n"
        "project = Project(7, 'http://h', 't', LabelConfig('l', 'RectangleLabels', 'i', 'i', ()))\n"
        "tracker.track(project, [])\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled()\n"
        "assert get_telemetry_client() is None\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
