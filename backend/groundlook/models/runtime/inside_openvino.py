"""Networks in OpenVINO, on the CPU."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.models.runtime.network import Runner

_TELEMETRY = "openvino_telemetry"
_IMPORTING = threading.Lock()
_MOST_STREAMS = 8
_LARGE = 4 << 20
"""Bytes of an input: every stream holds the activations of one, which are a hundred times that."""
_PROGRAMS = 3

Shapes = tuple[tuple[int, ...], ...]
Compiling = Callable[[dict[str, Any], Shapes | None], Any]
"""(options, shapes of the inputs or None) → a program."""
Use = Callable[[Sequence[NDArray[Any]]], Any]


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


class OpenVinoRunner:
    """One input at a time over all cores, which is the fastest for one; many by a stream a core, each an input of its
    own, which is the fastest for many. Programs for these are made when inputs of their shape first come: one that
    knows its shapes is a fifth faster."""

    def __init__(self, compiled: Compiling) -> None:
        self._compiled, self._lock = compiled, threading.Lock()
        self._alone = compiled({"PERFORMANCE_HINT": "LATENCY"}, None).create_infer_request()
        self._streams: dict[Shapes | None, _Streams] = {}

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        with self._lock:  # at most one computes anyway, and every request has its own buffers
            self._alone.infer(list(inputs), share_inputs=True)
            return [np.array(part) for part in _said(self._alone)]

    def each(self, items: Sequence[Sequence[NDArray[Any]]], use: Use) -> list[Any]:
        """See `Compiled.each`."""
        if len(items) < 2 or any(part.nbytes > _LARGE for inputs in items for part in inputs):
            return [use(self(inputs)) for inputs in items]
        shapes = {tuple(part.shape for part in inputs) for inputs in items}
        return self._for(shapes.pop() if len(shapes) == 1 else None).each(items, use)

    def _for(self, shapes: Shapes | None) -> _Streams:
        """For inputs of `shapes`, None for any; the first few have programs of their own."""
        with self._lock:
            if shapes not in self._streams and len(self._streams) >= _PROGRAMS:
                shapes = None
            if shapes not in self._streams:
                self._streams[shapes] = _Streams(self._compiled, shapes)
            return self._streams[shapes]


class _Streams:
    """A request more than there are streams, and a thread for each: what comes out of one is used while the streams
    go on."""

    def __init__(self, compiled: Compiling, shapes: Shapes | None) -> None:
        streams = min(len(os.sched_getaffinity(0)), _MOST_STREAMS)
        program = compiled({"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams}, shapes)
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams + 1):
            self._free.put(program.create_infer_request())
        self._threads = ThreadPoolExecutor(streams + 1, "openvino")

    def each(self, items: Sequence[Sequence[NDArray[Any]]], use: Use) -> list[Any]:
        def one(inputs: Sequence[NDArray[Any]]) -> Any:
            request = self._free.get()
            try:
                request.infer(list(inputs), share_inputs=True)
                return use(_said(request))
            finally:
                self._free.put(request)

        return list(self._threads.map(one, items))


def _said(request: Any) -> list[NDArray[Any]]:
    """What lies in the buffers of a request until it runs again."""
    return [tensor.data for tensor in request.output_tensors]


def load(runtime: str, model: Path, threads: int | None) -> Runner:
    """The ONNX file `model` in "openvino bf16" or "openvino f32". Raises InvalidInput where this CPU has no bfloat16:
    OpenVINO would compute in float32 and not say so."""
    core = package().Core()
    if "bf16" in runtime and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InvalidInput(f"runtime {runtime!r}: this CPU does not compute in bfloat16; take 'openvino f32'")
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": runtime.rpartition(" ")[2]}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads

    def compiled(how: dict[str, Any], shapes: Shapes | None) -> Any:
        network = core.read_model(str(model))
        if shapes is not None:
            network.reshape(dict(enumerate(map(list, shapes))))
        return core.compile_model(network, "CPU", {**options, **how})

    return OpenVinoRunner(compiled)
