"""The whole examination, in the order in which one thing needs another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from groundlook.core.types import Project
from groundlook.service.finding import Finding, fine, look, skip, warn
from groundlook.service.settings import Settings, read_settings
from groundlook.service.wiring.connect import find_project
from groundlook.service.wiring.doctor.home import HOME_CHECKS, home_writable, space
from groundlook.service.wiring.doctor.machine import MACHINE_CHECKS
from groundlook.service.wiring.doctor.project import PROJECT_CHECKS
from groundlook.service.wiring.doctor.service import SERVICE_CHECKS
from groundlook.service.wiring.doctor.studio import clock, reachable, rights, token
from groundlook.service.wiring.parts import Wired, wire


def examine(
    environ: Mapping[str, str], project: int | None = None, url: str | None = None, key: str | None = None
) -> Iterator[Finding]:
    """Every finding, as it is made. `project`: only this one, by default all that are connected. `url`, `key`: Label
    Studio and a token, for a project that is not connected yet, or in place of the stored ones. Never raises."""
    settings: list[Settings] = []
    yield look("settings", "correct the variable, or unset it", _settings, environ, settings)
    for name, remedy, check in MACHINE_CHECKS:
        yield look(name, remedy, check, environ)
    for chosen in settings:
        yield from _of_settings(chosen, project, url, key)


def _of_settings(settings: Settings, project: int | None, url: str | None, key: str | None) -> Iterator[Finding]:
    home = look("home", "set GROUNDLOOK_HOME to a folder that this user may write to", home_writable, settings)
    yield home
    yield look("disk", "make room, or set GROUNDLOOK_HOME to another disk", space, settings)
    wired: list[Wired] = []
    if home.ok != "fail":
        yield look("store", f"move the damaged file out of {settings.home} and connect again", _opened, settings, wired)
    for parts in wired:
        try:
            yield from _of_wired(parts, project, url, key)
        finally:
            parts.close()


def _of_wired(wired: Wired, project: int | None, url: str | None, key: str | None) -> Iterator[Finding]:
    for name, remedy, check in HOME_CHECKS:
        yield look(name, remedy, check, wired)
    for name, remedy, asked in SERVICE_CHECKS:
        yield look(name, remedy, asked, wired.settings)
    chosen: list[Project] = []
    yield look("projects", "run: groundlook connect --url … --project N", _projects, wired, project, url, key, chosen)
    servers = {p.url for p in chosen} | ({url.rstrip("/")} if url else set())
    silent: set[str] = set()
    for server in sorted(servers):
        yield from _server(server, silent)
    for known in chosen:
        if known.url in silent:
            yield replace(skip(f"not looked at: {known.url} does not answer"), name=f"project {known.id}")
        else:
            yield from _of_project(wired, known)


def _server(url: str, silent: set[str]) -> Iterator[Finding]:
    remedy = f"start Label Studio, or correct --url {url}; a firewall or proxy may stand between"
    found = look(f"label studio {url}", remedy, reachable, url)
    yield found
    if found.ok == "fail":
        silent.add(url)
        return
    yield look(f"clock {url}", remedy, clock, url)


def _of_project(wired: Wired, project: Project) -> Iterator[Finding]:
    first = f"project {project.id}"
    fresh = "make a personal access token under Account & Settings, and connect again with --token"
    found = look(f"{first}: token", fresh, token, wired, project)
    yield found
    if found.ok == "fail":
        yield replace(skip("not looked at: Label Studio does not take the token"), name=f"{first}: everything else")
        return
    yield look(f"{first}: rights", "use the token of a user who may administer the project", rights, wired, project)
    for name, remedy, check in PROJECT_CHECKS:
        yield look(f"{first}: {name}", remedy.replace("{id}", str(project.id)), check, wired, project)


def _settings(environ: Mapping[str, str], into: list[Settings]) -> Finding:
    settings = read_settings(environ)
    into.append(settings)
    if bool(settings.user) != bool(settings.password):
        return warn(
            "of GROUNDLOOK_USER and GROUNDLOOK_PASSWORD only one is set",
            "set both, or neither: without a user no login is asked for",
        )
    return fine(f"service {settings.url}, home {settings.home}")


def _opened(settings: Settings, into: list[Wired]) -> Finding:
    into.append(wire(settings))
    return fine(f"{len(into[0].store.projects())} projects connected")


def _projects(wired: Wired, project: int | None, url: str | None, key: str | None, into: list[Project]) -> Finding:
    """A token goes to the server that it was given for, and to no other."""
    if project is not None:
        into.append(find_project(wired, project, url, key))
    else:
        known = [p for p in wired.store.projects() if not url or p.url == url.rstrip("/")]
        into.extend(replace(p, token=key) if url and key else p for p in known)
    if not into:
        at = f" of {url}" if url else ""
        return warn(
            f"no project{at} is connected in {wired.settings.home}", "run: groundlook connect --url … --project N"
        )
    return fine(", ".join(f"{p.id} ({p.title})" if p.title else str(p.id) for p in into))
