"""What the owner of a Label Studio does, by its API and in a browser."""

from __future__ import annotations

from typing import Any

import httpx
from playwright.sync_api import Page

from groundlook.demo.studio import Studio


def call(studio: Studio, method: str, path: str, body: Any = None, **more: Any) -> Any:
    """What the server answers to `body` as JSON, or to `more` as httpx takes it; None for an empty answer."""
    header = {"Authorization": f"Token {studio.token}"}
    url = studio.url + path
    answer = httpx.request(method, url, json=body, headers=header, timeout=120, trust_env=False, **more)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def log_in(page: Page, studio: Studio) -> None:
    """As its login page does it."""
    page.goto(f"{studio.url}/user/login/")
    page.fill("input[name=email]", studio.username)
    page.fill("input[name=password]", studio.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)


def submit(page: Page) -> None:
    """Press Submit in the editor; Label Studio has the annotation when this returns."""
    with page.expect_response(lambda r: r.request.method == "POST" and "/annotations" in r.url, timeout=60_000):
        page.get_by_test_id("bottombar-submit-button").click()
