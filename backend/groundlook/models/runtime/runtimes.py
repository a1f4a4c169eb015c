"""The runtimes there are, and how each loads a network."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from groundlook.core.errors import InvalidInput
from groundlook.models.runtime.export import MODEL
from groundlook.models.runtime.inside_onnxruntime import load as load_onnxruntime
from groundlook.models.runtime.inside_openvino import load as load_openvino
from groundlook.models.runtime.inside_torch import load as load_torch
from groundlook.models.runtime.network import Network, Runner

EAGER = "torch eager"
RUNTIMES = (
    "openvino bf16",
    "openvino f32",
    "onnxruntime f32",
    "torch cuda bf16",
    "torch cuda",
    "torch channels-last",
    "torch channels-last bf16",
    EAGER,
)
"""By name, in the order in which they are tried."""


def missing(runtime: str) -> str:
    """Why `runtime` can't run here, "" where it can, without importing it. Raises InvalidInput for an unknown name."""
    if runtime not in RUNTIMES:
        raise InvalidInput(f"there is no runtime {runtime!r}; there are: {', '.join(RUNTIMES)}")
    package = runtime.partition(" ")[0]
    return "" if importlib.util.find_spec(package) else f"{package} is not installed"


def of_torch(runtime: str) -> bool:
    """Whether `runtime` builds the network itself, and needs no export."""
    return runtime.startswith("torch")


def load(runtime: str, network: Network, folder: Path, device: str | None, threads: int | None) -> Runner:
    """`network` in `runtime`, from the export under `folder` where it takes one. Raises what the runtime raises."""
    if of_torch(runtime):
        return load_torch(runtime, network, device)[0]
    model = folder / "onnx" / MODEL
    if runtime.startswith("openvino"):
        return load_openvino(runtime, model, threads)
    return load_onnxruntime(model, threads)
