"""Networks in OpenVINO, on the CPU."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.models.runtime.network import Runner

_TELEMETRY = "openvino_telemetry"
_IMPORTING = threading.Lock()


def package() -> Any:
    """OpenVINO, without its telemetry: its converter, which is imported along, takes a stub where that is missing."""
    with _IMPORTING:
        if "openvino" in sys.modules:
            return sys.modules["openvino"]
        kept = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules[_TELEMETRY]
            if kept is not None:
                sys.modules[_TELEMETRY] = kept
        return openvino


@dataclass(frozen=True, slots=True)
class OpenVinoRunner:
    """One request, one at a time: at most one stream computes anyway, and every request has its own buffers."""

    request: Any
    outputs: int
    lock: threading.Lock

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        with self.lock:
            self.request.infer(list(inputs), share_inputs=True)
            return [np.array(self.request.get_output_tensor(i).data) for i in range(self.outputs)]


def load(runtime: str, model: Path, threads: int | None) -> Runner:
    """The ONNX file `model` in "openvino bf16" or "openvino f32". Raises InvalidInput where this CPU has no bfloat16:
    OpenVINO would compute in float32 and not say so."""
    core = package().Core()
    if "bf16" in runtime and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InvalidInput(f"runtime {runtime!r}: this CPU does not compute in bfloat16; take 'openvino f32'")
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": runtime.rpartition(" ")[2],
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(str(model), "CPU", options)
    return OpenVinoRunner(compiled.create_infer_request(), len(compiled.outputs), threading.Lock())
