"""Bands → the picture that annotators see: uint8 RGB, one stretch per scene, nodata black."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

Stretch = tuple[tuple[float, float], ...]
"""(low, high) per displayed band, in the band's own values: they become 1 and 255."""

RGB = NDArray[np.uint8]
"""(H, W, 3), red first."""


@dataclass(frozen=True, slots=True)
class Render:
    """How a picture is made of a scene. `bands`: one (grey) or three (red, green, blue), counted from 1.
    `stretch`: None for uint8, which is shown as it is."""

    bands: tuple[int, ...]
    stretch: Stretch | None = None

    def text(self) -> str:
        """Canonical JSON: the same render is the same text on every machine."""
        return json.dumps(self.data(), sort_keys=True, separators=(",", ":"))

    def data(self) -> dict[str, Any]:
        """As it stands in a task's `geo.render`."""
        return {"bands": list(self.bands), "stretch": None if self.stretch is None else [list(s) for s in self.stretch]}

    @classmethod
    def parse(cls, value: Any) -> Render:
        """Inverse of `text` and of `data`; the value may come from anybody. Raises InvalidInput."""
        try:
            data = json.loads(value) if isinstance(value, str) else value
            bands, stretch = data["bands"], data["stretch"]
            good = set(data) == {"bands", "stretch"} and len(bands) in (1, 3) and all(_is_band(b) for b in bands)
            pairs = None if stretch is None else tuple((_number(low), _number(high)) for low, high in stretch)
            good = good and (pairs is None or (len(pairs) == len(bands) and all(low < high for low, high in pairs)))
        except (TypeError, KeyError, ValueError, RecursionError):
            good = False
        if not good:
            raise InvalidInput(f"render {str(value)[:120]!r} is not one that we made; ingest the scene again")
        return cls(tuple(bands), pairs)


def _is_band(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def choose_bands(count: int, interpretation: Sequence[str]) -> tuple[int, ...]:
    """Which of `count` bands are shown, from 1: those called red, green and blue, else the first three, else one.
    `interpretation`: GDAL's colour name per band."""
    names = list(interpretation)
    if {"red", "green", "blue"} <= set(names):
        return tuple(names.index(name) + 1 for name in ("red", "green", "blue"))
    shown = [i + 1 for i, name in enumerate(names[:count]) if name != "alpha"]
    return tuple(shown[:3]) if len(shown) >= 3 else tuple(shown[:1])


def compute_stretch(bands: NDArray[Any], valid: NDArray[np.bool_]) -> Stretch:
    """2–98 % of the valid pixels of each band. `bands`: (H, W, B) of an overview; `valid`: (H, W). A band without
    valid pixels gives (0, 1), one of a single value v (v, v + 1)."""
    return tuple(_limits(bands[:, :, i][valid]) for i in range(bands.shape[2]))


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    values = values[np.isfinite(values)].astype(np.float64)
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(f"{v:.6g}") for v in np.percentile(values, (2, 98)))
    return (low, high) if low < high else (low, low + max(1.0, abs(low) * 1e-6))


def to_rgb(bands: NDArray[Any], valid: NDArray[np.bool_], render: Render) -> RGB:
    """`bands`: (H, W, 1 or 3), those of `render`, in its order. `valid`: (H, W); what is not valid becomes black,
    what is valid and stretched is at least 1. Raises InvalidInput where bands that are not uint8 have no stretch."""
    if render.stretch is None:
        if bands.dtype != np.uint8:
            raise InvalidInput(f"{bands.dtype} pixels need a stretch; ingest the scene again")
        picture = bands.copy()
    else:
        picture = np.stack([_scale(bands[:, :, i], *limits) for i, limits in enumerate(render.stretch)], axis=2)
        valid = valid & np.isfinite(bands).all(axis=2)
    picture[~valid] = 0
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def _scale(band: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    share = (np.where(np.isfinite(band), band, low).astype(np.float64) - low) / (high - low)
    return (1.5 + 254 * np.clip(share, 0, 1)).astype(np.uint8)


def encode(rgb: RGB, fmt: str = "jpg", quality: int = 90) -> bytes:
    """`rgb` as a JPEG ("jpg", `quality` 1…100) or PNG ("png") file. Raises InvalidInput for another format."""
    if fmt not in ("jpg", "png"):
        raise InvalidInput(f"image format {fmt!r}: use jpg or png")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if fmt == "jpg" else []
    _, data = cv2.imencode(f".{fmt}", np.ascontiguousarray(rgb[:, :, ::-1]), options)
    return bytes(data)


def encode_jpeg(rgb: RGB, quality: int = 90) -> bytes:
    """`encode` as JPEG."""
    return encode(rgb, "jpg", quality)
