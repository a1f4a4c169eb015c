"""The floors of the house: who may import whom (DESIGN.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BACKEND, ADAPTERS = ROOT / "backend" / "groundlook", ROOT / "adapters" / "groundlook_adapters"
LOW = ("scoring", "strategies", "models", "learning", "evaluation")
STDLIB = set(sys.stdlib_module_names)
VENDORS = {
    "torch": ("backend/groundlook/models/", "backend/groundlook/learning/"),
    "segment_anything": ("backend/groundlook/models/sam/",),
    "openvino": ("backend/groundlook/models/runtime/",),
    "onnxruntime": ("backend/groundlook/models/runtime/",),
    "onnx": ("backend/groundlook/models/runtime/",),
    "segmentation_models_pytorch": ("backend/groundlook/models/segmentation/",),
    "torchvision": ("backend/groundlook/models/",),
    "sklearn": ("backend/groundlook/models/", "backend/groundlook/evaluation/replay/peers.py"),
    "redis": ("adapters/groundlook_adapters/store/", "adapters/groundlook_adapters/jobs/"),
    "ultralytics": ("backend/groundlook/models/yolo/",),
    "label_studio_sdk": ("adapters/groundlook_adapters/labelstudio/",),
    "pyogrio": ("adapters/groundlook_adapters/vectors/",),
    "rasterio": ("adapters/groundlook_adapters/rasters/", "backend/groundlook/demo/scene.py"),
    "ray": ("adapters/groundlook_adapters/jobs/ray_data.py",),
    "mlflow": ("adapters/groundlook_adapters/mlflow.py",),
    "numba": ("adapters/groundlook_adapters/",),
    "pyarrow": ("adapters/groundlook_adapters/vectors/",),
    "pystac": ("adapters/groundlook_adapters/vectors/datasets/stac.py",),
    "jinja2": ("backend/groundlook/service/pages/",),
    "fastapi": ("backend/groundlook/service/",),
}


def files() -> Iterator[Path]:
    for folder in (BACKEND, ADAPTERS):
        yield from sorted(folder.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def ours(path: Path) -> set[str]:
    return {m for m in imports(path) if m.split(".")[0] in ("groundlook", "groundlook_adapters")}


def test_core_knows_only_the_standard_library_numpy_and_shapely() -> None:
    for path in (BACKEND / "core").rglob("*.py"):
        roots = {m.split(".")[0] for m in imports(path)}
        assert roots <= STDLIB | {"numpy", "shapely", "groundlook"}, path
        assert all(m.startswith("groundlook.core") for m in ours(path)), path


@pytest.mark.parametrize("floor", LOW)
def test_the_low_floors_know_core_and_never_each_other(floor: str) -> None:
    for path in (BACKEND / floor).rglob("*.py"):
        allowed = ("groundlook.core", f"groundlook.{floor}")
        assert all(m.startswith(allowed) for m in ours(path)), f"{path}: {ours(path)}"


def test_the_loop_sees_ports_and_pure_floors_only() -> None:
    pure = (
        "groundlook.core",
        "groundlook.loop",
        "groundlook.learning",
        "groundlook.evaluation",
        "groundlook.strategies",
    )
    for path in (BACKEND / "loop").rglob("*.py"):
        assert all(m == "groundlook" or m.startswith(pure) for m in ours(path)), f"{path}: {ours(path)}"


def test_only_the_wiring_joins_the_packages() -> None:
    for path in BACKEND.rglob("*.py"):
        if BACKEND / "service" / "wiring" not in path.parents:
            assert not {m for m in ours(path) if m.startswith("groundlook_adapters")}, path
    for path in ADAPTERS.rglob("*.py"):
        assert all(m.startswith(("groundlook.core", "groundlook_adapters")) for m in ours(path)), path


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_every_vendor_stays_in_its_room(vendor: str) -> None:
    for path in files():
        if vendor in {m.split(".")[0] for m in imports(path)}:
            place = str(path.relative_to(ROOT))
            assert place.startswith(VENDORS[vendor]), place


def test_no_file_is_over_400_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in [*files(), *(ROOT / "tests").rglob("*.py")] if (n := _lines(p)) > 400}
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_importing_does_nothing() -> None:
    """No torch, no environment read, no file touched; neither by the package nor by the help of its command line."""
    code = (
        "import os, sys\n"
        "seen = []\n"
        "real = os.environ\n"
        "class Spy(type(real)):\n"
        "    def __getitem__(self, key):\n"
        "        if str(key).startswith(('GROUNDLOOK', 'YOLO')): seen.append(key)\n"
        "        return super().__getitem__(key)\n"
        "os.environ.__class__ = Spy\n"
        "import groundlook, groundlook_adapters\n"
        "import groundlook.core.ports, groundlook.loop, groundlook.service.cli\n"
        "heavy = {'torch', 'ultralytics', 'label_studio_sdk', 'rasterio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert not seen, seen\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_command_starts_without_what_only_some_need() -> None:
    """Each of them is a good part of a second, which a scheduler's every call would wait for."""
    slow = {"torch", "ultralytics", "label_studio_sdk", "fastapi", "scipy.stats", "numba", "pandas", "pyarrow"}
    code = f"import sys, groundlook.service.wiring; print(sorted({slow!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_there_is_no_import_cycle() -> None:
    graph = {_module(p): ours(p) for p in files()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join([*trail, module])
        if module not in done and module in graph:
            for target in graph[module] - {module}:
                visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def _module(path: Path) -> str:
    base = ROOT / "backend" if BACKEND in path.parents else ROOT / "adapters"
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
