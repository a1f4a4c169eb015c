"""What a choice depends on, beside the network: versions, the CPU's abilities, whether there is a GPU."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from groundlook.models.runtime.record import digest

_FORMAT = "1"
_EXPORTERS = ("torch", "onnx")
_RUNTIMES = ("openvino", "onnxruntime")
_CPU = ("flags", "model name", "Features", "CPU part")


def export_made_with() -> dict[str, str]:
    """What an export depends on."""
    return {"format": _FORMAT, **{name: _version(name) for name in _EXPORTERS}}


def made_with() -> dict[str, str]:
    """What a choice depends on. Imports none of it."""
    gpu = Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1")
    runtimes = {name: _version(name) for name in _RUNTIMES}
    return {**export_made_with(), **runtimes, "cpu": _cpu(), "gpu": "yes" if gpu else "no"}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    said = sorted({line for line in lines if line.partition(":")[0].strip() in _CPU})
    return f"{platform.machine()} {digest(said)}"
