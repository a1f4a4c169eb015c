"""The manifest of an export: what was written, of what, by which versions, under which licences; with hashes."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from groundlook.core.errors import InvalidInput
from groundlook_adapters.vectors.export.write import Written

SOFTWARE_LICENCE = "Apache-2.0"
SCHEMA = "groundlook-export/1"
_MAX_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """A raster behind an export. `crs`: code or WKT2, None for an image on no map; `copyright`: as its file says."""

    source: str
    scene_id: str
    etag: str
    crs: str | None
    acquired: str | None = None
    copyright: str | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What an export says of itself. `created`: ISO 8601; `licence`: of the labels, as the user says, None = not said;
    `models`: the versions whose predictions people were shown; `counts`, `settings`: plain JSON values."""

    version: str
    format: str
    created: str
    project: int
    title: str
    url: str
    labels: Sequence[str]
    licence: str | None = None
    models: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    scenes: Sequence[SceneFacts] = ()


def manifest_path(out: Path, is_folder: bool) -> Path:
    """`manifest.json` in a folder, `labels.gpkg.manifest.json` beside a file."""
    return out / "manifest.json" if is_folder else out.with_name(f"{out.name}.manifest.json")


def manifest(about: About, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest as JSON values. `files`: see `file_facts`."""
    return {
        "schema": SCHEMA,
        "groundlook": about.version,
        "software_licence": SOFTWARE_LICENCE,
        "licence": about.licence,
        "format": about.format,
        "created": about.created,
        "project": {"id": about.project, "title": about.title, "url": _without_login(about.url)},
        "labels": list(about.labels),
        "settings": dict(about.settings),
        "counts": dict(about.counts),
        "models": list(about.models),
        "scenes": [_scene(scene) for scene in about.scenes],
        "files": list(files),
    }


def file_facts(folder: Path, path: Path, parts: Iterable[Written] = ()) -> dict[str, Any]:
    """Name within `folder`, bytes, sha256, and the layers with CRS and number of features where it has some."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {"name": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": digest}
    layers = [{"name": p.layer, "crs": p.crs, "features": p.features} for p in parts if p.file == path]
    return {**facts, "layers": layers} if layers else facts


def listed_facts(folder: Path, listing: Path) -> list[dict[str, Any]]:
    """`file_facts` of every file that a dataset's listing (`sha256  name` lines) has, and of the listing itself."""
    found = []
    with listing.open(encoding="utf-8") as lines:
        for line in lines:
            digest, _, name = line.rstrip("\n").partition("  ")
            found.append({"name": name, "bytes": (folder / name).stat().st_size, "sha256": digest})
    return [*found, file_facts(folder, listing)]


def write_manifest(path: Path, body: Mapping[str, Any]) -> None:
    """Write `body`, all or nothing. Raises InvalidInput where the disk refuses."""
    beside = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(body, file, ensure_ascii=False, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise InvalidInput(
            f"the data is written, but {path} is not ({error.strerror or error}); make room and export again"
        ) from None
    finally:
        beside.unlink(missing_ok=True)


def leftovers(path: Path, out: Path, written: Iterable[Path]) -> list[Path]:
    """Files that an earlier export to `out` wrote, as its manifest at `path` says, and this one did not: a layer that
    is empty now. Only files beside `out` that are named after it; nothing where there is no manifest of ours."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return []
        body = json.loads(path.read_text(encoding="utf-8"))
        names = [f["name"] for f in body["files"] if body["schema"] == SCHEMA]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    kept = set(written)
    ours = [out.parent / n for n in names if isinstance(n, str) and n == Path(n).name and _belongs(n, out)]
    return [p for p in ours if p not in kept and p.is_file()]


def _belongs(name: str, out: Path) -> bool:
    return name == out.name or (name.startswith(f"{out.stem}.") and name.endswith(out.suffix))


def _scene(scene: SceneFacts) -> dict[str, Any]:
    return {name: getattr(scene, name) for name in ("source", "scene_id", "etag", "crs", "acquired", "copyright")}


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
