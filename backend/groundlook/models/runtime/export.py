"""A torch module → an ONNX file."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from groundlook.models.runtime.network import Network

if TYPE_CHECKING:
    import torch

OPSET = 17
MODEL = "model.onnx"


def export(network: Network, module: torch.nn.Module, example: tuple[torch.Tensor, ...], folder: Path) -> Path:
    """Write `folder`/onnx/model.onnx, with its weights beside it where they are over 2 GB; a reader sees all or
    nothing. Runs in a child process: it silences PyTorch's warnings for good. Raises what PyTorch raises."""
    import torch

    warnings.simplefilter("ignore")
    axes = {name: {axis: f"{name}_{axis}" for axis in given} for name, given in network.dynamic.items()}
    work = folder / f".onnx-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        with torch.inference_mode(), contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                module,
                example,
                str(work / MODEL),
                input_names=list(network.inputs),
                output_names=list(network.outputs),
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
        place = folder / "onnx"
        shutil.rmtree(place, ignore_errors=True)
        work.replace(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place / MODEL
