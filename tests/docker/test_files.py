"""docker/: what can be checked without an engine. The images' steps are run in `test_clean_root`."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from packaging.version import Version

from groundlook.service.cli import app
from groundlook.service.settings import PREFIX, Settings, read_settings
from tests.docker.files import DOCKER, ROOT, arguments, command, compose, environment, instructions

OURS = ("groundlook", "worker", "shards")
SCRIPTS = sorted((DOCKER / "scripts").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_shell_and_stop_at_the_first_error(script: Path) -> None:
    assert subprocess.run(["sh", "-n", script], capture_output=True, text=True).stderr == ""
    lines = script.read_text().splitlines()
    assert (lines[0], "set -eu" in lines) == ("#!/bin/sh", True)
    assert script.stat().st_mode & 0o111


def test_every_file_that_the_images_take_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    for stage, word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for name in rest.split()[:-1]:
                assert (ROOT / name).exists(), (stage, name)
                assert any(Path(name).is_relative_to(k) for k in kept), (stage, name)
        elif word == "COPY":
            assert rest.split()[0].removeprefix("--from=") in {s for s, _, _ in instructions()}
        elif word in ("RUN", "HEALTHCHECK"):
            for name in re.findall(r"[\w./-]+\.sh", rest):
                assert (DOCKER / "scripts" / Path(name).name).exists(), (stage, name)


def test_images_are_pinned_run_as_nobody_and_say_how_they_are() -> None:
    for name, value in arguments().items():
        assert not name.endswith("_IMAGE") or pinned(value), value
    for _, word, rest in instructions():
        if word == "FROM":
            assert rest.split()[0] in {"${PYTHON_IMAGE}", *(s for s, _, _ in instructions())}
    last = {stage: [r for s, w, r in instructions() if (s, w) == (stage, "FROM")] for stage in ("cpu", "gpu")}
    assert last == {"cpu": ["runtime AS cpu"], "gpu": ["runtime AS gpu"]}
    words = [w for s, w, _ in instructions() if s == "runtime"]
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT", "CMD", "VOLUME"} <= set(words)
    (user,) = (rest for _, word, rest in instructions() if word == "USER")
    assert user == "10001:10001"
    assert "--uid 10001 --gid 10001" in (DOCKER / "scripts" / "system.sh").read_text()
    assert not [rest for _, word, rest in instructions() if word == "ADD"]
    exists(command("runtime", "CMD"))
    assert read_settings(environment("runtime")).home == Path("/data")


def test_constraints_pin_all_that_groundlook_asks_for() -> None:
    lines = [line for line in (DOCKER / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    pins = {r.name.lower(): r for r in map(Requirement, lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for text in (*project["dependencies"], *(d for some in extras.values() for d in some)):
        wanted = Requirement(text)
        (pin,) = pins[wanted.name.lower()].specifier
        assert pin.operator == "=="
        assert wanted.specifier.contains(Version(pin.version), prereleases=True), text
    assert set(arguments()["EXTRAS"].split(",")) <= set(extras)


def test_every_setting_in_the_compose_file_exists_and_can_be_read(tmp_path: Path) -> None:
    known = {PREFIX + f.name.upper() for f in fields(Settings)} | {"GROUNDLOOK_LOG"}
    for name in OURS:
        service = compose()["services"][name]
        given = {k: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", v) for k, v in service["environment"].items()}
        assert {k.removesuffix("_FILE") for k in given} <= known
        for k, path in given.items():
            if k.endswith("_FILE"):
                assert path.removeprefix("/run/secrets/") in service["secrets"]
                (tmp_path / Path(path).name).write_text("secret\n")
                given[k] = str(tmp_path / Path(path).name)
        found = read_settings(given)
        assert (found.login, found.redis) == (("groundlook", "secret"), "redis://redis:6379/0")
        assert found.url.startswith("http://groundlook.localhost:")


def test_every_command_in_the_compose_file_exists() -> None:
    for name in OURS:
        exists(compose()["services"][name]["command"])
    scripts = [s["healthcheck"]["test"][1] for n, s in compose()["services"].items() if n in OURS]
    assert {Path(s).name for s in scripts} == {"health.sh"}
    assert command("runtime", "ENTRYPOINT") == ["/usr/local/bin/entry.sh"]


def test_services_are_pinned_healthy_bounded_and_shut() -> None:
    body = compose()
    assert set(body["services"]) == {"label-studio", "postgres", "redis", *OURS}
    for name, service in body["services"].items():
        assert pinned(service["image"].replace("-${TARGET:-cpu}", "-cpu")), name
        assert service["healthcheck"]["test"], name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert set(service["networks"]) <= set(body["networks"]), name
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in body["services"][needed]
        for port in service.get("ports", []):
            assert port.startswith("${BIND:-127.0.0.1}:"), name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in body["volumes"] or volume.startswith("${IMAGERY"), volume
        for secret in service.get("secrets", []):
            assert secret in body["secrets"], name
    assert {n for n, s in body["services"].items() if "ports" in s} == {"label-studio", "groundlook"}
    for name in OURS:
        service = body["services"][name]
        assert (service["read_only"], service["cap_drop"], service.get("user")) == (True, ["ALL"], None)
    redis = body["services"]["redis"]["command"]
    assert redis[redis.index("--appendfsync") + 1] == "always"
    assert redis[redis.index("--appendonly") + 1] == "yes"
    assert {n for n, net in body["networks"].items() if net and net.get("internal")} == {"database", "jobs"}


def test_no_secret_is_written_in_a_file_of_ours_and_they_are_made_once(tmp_path: Path) -> None:
    run = ["sh", str(DOCKER / "scripts" / "secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(run, check=True, capture_output=True)
    made = {p.name: p.read_text() for p in (tmp_path / "secrets").iterdir()}
    assert set(made) == {Path(s["file"]).name for s in compose()["secrets"].values()}
    assert len(set(re.findall(r"[0-9a-f]{40}", "".join(made.values())))) == 4
    assert f"POSTGRE_PASSWORD={made['postgres_password']}" in made["label_studio_env"]
    assert (tmp_path / "secrets").stat().st_mode & 0o77 == 0
    subprocess.run(run, check=True, capture_output=True)
    assert {p.name: p.read_text() for p in (tmp_path / "secrets").iterdir()} == made
    assert "secrets/" in (DOCKER / ".gitignore").read_text()
    for name, service in compose()["services"].items():
        bare = [k for k in service.get("environment", {}) if re.search("PASSWORD|TOKEN$|SECRET", k)]
        assert all(k.endswith("_FILE") or k == "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN" for k in bare), name


def test_the_gpu_file_adds_to_services_that_exist() -> None:
    more = compose("compose.gpu.yaml")["services"]
    assert set(more) == set(OURS)
    assert all(s["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia" for s in more.values())


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.gpu.yaml"]])
def test_docker_itself_takes_the_compose_file(files: list[str]) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    named = [word for file in files for word in ("--file", str(DOCKER / file))]
    done = subprocess.run([docker, "compose", *named, "config", "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def pinned(image: str) -> bool:
    """A tag of a version with two numbers or more, not of a branch."""
    return bool(re.fullmatch(r"[\w./-]+:\d+(\.\d+)+[\w.-]*", image))


def exists(words: list[str]) -> None:
    """That the command line has the command, and all its options."""
    group: Any = typer.main.get_command(app)
    group.commands[words[0]].make_context(words[0], list(words[1:]))
