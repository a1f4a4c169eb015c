"""Label Studio: is it there, what time is it there, what may our token do."""

from __future__ import annotations

from groundlook.core.errors import LabelStudioError
from groundlook.core.types import Project
from groundlook.service.finding import Finding, fail, fine, skip, warn
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.labelstudio.probe import ask_server, may_change, token_kind

MOST_SKEW = 5.0
"""Seconds; orders and lead times compare moments of both clocks."""


def reachable(url: str) -> Finding:
    """It answers, and it is Label Studio."""
    version = ask_server(url).version
    if not version:
        return fail(f"{url} answers, but not as Label Studio", "correct --url: it is Label Studio's own address")
    return fine(f"Label Studio {version}")


def clock(url: str) -> Finding:
    """Both clocks agree."""
    skew = ask_server(url).skew
    if skew is None:
        return skip("Label Studio sends no Date")
    if abs(skew) > MOST_SKEW:
        return warn(f"Label Studio's clock is {skew:+.0f} s off ours", "let NTP set both clocks")
    return fine(f"within {MOST_SKEW:.0f} s of ours")


def token(wired: Wired, project: Project) -> Finding:
    """What kind of token it is, and that the project can be read with it."""
    kind = token_kind(project.token)
    try:
        title = wired.client.get_project(project.url, project.token, project.id).get("title")
    except LabelStudioError as error:
        if kind == "access token":
            return fail(
                f"it is an access token, which lives for 5 minutes ({error})",
                "connect again with the personal access token itself (Account & Settings)",
            )
        if error.status == 401 and "legacy" in str(error).lower() and "disabled" in str(error).lower():
            return fail(
                "it is a legacy token, and Label Studio's organization has switched these off",
                "connect again with a personal access token (Account & Settings), or switch legacy tokens on: "
                "Organization, API tokens settings",
            )
        if error.status is None:
            return fail(str(error), f"start Label Studio at {project.url}")
        raise
    return fine(f"a {kind} that reads project {project.id} ({title})")


def rights(wired: Wired, project: Project) -> Finding:
    """The token may change the project: an update without any field is accepted."""
    may_change(wired.client, project)
    return fine("the token may change the project")
