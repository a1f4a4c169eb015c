"""The steps of the images in a clean Debian, and the service in it as nobody. About five minutes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.docker.clean_root import CleanRoot
from tests.docker.files import command


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CleanRoot]:
    """After all steps of the image for GPUs, whose torch comes from PyPI."""
    path = tmp_path_factory.mktemp("docker") / "root"
    try:
        found = CleanRoot.make(path)
        for stage in ("source", "build-gpu", "runtime", "gpu"):
            found.stage(stage)
        yield found
    finally:
        shutil.rmtree(path, ignore_errors=True)  # 7 GB


@pytest.mark.slow
def test_the_image_serves_as_nobody_on_a_read_only_disk_and_ends_when_told(root: CleanRoot) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    words = [*command("runtime", "ENTRYPOINT"), *command("runtime", "CMD")]
    words[words.index("--host") + 1], words[words.index("--port") + 1] = "127.0.0.1", port
    said = root.path.with_name("said.txt")
    with said.open("wb") as log:
        running = subprocess.Popen(root.as_nobody(words), stdout=log, stderr=log)
    try:
        assert answered(f"http://127.0.0.1:{port}/health", running) == 200, said.read_text()
        for check in (["serve", port], ["worker"]):
            done = ask(root, "/usr/local/bin/health.sh", *check)
            assert done.returncode == 0, done.stderr
    finally:
        running.terminate()
        assert running.wait(30) in (0, -15), said.read_text()
    assert ask(root, "/usr/local/bin/health.sh", "serve", port).returncode != 0
    assert (root.path / "data" / "store.db").stat().st_uid == 10001


@pytest.mark.slow
def test_the_command_line_and_every_extra_are_there(root: CleanRoot) -> None:
    assert "Usage: groundlook" in ask(root, "groundlook", "--help").stdout
    assert ask(root, "id", "-u").stdout == "10001\n"
    names = "torch, ultralytics, segment_anything, segmentation_models_pytorch, timm, openvino, redis, rasterio, cv2"
    done = ask(root, "python3", "-c", f"import {names}")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_home_that_can_not_be_written_is_told_at_once(root: CleanRoot) -> None:
    root.env["GROUNDLOOK_HOME"] = "/imagery"
    done = ask(root, "/usr/local/bin/entry.sh", "doctor")
    root.env["GROUNDLOOK_HOME"] = "/data"
    assert (done.returncode, "chown" in done.stderr) == (1, True)


def ask(root: CleanRoot, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(root.as_nobody(words), capture_output=True, text=True, timeout=120)


def answered(url: str, running: subprocess.Popen[bytes], seconds: float = 60.0) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end and running.poll() is None:
        try:
            return httpx.get(url, trust_env=False).status_code
        except httpx.HTTPError:
            time.sleep(0.2)
    return 0
