"""Bands → the picture that annotators see: uint8 RGB, one stretch per scene, nodata black."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook_adapters.rasters.pictures.expression import check_expression, parse_expression

Stretch = tuple[tuple[float, float], ...]
"""(low, high) per displayed channel, in the values that are shown (a band's own, reflectance, dB): 1 and 255."""

RGB = NDArray[np.uint8]
"""(H, W, 3), red first."""

MODES = ("auto", "linear", "reflectance", "db", "amplitude")
"""auto: uint8 as it is, everything else linear. linear: 2–98 % of the scene. reflectance: Sentinel-2's integers,
(value + offset) / 10000, on one fixed range. db: 10·log10 of power; amplitude: 20·log10; ≤ 0 has no value."""

REFLECTANCE = (0.0, 0.3)
"""What is shown of reflectance, so that dates of one place look alike."""

_LIMITS = {"jpg": 65_500, "png": 65_500, "webp": 16_383}
FORMATS = tuple(_LIMITS)
_SCALE = 10_000.0
_LEAST_INTEGERS = 10.0
_REDO = "ingest the scene again"


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user asked for. `bands`: one or three, from 1; or `expressions`: one or three; neither: what the
    raster says of its bands. `offset`: added to every value in mode reflectance (−1000 for Sentinel-2 products from
    baseline 04.00 on); None: the raster's own."""

    bands: tuple[int, ...] = ()
    expressions: tuple[str, ...] = ()
    mode: str = "auto"
    offset: float | None = None


@dataclass(frozen=True, slots=True)
class Render:
    """How a picture is made of a scene. `bands`: one (grey) or three (red, green, blue), counted from 1; none where
    `expressions` make the channels. `stretch`: None for uint8, which is shown as it is. `offset`: see Choice.
    In mode reflectance expressions see reflectance; db and amplitude apply to what an expression gives."""

    bands: tuple[int, ...]
    stretch: Stretch | None = None
    expressions: tuple[str, ...] = ()
    mode: str = "auto"
    offset: float = 0.0

    @property
    def channels(self) -> int:
        """1 or 3."""
        return len(self.expressions or self.bands)

    def needs(self) -> tuple[int, ...]:
        """The numbers of the bands to read, from 1, ascending, each once."""
        named = (parse_expression(text).bands for text in self.expressions)
        return tuple(sorted(set(self.bands).union(*named)))

    def text(self) -> str:
        """Canonical JSON: the same render is the same text on every machine."""
        return json.dumps(self.data(), sort_keys=True, separators=(",", ":"))

    def data(self) -> dict[str, Any]:
        """As it stands in a task's `geo.render`: what is not the default, besides `bands` and `stretch`."""
        stretch = None if self.stretch is None else [list(s) for s in self.stretch]
        more = {
            "expressions": list(self.expressions),
            "mode": "" if self.mode == "auto" else self.mode,
            "offset": self.offset,
        }
        return {"bands": list(self.bands), "stretch": stretch, **{k: v for k, v in more.items() if v}}

    @classmethod
    def parse(cls, value: Any) -> Render:
        """Inverse of `text` and of `data`; the value may come from anybody. Raises InvalidInput."""
        try:
            data = json.loads(value) if isinstance(value, str) else value
            return _parsed(data)
        except (TypeError, KeyError, ValueError, RecursionError, InvalidInput):
            raise InvalidInput(f"render {str(value)[:120]!r} is not one that we made; {_REDO}") from None


def _parsed(data: Any) -> Render:
    bands, expressions = list(data["bands"]), list(data.get("expressions", ()))
    stretch, mode, offset = data["stretch"], data.get("mode", "auto"), _number(data.get("offset", 0.0))
    channels = expressions or bands
    good = len(channels) in (1, 3) and not (expressions and bands) and mode in MODES
    good = good and all(_is_band(b) for b in bands) and (mode == "reflectance" or offset == 0)
    good = good and all(isinstance(e, str) and parse_expression(e).text == e for e in expressions)
    pairs = None if stretch is None else tuple((_number(low), _number(high)) for low, high in stretch)
    good = good and (pairs is None or (len(pairs) == len(channels) and all(low < high for low, high in pairs)))
    if not good:
        raise ValueError("not a render")
    render = Render(tuple(bands), pairs, tuple(expressions), mode, offset)
    if set(data) != set(render.data()):
        raise ValueError("further keys, or defaults that are spelt out")
    return render


def _is_band(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def plan(
    count: int,
    interpretation: Sequence[str],
    dtypes: Sequence[str],
    choice: Choice,
    offsets: Sequence[float] = (),
    scales: Sequence[float] = (),
) -> Render:
    """How a raster of `count` bands is shown. `interpretation`: GDAL's colour name per band; `dtypes`, `offsets`,
    `scales`: per band; an offset is in the band's own integers (−1000) or, below 1, in reflectance (−0.1, GDAL's
    convention).

    The stretch is filled in by `stretched`, but for mode reflectance, whose range is fixed. Raises InvalidInput: a
    band that is not there, two or four bands, a typo in an expression, an unknown mode.
    """
    if choice.mode not in MODES:
        raise InvalidInput(f"render mode {choice.mode[:40]!r} is unknown; use one of {', '.join(MODES)}")
    if choice.bands and choice.expressions:
        raise InvalidInput(f"bands {_list(choice.bands)} and an expression can't both be shown; leave one out")
    if choice.offset is not None and choice.mode != "reflectance":
        raise InvalidInput(f"offset {choice.offset:g} belongs to mode reflectance, not {choice.mode}; leave it out")
    if choice.offset is not None and not math.isfinite(choice.offset):
        raise InvalidInput(f"offset {choice.offset} is not a number; use -1000 or 0")
    if len(choice.expressions) not in (0, 1, 3):
        raise InvalidInput(f"{len(choice.expressions)} expressions can't be shown; give one (grey) or three (RGB)")
    expressions = tuple(check_expression(text, count).text for text in choice.expressions)
    bands = () if expressions else _checked(choice.bands, count) or choose_bands(count, interpretation)
    render = Render(bands, None, expressions, choice.mode)
    used = [dtypes[b - 1] for b in render.needs()]
    if any(np.issubdtype(np.dtype(name), np.complexfloating) for name in used):
        raise InvalidInput(f"{used[0]} pixels can't be shown; convert complex SAR to amplitude or power first")
    if choice.mode != "reflectance":
        return render
    if "uint8" in used:
        raise InvalidInput("uint8 pixels are no reflectance (0 … 10000); use mode auto or linear")
    _check_scales(render, scales)
    offset = _offset(render, offsets) if choice.offset is None else choice.offset
    return replace(render, offset=float(offset), stretch=None if expressions else (REFLECTANCE,) * len(bands))


def _checked(bands: tuple[int, ...], count: int) -> tuple[int, ...]:
    if len(bands) not in (0, 1, 3):
        raise InvalidInput(f"bands {_list(bands)}: give one (grey) or three (red, green, blue)")
    for band in bands:
        if not 1 <= band <= count:
            raise InvalidInput(f"there is no band {band}: the raster has {count} band{'s' if count > 1 else ''}")
    return bands


def _list(bands: Sequence[int]) -> str:
    return ",".join(map(str, bands))


def _offset(render: Render, offsets: Sequence[float]) -> float:
    found = {offsets[b - 1] for b in render.needs() if b <= len(offsets)} or {0.0}
    if len(found) > 1 or not all(map(math.isfinite, found)):
        raise InvalidInput(f"the bands have the offsets {sorted(found)}; say which with --offset")
    (offset,) = found
    return round(offset * _SCALE, 6) if abs(offset) < 1 else offset


def _check_scales(render: Render, scales: Sequence[float]) -> None:
    for scale in (scales[b - 1] for b in render.needs() if b <= len(scales)):
        if not (scale == 1 or math.isclose(scale, 1 / _SCALE, rel_tol=1e-6)):
            raise InvalidInput(
                f"the bands have the scale {scale:g}, mode reflectance knows 1/{_SCALE:g} only; use mode auto, or "
                f'expressions such as "b1*{scale:g}"'
            )


def choose_bands(count: int, interpretation: Sequence[str]) -> tuple[int, ...]:
    """Which of `count` bands are shown, from 1: those called red, green and blue, else the first three, else one.
    `interpretation`: GDAL's colour name per band."""
    names = list(interpretation)
    if {"red", "green", "blue"} <= set(names):
        return tuple(names.index(name) + 1 for name in ("red", "green", "blue"))
    shown = [i + 1 for i, name in enumerate(names[:count]) if name != "alpha"]
    return tuple(shown[:3]) if len(shown) >= 3 else tuple(shown[:1])


def stretched(render: Render, sample: NDArray[Any], valid: NDArray[np.bool_]) -> Render:
    """`render` with the stretch that its mode needs: 2–98 % of the valid values. `sample`: (H, W, len(needs())), an
    overview; `valid`: (H, W). "linear" becomes "auto": with a stretch they are the same picture, so the same text."""
    _check_reflectance(render, sample, valid)
    if render.stretch is not None or needs_no_sample(render, [str(sample.dtype)]):
        return render
    mode = "auto" if render.mode == "linear" else render.mode
    limits = tuple(_limits(values[valid]) for values in _channels(sample, render))
    return replace(render, stretch=limits, mode=mode)


def needs_no_sample(render: Render, dtypes: Sequence[str]) -> bool:
    """Whether `render` shows the bands that it needs, of `dtypes`, as they are, so that `stretched` would look at no
    value."""
    return render.mode == "auto" and not render.expressions and all(name == "uint8" for name in dtypes)


def _check_reflectance(render: Render, sample: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    """Raises InvalidInput for what is reflectance already: divided by 10000 it would be black."""
    if render.mode != "reflectance" or not np.issubdtype(sample.dtype, np.floating):
        return
    values = sample[valid]
    most = float(np.max(values, initial=0, where=np.isfinite(values)))
    if most < _LEAST_INTEGERS:
        raise InvalidInput(f"values up to {most:.3g} are reflectance already, not {_SCALE:g} times it; use mode linear")


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """No values give (0, 1), a single value v gives (v, v + 1)."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(f"{v:.6g}") for v in _percentiles(values))
    return (low, high) if low < high else (low, low + max(1.0, abs(low) * 1e-6))


def _percentiles(values: NDArray[Any]) -> NDArray[np.float64]:
    """2 and 98 %, as np.percentile gives them; by a histogram of all values where there are at most 65,536."""
    if values.dtype not in (np.uint8, np.uint16):
        return np.asarray(np.percentile(values.astype(np.float64), (2, 98)))
    ends = np.cumsum(np.bincount(values))
    place = np.array([0.02, 0.98]) * (values.size - 1)
    below, above = (np.searchsorted(ends, at, side="right") for at in (np.floor(place), np.ceil(place)))
    return np.asarray(below + (above - below) * (place % 1), dtype=np.float64)


def to_rgb(bands: NDArray[Any], valid: NDArray[np.bool_], render: Render) -> RGB:
    """The only way that pixels become a picture. `bands`: (H, W, len(needs())), in that order; a paletted uint8 band
    may come as its colours, (H, W, 3). `valid`: (H, W); what is not valid, or has no value in some channel, becomes
    black, what is valid and stretched is at least 1. Raises InvalidInput where a stretch is missing."""
    if render.stretch is None:
        picture = _as_it_is(bands, render)
    elif not render.expressions and bands.dtype in (np.uint8, np.uint16, np.int16):
        picture = _by_table(bands, render)
    else:
        shades = [_shade(v, *limits) for v, limits in zip(_channels(bands, render), render.stretch, strict=True)]
        picture = cv2.merge(shades) if len(shades) == 3 else shades[0][:, :, None]
        valid = valid & picture.all(axis=2)
    if not valid.all():
        picture = cv2.copyTo(picture, np.ascontiguousarray(valid).view(np.uint8)).reshape(picture.shape)
    return np.asarray(cv2.merge([picture] * 3) if picture.shape[2] == 1 else picture)


def _as_it_is(bands: NDArray[Any], render: Render) -> NDArray[np.uint8]:
    if bands.dtype != np.uint8 or render.mode != "auto" or render.expressions:
        raise InvalidInput(f"{bands.dtype} pixels need a stretch; {_REDO}")
    needs = render.needs()
    if render.bands == needs or bands.shape[2] > len(needs):
        return bands.copy()
    return np.ascontiguousarray(bands[:, :, [needs.index(b) for b in render.bands]])


def _by_table(bands: NDArray[Any], render: Render) -> NDArray[np.uint8]:
    needs, tables = render.needs(), _tables(render, bands.dtype.str)
    unsigned = bands.view(f"u{bands.dtype.itemsize}")
    shades = [np.take(t, unsigned[:, :, needs.index(b)]) for b, t in zip(render.bands, tables, strict=True)]
    picture: NDArray[np.uint8] = cv2.merge(shades) if len(shades) == 3 else shades[0][:, :, None]
    if any((table == 0).any() for table in tables):
        picture[~picture.all(axis=2)] = 0
    return picture


@lru_cache(maxsize=64)
def _tables(render: Render, dtype: str) -> tuple[NDArray[np.uint8], ...]:
    """Per channel the shade of every value that `dtype`, of 8 or 16 bits, can hold."""
    bits = 8 * np.dtype(dtype).itemsize
    every = np.arange(2**bits, dtype=f"u{bits // 8}").view(dtype)[None, :, None]
    assert render.stretch is not None  # noqa: S101 (narrows for the type checker)
    single = replace(render, bands=(1,), stretch=None)
    (values,) = _channels(every, single)
    return tuple(_shade(values, *limits)[0] for limits in render.stretch)


def _channels(bands: NDArray[Any], render: Render) -> list[NDArray[Any]]:
    """What is shown, before the stretch: one array (H, W) per channel; not finite where there is no value."""
    needs = render.needs()
    found = {number: bands[:, :, i] for i, number in enumerate(needs)}
    if render.mode == "reflectance":
        found = {n: (_floating(v) + render.offset) / _SCALE for n, v in found.items()}
    if render.expressions:
        shown = [parse_expression(text).evaluate(found) for text in render.expressions]
    else:
        shown = [found[number] for number in render.bands]
    factor = {"db": 10.0, "amplitude": 20.0}.get(render.mode)
    if factor is None:
        return shown
    with np.errstate(all="ignore"):
        return [factor * np.log10(np.where(v > 0, _floating(v), np.nan)) for v in shown]


def _floating(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float32 if np.can_cast(values.dtype, np.float32) else np.float64, copy=False)


def _shade(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """1 … 255 for low … high, 0 where there is no value."""
    with np.errstate(all="ignore"):
        share = (_floating(values) - low) * (254.0 / (high - low))
        np.fmin(np.fmax(share, 0, out=share), 254, out=share)
        shade: NDArray[np.uint8] = (share + 1.5).astype(np.uint8)
    if np.issubdtype(values.dtype, np.floating):
        shade[~np.isfinite(values)] = 0
    return shade


def encode(rgb: RGB, fmt: str = "jpg", quality: int = 90) -> bytes:
    """`rgb` as a JPEG ("jpg"), WebP ("webp"; `quality` 1…100 for both) or PNG ("png") file. Raises InvalidInput for
    another format, or a picture too large for it."""
    if fmt not in _LIMITS:
        raise InvalidInput(f"image format {fmt!r}: use {', '.join(FORMATS)}")
    height, width = rgb.shape[:2]
    if max(height, width) > _LIMITS[fmt]:
        raise InvalidInput(f"{width} × {height} px can't be written as {fmt}, which holds {_LIMITS[fmt]} px a side")
    options = {"jpg": [cv2.IMWRITE_JPEG_QUALITY, quality], "webp": [cv2.IMWRITE_WEBP_QUALITY, quality], "png": []}
    done, data = cv2.imencode(f".{fmt}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options[fmt])
    if not done:
        raise InvalidInput(f"{width} × {height} px can't be written as {fmt}; use smaller tiles")
    return bytes(data)
