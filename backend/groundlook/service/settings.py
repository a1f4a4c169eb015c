"""Settings: environment variables with the prefix GROUNDLOOK_, cast when they are read, named in every error."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import platformdirs

from groundlook.core.errors import InvalidInput

PREFIX = "GROUNDLOOK_"


def _home() -> Path:
    return Path(platformdirs.user_data_dir("groundlook"))


@dataclass(frozen=True, slots=True)
class Settings:
    """What an admin can choose. Each is read from GROUNDLOOK_<NAME IN CAPITALS>."""

    home: Path
    """Where everything we keep lies: the store, job queue, models, snapshots."""
    url: str = "http://127.0.0.1:9090"
    """Where Label Studio and browsers reach the service; stands in tile URLs."""
    roots: tuple[Path, ...] = ()
    """Folders that rasters may be read from, separated by the system's path separator. Unset: the working folder."""
    image_hosts: tuple[str, ...] = ()
    """Further hosts, separated by commas, that task images may be fetched from; Label Studio's own always may."""
    raster_hosts: tuple[str, ...] = ()
    """Where rasters may be read from over the network, separated by commas: "data.example.org",
    "127.0.0.1:8123", "s3://bucket", "gs://bucket", "az://container". Unset: nowhere."""
    user: str = ""
    """HTTP Basic for Label Studio's calls; with `password`. Empty: no login is asked for."""
    password: str = ""
    max_body_mb: float = 200.0
    """Larger request bodies are refused."""
    tile_cache_mb: int = 512
    """What the pictures kept on disk may take; 0 keeps them in memory only."""
    sam: str = ""
    """The model behind smart tools: a path of SAM weights, or an https URL with `sam_sha256`. Empty: none."""
    sam_sha256: str = ""
    sam_arch: str = ""
    """Its network, where the weights don't say: vit_b, vit_l, vit_h, …"""
    encodings_mb: int = 256
    """What encoded pictures may take in memory, 2 MB each…"""
    encodings_disk_mb: int = 4096
    """…and on disk."""
    redis: str = ""
    """redis://host:port/0, by which several machines share jobs and encoded pictures. Empty: one worker beside the
    service, and each keeps its own. Redis keeps jobs as it is told to: `appendonly yes` and `appendfsync always` lose
    nothing, `everysec` the last second; `maxmemory-policy noeviction`, or it forgets jobs when it is full."""
    runtime: str = ""
    """What networks run in: "openvino bf16", "onnxruntime f32", "torch eager", …. Empty: the fastest that computes the
    same, found out once on this machine."""
    mlflow: str = ""
    """Where an MLflow keeps its runs, such as http://host:5000: every version is written there. Empty: nowhere."""
    embedder: str = "thumbnail-1"
    """What tiles are compared by: thumbnail-1, onnx:PATH, yolo:PATH, yolo:NETWORK.yaml:PATH or timm:NETWORK:PATH."""
    strategy: str = ""
    """What orders the queues of projects that name no strategy; see `groundlook strategies`. Empty: by the kind of
    project, as our replays recommend."""
    random_share: float = 0.05
    """Of the queue, drawn from all open tasks alike, from which savings are estimated."""
    empties: float = 0.2
    """Of a batch, the share that may be tiles with probably nothing on them."""
    alike: float = 0.99
    """The cosine of embeddings from which two tiles are near-duplicates, of which a batch has one. Of 150 tiles of
    OpenAerialMap 37 % have a rival above .98 by yolox_nano, none above .99; 4 % and none by thumbnails."""
    window: int = 30
    retrain_every: int = 24
    """New annotations that start a training…"""
    retrain_hours: float = 0.0
    """…or the hours after which one does; 0: never."""
    retrain_gain: float = 0.02
    """The quality that new annotations have to promise, by the project's learning curve, to start one earlier."""
    gate: Literal["usual", "strict"] = "usual"
    """What a new version has to prove: "usual", that nothing shows it to be worse, or "strict", that it is not."""
    rehearsal: int = 600
    """Examples that a retraining shows: all new ones, and of those learned before as many as fit; 0: all."""
    held_out_every: int = 4
    debounce: float = 1.0
    reconcile: float = 60.0
    """Seconds between looks at Label Studio for events that never arrived."""
    arch: str = "yolov5n.yaml"
    """The network that a project trains when it was connected without weights."""
    epochs: int = 0
    """Epochs of each training; 0 lets the size of the dataset decide."""

    @property
    def login(self) -> tuple[str, str] | None:
        """(user, password), None where no login is asked for."""
        return (self.user, self.password) if self.user else None


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(p).expanduser().resolve() for p in text.split(os.pathsep) if p)


def _words(text: str) -> tuple[str, ...]:
    return tuple(w.strip() for w in text.split(",") if w.strip())


def _gate(text: str) -> str:
    if text not in ("usual", "strict"):
        raise ValueError(text)
    return text


_CASTS: dict[str, Callable[[str], Any]] = {
    "home": lambda text: Path(text).expanduser().resolve(),
    "url": lambda text: text.rstrip("/"),
    "roots": _paths,
    "image_hosts": _words,
    "raster_hosts": _words,
    "max_body_mb": float,
    "tile_cache_mb": int,
    "encodings_mb": int,
    "encodings_disk_mb": int,
    "random_share": float,
    "empties": float,
    "alike": float,
    "window": int,
    "retrain_every": int,
    "retrain_hours": float,
    "rehearsal": int,
    "retrain_gain": float,
    "gate": _gate,
    "held_out_every": int,
    "debounce": float,
    "reconcile": float,
    "epochs": int,
}


def from_files(environ: Mapping[str, str]) -> dict[str, str]:
    """GROUNDLOOK_<NAME>: what is in the file that GROUNDLOOK_<NAME>_FILE names, as secrets are given to containers,
    without the end of its last line. A variable that is set itself wins. Raises InvalidInput."""
    found: dict[str, str] = {}
    for variable, path in environ.items():
        name = variable.removesuffix("_FILE")
        if not (path and name != variable and name.startswith(PREFIX)) or environ.get(name):
            continue
        try:
            found[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{variable}={path!r} can't be read ({error}); correct it or unset it") from None
    return found


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings out of `environ`, or of files that it names. Raises InvalidInput that names the variable and its
    value."""
    environ = {**environ, **from_files(environ)}
    chosen: dict[str, Any] = {"home": _home(), "roots": (Path.cwd().resolve(),)}
    for field in fields(Settings):
        name = PREFIX + field.name.upper()
        if environ.get(name):
            try:
                chosen[field.name] = _CASTS.get(field.name, str)(environ[name])
            except ValueError:
                raise InvalidInput(f"{name}={environ[name]!r} is not a {field.type}; correct it or unset it") from None
    return Settings(**chosen)
