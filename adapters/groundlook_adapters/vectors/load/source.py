"""Which vector files are read, and what they hold. A file is hostile until it was looked at here.

The name and the first bytes must agree on one of five formats, and GDAL must have chosen the driver we expect: many
of its drivers (virtual layers, pipelines written as JSON, web services) would read files and addresses that nobody
allowed. While GDAL looks at a file it has no way out to the network: a GeoJSON's `crs` may be a link, and GDAL follows
links.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyogrio
import pyogrio.errors
from pyproj import CRS
from pyproj.exceptions import ProjError

from groundlook.core.errors import InvalidInput, NotAllowed
from groundlook_adapters.vectors.load.vectorfile import Form, Source, broken, choose, no_crs
from groundlook_adapters.vectors.systems import system

FORMS: dict[str, Form] = {
    ".gpkg": "GPKG",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".shp": "ESRI Shapefile",
    ".fgb": "FlatGeobuf",
    ".parquet": "Parquet",
    ".geoparquet": "Parquet",
}
FAILURES = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
    pyogrio.errors.CRSError,
    RuntimeError,
    ValueError,
    OSError,
)
_NAMES = "GeoPackage (.gpkg), GeoJSON (.geojson, .json), Shapefile (.shp), FlatGeobuf (.fgb) or GeoParquet (.parquet)"
_HEAD = 65536
_BESIDE = (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".idm", ".ind", ".gpkg-wal", ".gpkg-journal")
_NO_WAY = "127.0.0.1:1"
_OLD_CRS = re.compile(rb'"crs"\s*:\s*(\{(?:[^{}]|\{[^{}]*\}){0,4000}\})', re.IGNORECASE)


def look_at(path: Path, layer: str | None = None, crs: str | None = None) -> Source:
    """What `path` holds. It must be a real path (no link in it) that may be read. `crs` is used instead of the
    file's own. Raises InvalidInput, NotAllowed (a file beside it that is a link to elsewhere)."""
    form = _form(path)
    if crs is not None:
        system(crs)
    if form == "Parquet":
        from groundlook_adapters.vectors.load.parquet import look_at_parquet  # pyarrow is slow to import

        return look_at_parquet(path, layer, crs)
    with offline(), _named(path):
        chosen = _layer(path, pyogrio.list_layers(path), layer)
        info = pyogrio.read_info(path, layer=chosen, force_feature_count=form != "GeoJSON")
    if info["driver"] != form:
        raise InvalidInput(f"{path} is not a {form} file but {info['driver']}; convert it with ogr2ogr")
    if form == "GeoJSON" and crs is None:
        _check_old_crs(path, info["crs"])
    fields = tuple(str(f) for f in info["fields"])
    return Source(path, form, chosen, crs or _crs(path, info["crs"]), fields, int(info["features"]))


@contextmanager
def offline() -> Iterator[None]:
    """Every web request of pyogrio's GDAL fails inside, and its notes about geometry types are kept quiet."""
    keep = {key: pyogrio.get_gdal_config_option(key) for key in ("GDAL_HTTP_PROXY", "GDAL_HTTPS_PROXY")}
    around = {k: os.environ.pop(k) for k in ("no_proxy", "NO_PROXY") if k in os.environ}  # exceptions to a proxy
    pyogrio.set_gdal_config_options(dict.fromkeys(keep, _NO_WAY))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pyogrio.set_gdal_config_options(keep)
        os.environ.update(around)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """GDAL's errors as ours."""
    try:
        yield
    except FAILURES as error:
        raise broken(path, error) from None


def _form(path: Path) -> Form:
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise InvalidInput(f"{path}: {path.suffix or 'no suffix'} is not a format that is loaded; use a {_NAMES}")
    head = _head(path)
    if not _looks_like(form, head):
        raise InvalidInput(f"{path} is named {path.suffix} but is not a {form} file; use a {_NAMES}")
    for suffix in (*_BESIDE, *(s.upper() for s in _BESIDE)):
        beside = path.with_suffix(suffix)
        if beside.is_symlink() and Path(os.path.realpath(beside)).parent != path.parent:
            raise NotAllowed(f"{beside} is a link to another folder; put a copy of the file there")
    return form


def _head(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise InvalidInput(f"{path} is not a regular file; name one vector file")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}; check the path") from None
    if not head:
        raise InvalidInput(f"{path} is empty (0 bytes); copy or download it again")
    return head


def _looks_like(form: Form, head: bytes) -> bool:
    match form:
        case "GPKG":
            return head.startswith(b"SQLite format 3\0") and head[68:70] == b"GP"
        case "GeoJSON":
            text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
            return text.startswith(b"{") and b"gdal_streamed_alg" not in head  # that one runs a GDAL pipeline
        case "ESRI Shapefile":
            return head.startswith(b"\x00\x00\x27\x0a")
        case "FlatGeobuf":
            return head.startswith(b"fgb\x03fgb")
        case "Parquet":
            return head.startswith(b"PAR1")


def _layer(path: Path, layers: Any, wanted: str | None) -> str:
    names = [str(name) for name, kind in layers if kind is not None]
    return choose(path, names, wanted)


def _crs(path: Path, text: str | None) -> str:
    """GDAL's text for a CRS, as an authority code where it has one. An engineering CRS is a file's way to say none."""
    if not text:
        raise no_crs(path)
    try:
        found = CRS.from_user_input(text) if re.fullmatch(r"\w+:\w+", text) else CRS.from_wkt(text)
    except ProjError:
        raise InvalidInput(f"{path}: PROJ does not know its CRS {text[:80]!r}; say which it is with --crs") from None
    if found.is_engineering or "Undefined" in found.name:
        raise no_crs(path)
    return text


def _check_old_crs(path: Path, found: str | None) -> None:
    """RFC 7946 has WGS84 only; the older `crs` member is honoured. GDAL takes WGS84 where it does not understand
    the member, which would put everything in the wrong place without a word."""
    with path.open("rb") as file:
        text = file.read(1 << 20)
        file.seek(max(0, path.stat().st_size - _HEAD))
        text += file.read(_HEAD)
    if found != "EPSG:4326":
        return
    for member in _OLD_CRS.finditer(text):
        if b'"properties"' not in member[1] or re.search(rb"4326|CRS84", member[1]):
            continue
        shown = " ".join(member[1].decode("utf-8", "replace").split())[:120]
        raise InvalidInput(f"{path} has a crs member that can't be followed: {shown}; say which CRS it is with --crs")
