"""A project's plan out of Label Studio: the extra_params of its backend, which /setup brings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from groundlook.core.errors import InvalidConfig, NotAllowed
from groundlook.core.plan import ModelSpec
from groundlook.core.types import Project
from groundlook.service.kinds import kind_of, kinds
from groundlook.service.plan import make_plan, read_plan
from groundlook.service.settings import Settings

SOURCE = "plan from extra_params"
"""The setting that says so, so that emptying them takes the plan away."""


class PlanReader:
    """Reads plans that come over the network: whoever edits a backend in Label Studio may choose among the weights that
    this machine's admin put into the allowed folders, and names no URL."""

    def __init__(self, settings: Settings) -> None:
        self._folders = tuple(folder.resolve() for folder in (*settings.roots, settings.home / "weights"))

    def __call__(self, project: Project, extra: Any) -> Project:
        """`project` with the plan in `extra`, TOML or JSON. What is no plan of ours (other keys only) changes nothing,
        but takes away one that came this way before. Raises InvalidConfig, NotAllowed."""
        body = _object(extra)
        if isinstance(body, Mapping) and not {"models", "controls", "interactive"} & set(body):
            return _without(project)
        if isinstance(body, Mapping):
            plan = make_plan(body, project.config, set(kinds()))
        else:
            plan = read_plan(str(body), project.config, set(kinds()))
        for spec in plan.models.values():
            if kind_of(spec.kind).program:
                raise NotAllowed(
                    f"model {spec.name!r} of kind {spec.kind!r} is a program, which may not be named in extra_params: "
                    "use groundlook connect --plan"
                )
            for named in (spec.weights, *(spec.options[o] for o in kind_of(spec.kind).paths if o in spec.options)):
                self._check(str(named), spec)
        return replace(project, settings={**project.settings, "plan": plan.body(), SOURCE: True})

    def _check(self, named: str, spec: ModelSpec) -> None:
        try:
            path = Path(named).expanduser().resolve()
        except (ValueError, RuntimeError, OSError):
            raise InvalidConfig(f"the file {named!r} of model {spec.name!r} is no path") from None
        if "://" in named or not any(path.is_relative_to(folder) for folder in self._folders):
            raise NotAllowed(
                f"the file {named!r} of model {spec.name!r} may not be named in extra_params: put it into "
                f"{self._folders[-1]}, or use groundlook connect --plan"
            )


def _without(project: Project) -> Project:
    """A project whose plan came from extra_params, without it."""
    if not project.settings.get(SOURCE):
        return project
    kept = {key: value for key, value in project.settings.items() if key not in ("plan", SOURCE)}
    return replace(project, settings=kept)


def _object(extra: Any) -> Any:
    """Label Studio stores what was sent: an object, or text."""
    if isinstance(extra, Mapping) or not extra:
        return extra or {}
    if not isinstance(extra, str) or len(extra) > 100_000:
        raise InvalidConfig(f"extra_params are {type(extra).__name__}: send a plan as a JSON object or as TOML")
    try:
        found = json.loads(extra)
    except (ValueError, RecursionError):
        return extra
    return found if isinstance(found, Mapping) else extra
