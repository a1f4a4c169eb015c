"""Settings: out of the environment, and out of the files that it names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.service.settings import read_settings


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1))
def test_a_secret_is_read_from_its_file(secret: str) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"groundlook-secret-{os.getpid()}"
    path.write_text(secret + "\n", encoding="utf-8")
    try:
        found = read_settings({"GROUNDLOOK_USER": "team", "GROUNDLOOK_PASSWORD_FILE": str(path)})
    finally:
        path.unlink()
    assert found.login == ("team", secret)


def test_a_variable_wins_over_its_file_and_files_are_cast_too(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("12\n")
    named = {"GROUNDLOOK_WINDOW_FILE": str(tmp_path / "n"), "GROUNDLOOK_PASSWORD_FILE": str(tmp_path / "n")}
    found = read_settings({**named, "GROUNDLOOK_PASSWORD": "own"})
    assert (found.window, found.password) == (12, "own")
    (tmp_path / "n").write_text("many\n")
    with pytest.raises(InvalidInput, match="GROUNDLOOK_WINDOW='many'"):
        read_settings(named)


def test_a_file_that_is_missing_is_named_and_others_variables_are_theirs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"GROUNDLOOK_REDIS_FILE=.*nowhere"):
        read_settings({"GROUNDLOOK_REDIS_FILE": str(tmp_path / "nowhere")})
    assert read_settings({"POSTGRES_PASSWORD_FILE": "/nowhere", "GROUNDLOOK_REDIS_FILE": ""}).redis == ""


def test_the_command_line_takes_its_token_from_a_file(tmp_path: Path) -> None:
    """Its options read the environment themselves."""
    (tmp_path / "token").write_text("a1\n")
    given = {"GROUNDLOOK_TOKEN_FILE": str(tmp_path / "token"), "GROUNDLOOK_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "groundlook", "connect", "--url", "http://127.0.0.1:1", "--project", "1"]
    done = subprocess.run(command, env={**os.environ, **given}, capture_output=True, text=True, timeout=120)
    assert "Label Studio does not answer" in done.stderr  # it got as far as calling it
    done = subprocess.run(
        command, env={**os.environ, **given, "GROUNDLOOK_TOKEN_FILE": "/nowhere"}, capture_output=True
    )
    assert b"GROUNDLOOK_TOKEN_FILE='/nowhere'" in done.stderr
