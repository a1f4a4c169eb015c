"""Class folders on disk → a classification study; every image is embedded once and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidImage, InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.ports import Embedder, Progress
from groundlook.models.studies.classification import FeatureStudy

_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"}
_TEST_SHARE = 0.2
_AT_ONCE = 32


def open_study(path: Path, embedder: Embedder, cache: Path, progress: Progress) -> FeatureStudy:
    """`path`/train/<class>/* and `path`/test/<class>/*, or `path`/<class>/*, of which every fifth image of a class, in
    an order that their names fix, is the test part. Features are kept in `cache`, by the embedder's name and the list
    of files with their sizes. Raises InvalidInput for another layout, InvalidImage that names the file."""
    train, test = parts(path)
    names = tuple(sorted({f.parent.name for f in (*train, *test)}))
    features = _features([*train, *test], path, embedder, cache, progress)
    codes = np.array([names.index(f.parent.name) for f in (*train, *test)], dtype=np.int64)
    cut = len(train)
    return FeatureStudy(_name(path.resolve()), features[:cut], codes[:cut], features[cut:], codes[cut:], names)


def _name(path: Path) -> str:
    return path.parent.name if path.name == "data" else path.name


def parts(path: Path) -> tuple[list[Path], list[Path]]:
    """The images that may be labelled, and those of the test part, each in the order of their names."""
    train, test = path / "train", path / "test"
    given = train.is_dir() and test.is_dir()
    found = (_images(train), _images(test)) if given else _split(_images(path))
    if not all(found):
        raise InvalidInput(f"{path} holds no class folders: it takes train/CLASS/* and test/CLASS/*, or CLASS/*")
    return found


def _images(folder: Path) -> list[Path]:
    return sorted(f for f in folder.glob("*/*") if f.suffix.lower() in _SUFFIXES)


def _split(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    train: list[Path] = []
    test: list[Path] = []
    for name in sorted({f.parent.name for f in files}):
        mine = sorted((f for f in files if f.parent.name == name), key=_shuffled)
        cut = max(round(len(mine) * _TEST_SHARE), 1)
        test += mine[:cut]
        train += mine[cut:]
    return sorted(train), sorted(test)


def _shuffled(file: Path) -> str:
    return hashlib.sha256(f"{file.parent.name}/{file.name}".encode()).hexdigest()


def _features(
    files: Sequence[Path], root: Path, embedder: Embedder, cache: Path, progress: Progress
) -> NDArray[np.float32]:
    listed = "\n".join(f"{f.relative_to(root)} {f.stat().st_size}" for f in files)
    kept = cache / f"{embedder.name}-{hashlib.sha256(listed.encode()).hexdigest()[:12]}.npy"
    if kept.exists():
        return np.asarray(np.load(kept), np.float32)
    rows = []
    for start in range(0, len(files), _AT_ONCE):
        progress(start / len(files), f"embedding image {start} of {len(files)}")
        rows.append(embedder.embed([_tile(f) for f in files[start : start + _AT_ONCE]]))
    features = np.concatenate(rows).astype(np.float32)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_suffix(f".{os.getpid()}.npy")
    np.save(temporary, features)
    temporary.replace(kept)
    return features


def _tile(file: Path) -> Tile:
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InvalidImage(f"{file} can't be decoded as an image; remove it, or convert it to PNG")
    return Tile(np.ascontiguousarray(pixels[:, :, ::-1]))
