"""groundlook.toml → Plan: which model answers for which control. The same keys as JSON in a backend's extra_params."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from groundlook.core.errors import InvalidConfig
from groundlook.core.plan import ModelSpec, Plan, Route
from groundlook.core.types import Control, LabelConfig

EXAMPLE = '[models.sam]\nkind = "sam"\nweights = "/models/sam_vit_b_01ec64.pth"\n\n[controls.outline]\nmodel = "sam"'


def read_plan(text: str, config: LabelConfig, kinds: set[str]) -> Plan:
    """A plan out of TOML, or of a JSON object. Raises InvalidConfig that names the table, the key and what it may be:
    unknown keys, kinds not among `kinds`, models and controls that don't exist."""
    try:
        body = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(
            f"the plan is neither TOML nor a JSON object ({error}); it looks like:\n{EXAMPLE}"
        ) from None
    return make_plan(body, config, kinds)


def make_plan(body: Mapping[str, Any], config: LabelConfig, kinds: set[str]) -> Plan:
    """`read_plan` of what was parsed already."""
    _known("the plan", body, {"models", "controls", "interactive"})
    models = {n: _model(n, b, kinds) for n, b in _table("models", body).items()}
    named = {c.name: c for c in (*config.controls, *config.others)}
    routes = {n: _route(n, b, models, named) for n, b in _table("controls", body).items()}
    interactive = _table("interactive", body)
    _known("[interactive]", interactive, {"model", "control"})
    model, output = str(interactive.get("model", "")), str(interactive.get("control", ""))
    if model and model not in models:
        raise InvalidConfig(f"[interactive] model = {model!r}: there is {_either(models)}; add [models.{model}]")
    if output and output not in named:
        raise InvalidConfig(f"[interactive] control = {output!r}: the label config has {_either(named)}")
    return Plan(models, routes, model, output)


def _model(name: str, body: Any, kinds: set[str]) -> ModelSpec:
    where = f"[models.{name}]"
    body = _typed(where, ModelSpec, body, {"name"})
    if body.get("kind") not in kinds:
        raise InvalidConfig(f"{where} kind = {body.get('kind')!r}: choose {_either(kinds)}")
    if "://" in body.get("weights", "") and not body.get("sha256"):
        raise InvalidConfig(f"{where} weights from a URL need sha256, so that nobody can swap them: {body['weights']}")
    if any(not isinstance(label, str) for label in body.get("label_map", {}).values()):
        raise InvalidConfig(f"{where} label_map = {body['label_map']!r}: labels are text")
    return ModelSpec(name, **{**body, "classes": tuple(map(str, body.get("classes", ())))})


def _route(name: str, body: Any, models: Mapping[str, ModelSpec], controls: Mapping[str, Control]) -> Route:
    where = f"[controls.{name}]"
    if name not in controls:
        raise InvalidConfig(f"{where}: the label config has no such control that can be answered; {_either(controls)}")
    route = Route(name, **_typed(where, Route, body, {"control"}))
    for key, model in (("model", route.model), ("refine", route.refine)):
        if model and model not in models:
            raise InvalidConfig(f"{where} {key} = {model!r}: there is {_either(models)}; add [models.{model}]")
    if not (math.isfinite(route.tolerance) and route.tolerance >= 0):
        raise InvalidConfig(f"{where} tolerance = {route.tolerance}: 0 metres or more")
    wanted = {"Number": "count", "Rating": "sureness"}.get(controls[name].type, "regions")
    if route.answers != wanted:
        raise InvalidConfig(f'{where} answers = "{route.answers}": a {controls[name].type} takes "{wanted}"')
    return route


def _typed(where: str, kind: type, body: Any, without: set[str]) -> dict[str, Any]:
    """The keys of a table, each of the type that the dataclass says."""
    if not isinstance(body, Mapping):
        raise InvalidConfig(f"{where} is {body!r}, not a table")
    hints = {f.name: get_type_hints(kind)[f.name] for f in fields(kind) if f.name not in without}
    _known(where, body, set(hints))
    for key, value in body.items():
        choices = [c for c in get_args(hints[key]) if isinstance(c, str)]
        if choices and value not in choices:
            raise InvalidConfig(f"{where} {key} = {value!r}: choose {_either(choices)}")
        if not choices and not _is(hints[key], value):
            raise InvalidConfig(f"{where} {key} = {value!r} is not a {getattr(hints[key], '__name__', hints[key])}")
    return dict(body)


def _is(hint: Any, value: Any) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    origin = getattr(hint, "__origin__", hint)
    return isinstance(value, list | tuple if origin is tuple else Mapping if origin not in (str, bool) else origin)


def _table(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    found = body.get(name, {})
    if not isinstance(found, Mapping):
        raise InvalidConfig(f"[{name}] is {found!r}, not a table; a plan looks like:\n{EXAMPLE}")
    return found


def _known(where: str, body: Any, keys: set[str]) -> None:
    if not isinstance(body, Mapping):
        raise InvalidConfig(f"{where} is {body!r}, not a table; a plan looks like:\n{EXAMPLE}")
    unknown = sorted(set(map(str, body)) - keys)
    if unknown:
        raise InvalidConfig(f"{where} has no key {unknown[0]!r}; it may have {_either(keys)}")


def _either(names: Any) -> str:
    return ", ".join(sorted(map(str, names))) or "none"
